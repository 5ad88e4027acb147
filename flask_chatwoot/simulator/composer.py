"""The AI buttons of the composer, with which operators ask an OpenAI-shaped endpoint.

Source: ``lib/captain/*_service.rb`` and ``captain/tasks_controller.rb`` of Chatwoot,
and the errors and retries of the library that it uses, RubyLLM. Of Chatwoot's prompts
only the beginning is kept.
"""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field

from .encoding import from_json, readable, to_json
from .outgoing import Outgoing, check_local, post
from .payloads import JSON, Version
from .state import State, StoredConversation
from .transcript import conversation_text, label_text

FIRST_VERSION: t.Final[Version] = (4, 12, 1)
"""From which on the community edition has the buttons."""

MODEL: t.Final = "gpt-4.1-mini"
ATTEMPTS: t.Final = 4
REPEATED: t.Final = frozenset({429, 500, 502, 503, 504, 529})
"""Statuses upon which the request is made again."""

TIMED_OUT: t.Final = "Internal Server Error"
"""What the dashboard shows once ``Rack::Timeout`` has ended the operator's request."""
UNREADABLE: t.Final = "The answer has no message."
NO_CONTEXT: t.Final = "Follow-up context missing"

PROMPTS: t.Final[t.Mapping[str, str]] = {
    "reply_suggestion": (
        "You are helping a customer support agent draft their next reply."
    ),
    "summarize": (
        "As an AI-powered summarization tool, your task is to condense lengthy "
        "interactions."
    ),
    "label_suggestion": (
        "Your role is as an assistant to a customer support agent. You will be "
        "provided with a transcript and a list of potential labels."
    ),
    "improve": (
        "You are a writing assistant for customer support agents. Your task is to "
        "improve a draft."
    ),
}
REWRITE: t.Final = (
    "You are an AI writing assistant integrated into Chatwoot, an omnichannel "
    "customer support platform."
)
TONES: t.Final = ("casual", "professional", "friendly", "confident", "straightforward")
OPERATIONS: t.Final = ("fix_spelling_grammar", "improve", *TONES)

_ACTIONS: t.Final[t.Mapping[str, str]] = {
    "reply_suggestion": "reply suggestion",
    "summarize": "conversation summary",
    "fix_spelling_grammar": "spelling and grammar correction",
    "improve": "message improvement",
    **{tone: f"tone rewrite ({tone})" for tone in TONES},
}
_ERRORS: t.Final[t.Mapping[int, str]] = {
    400: "Invalid request - please check your input",
    401: "Invalid API key - check your credentials",
    402: "Payment required - please top up your account",
    403: "Forbidden - you do not have permission to access this resource",
    429: "Rate limit exceeded - please wait a moment",
    500: "API server error - please try again",
    **dict.fromkeys((502, 503, 504), "API server unavailable - please try again later"),
    529: "Service overloaded - please try again later",
}
"""For answers that say nothing themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One HTTP request to the endpoint, finished. Its key is not kept.

    :ivar task: ``reply_suggestion``, ``summarize``, ``label_suggestion``,
        ``follow_up``, or what a rewrite does, such as ``improve``.
    :ivar conversation_id: ``None`` for a rewrite that belongs to none.
    :ivar status: ``None`` when no answer came; ``error`` then names the exception.
    :ivar answer: The value of a body of JSON, else its text; ``None`` if it was empty
        or did not come.
    :ivar began: When it was sent, on Python's monotonic clock, in seconds.
    :ivar seconds: From sending to the answer or the failure.
    :ivar attempt: 1, or more for a retry.
    """

    task: str
    conversation_id: int | None
    url: str
    body: JSON = field(repr=False)
    status: int | None
    answer: t.Any = field(repr=False)
    began: float = field(repr=False)
    seconds: float
    error: str | None
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What an operator gets from one of the buttons.

    :ivar text: ``None`` after an error, and where Chatwoot does not ask.
    :ivar error: What the dashboard shows instead; ``None`` if all went well.
    :ivar context: What the operator's browser keeps for a follow-up; ``None`` without
        a text, and for labels.
    :ivar requests: How many HTTP requests it took.
    """

    text: str | None = field(repr=False)
    error: str | None = None
    context: JSON | None = field(default=None, repr=False)
    requests: int = 0


class Composer:
    """Makes the requests of the five tasks, in the thread of who asks.

    :param attributes: The account's custom attributes by id, as the API shows them.
    :param timeout: Seconds, after which the operator gets an error.
    :param pause: Seconds before the first retry; doubled before each further one.
    :ivar done: Finished requests, in the order in which they ended.
    """

    def __init__(
        self,
        state: State,
        attributes: t.Mapping[int, JSON],
        *,
        timeout: float,
        pause: float,
    ) -> None:
        self.done: list[Completion] = []
        self._state = state
        self._attributes = attributes
        self._timeout = timeout
        self._pause = pause
        self._endpoint: tuple[str, str] | None = None

    def connect(self, endpoint: str, key: str) -> None:
        """See ``Simulator.connect_copilot``."""
        check_local(endpoint)
        self._endpoint = f"{endpoint.removesuffix('/')}/v1/chat/completions", key

    # The tasks

    def suggest_reply(self, stored: StoredConversation) -> Suggestion:
        """See ``Simulator.suggest_reply``."""
        return self._about_conversation("reply_suggestion", stored)

    def summarize(self, stored: StoredConversation) -> Suggestion:
        """See ``Simulator.summarize``."""
        return self._about_conversation("summarize", stored)

    def rewrite(
        self, text: str, operation: str, stored: StoredConversation | None
    ) -> Suggestion:
        """See ``Simulator.rewrite``."""
        if operation not in OPERATIONS:
            raise ValueError(
                f"There is no operation {operation!r}; use one of "
                f"{', '.join(OPERATIONS)}."
            )

        prompt = REWRITE

        if operation == "improve":
            context = self._text_of(stored, contact=True) if stored else ""
            prompt = f"{PROMPTS[operation]}\n\n{context}"

        return self._ask(operation, stored, _messages(prompt, text))

    def suggest_labels(
        self, stored: StoredConversation, labels: t.Iterable[str]
    ) -> Suggestion:
        """See ``Simulator.suggest_labels``."""
        task = "label_suggestion"

        with self._state.lock:
            text = label_text(stored.messages, labels)

        if text is None:
            return Suggestion(text=None)

        got = self._ask(task, stored, _messages(PROMPTS[task], text))
        named = re.sub(r"(?im)^labels?:", "", got.text or "")

        return got if got.error else Suggestion(text=named, requests=got.requests)

    def follow_up(
        self, context: JSON | None, text: str, stored: StoredConversation | None
    ) -> Suggestion:
        """See ``Simulator.follow_up``."""
        if context is None or not _is_complete(context):
            return Suggestion(text=None, error=NO_CONTEXT)

        action = _ACTIONS[context["event_name"]]
        prompt = f"You just performed a {action} action for a customer support agent."
        history = list(context.get("conversation_history") or ())
        asked = {"role": "user", "content": text}
        got = self._ask(
            "follow_up",
            stored,
            [
                *_messages(prompt, context["original_context"]),
                {"role": "assistant", "content": context["last_response"]},
                *history,
                asked,
            ],
        )

        if got.error:
            return got

        answered = {"role": "assistant", "content": got.text}
        kept = {
            **{key: context[key] for key in ("event_name", "original_context")},
            "last_response": got.text,
            "conversation_history": [*history, asked, answered],
        }

        return Suggestion(text=got.text, context=kept, requests=got.requests)

    def _about_conversation(self, task: str, stored: StoredConversation) -> Suggestion:
        text = self._text_of(stored)

        return self._ask(task, stored, _messages(PROMPTS[task], text))

    def _text_of(self, stored: StoredConversation, *, contact: bool = False) -> str:
        with self._state.lock:
            return conversation_text(
                stored.current,
                stored.messages,
                self._attributes.values(),
                contact=contact,
            )

    # The requests

    def _ask(
        self, task: str, stored: StoredConversation | None, messages: list[JSON]
    ) -> Suggestion:
        if self._state.version < FIRST_VERSION:
            raise ValueError("This version of Chatwoot has no AI buttons: 4.12.1 has.")

        if self._endpoint is None:
            raise ValueError("The composer has no endpoint; call connect_copilot().")

        ended, attempt = self._request(task, stored, messages)

        if ended is None:
            return Suggestion(text=None, error=TIMED_OUT, requests=attempt)

        text, error = _read(ended)
        context = {
            "event_name": task,
            "original_context": messages[-1]["content"],
            "last_response": text,
            "conversation_history": [],
            "channel_type": stored.current.inbox.channel if stored else None,
        }

        return Suggestion(
            text=text, error=error, context=context if text else None, requests=attempt
        )

    def _request(
        self, task: str, stored: StoredConversation | None, messages: list[JSON]
    ) -> tuple[Outgoing | None, int]:
        """The last request's end, or ``None`` if the time is up; and its number."""
        body = {"model": MODEL, "messages": messages, "stream": False}
        deadline = time.monotonic() + self._timeout
        pause = self._pause

        for attempt in range(1, ATTEMPTS + 1):
            left = deadline - time.monotonic()
            ended = self._attempt(task, stored, body, attempt, max(left, 0.001))

            if time.monotonic() >= deadline:
                break

            if attempt == ATTEMPTS or not _is_repeated(ended):
                return ended, attempt

            time.sleep(min(pause, deadline - time.monotonic()))
            pause *= 2

        return None, attempt

    def _attempt(
        self,
        task: str,
        stored: StoredConversation | None,
        body: JSON,
        attempt: int,
        timeout: float,
    ) -> Outgoing:
        url, key = t.cast("tuple[str, str]", self._endpoint)
        headers = {
            "User-Agent": "Faraday v2.14.3",
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Accept": "*/*",
        }
        began = time.monotonic()
        ended = post(url, to_json(body), headers, timeout=timeout)
        done = Completion(
            task=task,
            conversation_id=stored.id if stored else None,
            url=url,
            body=body,
            status=ended.status,
            answer=readable(ended.content),
            began=began,
            seconds=time.monotonic() - began,
            error=ended.error,
            attempt=attempt,
        )

        with self._state.changing():
            self.done.append(done)

        return ended


def _messages(prompt: str, text: str) -> list[JSON]:
    return [
        {"role": "developer", "content": prompt},
        {"role": "user", "content": text},
    ]


def _is_complete(context: JSON) -> bool:
    """Whether a follow-up can be made of what the browser sends."""
    required = ("event_name", "original_context", "last_response")

    return all(context.get(key) for key in required) and (
        context["event_name"] in _ACTIONS
    )


def _is_repeated(ended: Outgoing) -> bool:
    return ended.status is None or ended.status in REPEATED


def _read(ended: Outgoing) -> tuple[str | None, str | None]:
    """The text and the error of a finished request."""
    body = from_json(ended.content)

    if ended.status is None:
        return None, ended.error

    if not 200 <= ended.status < 400:
        return None, _error_of(ended.status, body, ended.content)

    match body:
        case {"error": {"message": str(message)}}:
            return None, message
        case {"choices": [{"message": {"content": str() | None as text}}, *_]}:
            return text, None

    return None, UNREADABLE


def _error_of(status: int, body: t.Any, content: bytes) -> str:
    match body:
        case {"error": {"message": str(message)}} if message:
            return message
        case dict():
            said = ""
        case _:
            said = content.decode(errors="replace")

    return said or _ERRORS.get(status, "An unknown error occurred")
