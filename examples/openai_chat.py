"""A shop's bot that asks a language model, through the official package openai.

It needs ``pip install openai``.
OPENAI_BASE_URL names another server of the same API, such as one on this machine::

    OPENAI_API_KEY=sk-... flask --app examples/openai_chat.py chatwoot playground
"""

import base64
import os
import textwrap

import requests
from flask import Flask
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletionContentPartParam as Part
from openai.types.chat import ChatCompletionMessageParam as Message

from flask_chatwoot import Attachment, Chatwoot, Handoff, Turn

ROLE = "You answer the customers of a book shop, in at most {} characters of Markdown."
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")

app = Flask(__name__)
chatwoot = Chatwoot(app)
# The time limit of one attempt. After the second one, Flask-Chatwoot tries again later.
client = OpenAI(
    api_key=os.environ.get("OPENAI_API_KEY", "none"), timeout=30, max_retries=1
)


def picture(file: Attachment) -> Part:
    """The picture itself: the model's server may not reach Chatwoot."""
    response = requests.get(file.url or "", timeout=10)
    response.raise_for_status()
    kind, data = response.headers["Content-Type"], base64.b64encode(response.content)

    return {
        "type": "image_url",
        "image_url": {"url": f"data:{kind};base64,{data.decode()}"},
    }


@chatwoot.reply_provider
def answer(text: str, turn: Turn) -> str | Handoff | None:
    limit = turn.channel.max_length or 2000
    question: list[Part] = [{"type": "text", "text": text}] if text else []
    question += [picture(file) for file in turn.attachments if file.type == "image"]
    messages: list[Message] = [{"role": "system", "content": ROLE.format(limit)}]
    messages += turn.history(limit=20)
    messages.append({"role": "user", "content": question or "(a file)"})

    try:
        completion = client.chat.completions.create(model=MODEL, messages=messages)
    except BadRequestError:  # another attempt would be refused as well
        return Handoff("the language model refused the question")

    said = completion.choices[0].message.content or ""
    return said if len(said) <= limit else textwrap.shorten(said, limit)
