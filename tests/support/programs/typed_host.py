"""A host's code about language models, for a type checker: it has to find nothing."""

from __future__ import annotations

import typing as t

from flask import Flask
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from flask_chatwoot import Chatwoot, HistoryEntry, Turn

app = Flask(__name__)
chatwoot = Chatwoot(app)
model = OpenAI(api_key="none")


@chatwoot.reply_provider
def reply(text: str, turn: Turn) -> str | None:
    answer = model.chat.completions.create(
        model="small",
        messages=[
            {"role": "system", "content": "You answer the customers of a book shop."},
            *turn.history(limit=20),
            {"role": "user", "content": text},
        ],
    )
    return answer.choices[0].message.content


@chatwoot.reply_provider(mode="human")
def suggestion(text: str, turn: Turn) -> str:
    messages: list[ChatCompletionMessageParam] = []
    messages += turn.history()
    messages.append({"role": "user", "content": text})
    answer = model.chat.completions.create(model="small", messages=messages)
    return answer.choices[0].message.content or ""


@chatwoot.completion_provider
def complete(messages: list[ChatCompletionMessageParam]) -> str | None:
    answer = model.chat.completions.create(model="small", messages=messages)
    return answer.choices[0].message.content


def responses_api(turn: Turn) -> str:
    return model.responses.create(model="small", input=[*turn.history()]).output_text


def what_was_said(turn: Turn) -> list[tuple[t.Literal["user", "assistant"], str]]:
    return [(each["role"], each["content"]) for each in turn.history()]


def as_dictionaries(history: list[HistoryEntry]) -> t.Iterator[dict[str, str]]:
    yield from history
