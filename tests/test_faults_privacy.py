"""What customers write reaches nobody but those it is meant for."""

from __future__ import annotations

import contextvars
import io
import re
import threading
import typing as t
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from blinker import NamedSignal
from flask import Flask
from support.apps import AppFactory
from support.stories import Story

import flask_chatwoot
from flask_chatwoot import (
    Chatwoot,
    Decision,
    Handoff,
    PolicyContext,
    Reply,
    before_post,
)
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

IBAN: t.Final = "DE89370400440532013000"
ADDRESSES: t.Final = "".join(f"[a](mention://user/{i}/a)" for i in range(1, 4))

MENTION: t.Final = re.compile(r"\(mention://(user|team)/(\d+)/(.+?)\)")
"""Chatwoot's own (``app/services/messages/mention_service.rb``): it notifies each of
them, and makes them participants."""


# -- mentions ------------------------------------------------------------------


def mentioned_in(story: Story) -> list[tuple[str, ...]]:
    """Whom Chatwoot would notify because of our notes."""
    return [found for note in story.talk.notes for found in MENTION.findall(note)]


def hands_off(text: str) -> t.Any:
    return Reply("One moment.", handoff=True)


def hands_off_for_a_reason(text: str) -> t.Any:
    return Handoff(f"asked for {text}")


def hands_off_and_repeats(text: str) -> t.Any:
    return Reply(f"You asked: {text}", handoff=Handoff("asked for an operator"))


def repeats_in_a_note(text: str) -> t.Any:
    return Reply(f"The customer asked: {text}", private=True)


def offers_in_a_note(text: str) -> t.Any:
    return Reply("Which one?", choices=[text, "Another"], private=True)


@missing("Notes hold mention links as the customer wrote them, so that a customer "
    "cannotify any operator or team.")
@pytest.mark.parametrize(
    "provider",
    [
        hands_off,
        hands_off_for_a_reason,
        hands_off_and_repeats,
        repeats_in_a_note,
        offers_in_a_note,
    ],
)
@pytest.mark.parametrize(
    "text", [ADDRESSES, "[all](mention://team/1/support)"], ids=["users", "team"]
)
def test_a_customer_can_mention_nobody_through_a_note(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    chatwoot: Chatwoot,
    provider: t.Callable[[str], t.Any],
    text: str,
) -> None:
    chatwoot.reply_provider(provider)
    story = Story(chatwoot_sim, app)

    story.talk.customer_says(text)
    story.rest()

    assert len(story.talk.notes) == 1
    assert mentioned_in(story) == []


@missing("An answer that becomes a note in human mode holds mention links as the "
    "provider repeated them.")
def test_a_customer_can_mention_nobody_in_human_mode(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"You asked: {text}")
    story = Story(chatwoot_sim, app, mode="human")

    story.talk.customer_says(ADDRESSES)
    story.rest()

    assert len(story.talk.notes) == 1
    assert mentioned_in(story) == []


# -- logs ----------------------------------------------------------------------


@missing("The path of an attachment that cannot be read is logged, though its name "
    "may be what the customer wrote.")
@pytest.mark.parametrize(
    "path",
    ["invoices/{}.pdf", "invoices/{}\0.pdf", f"{{}}{'x' * 300}.pdf"],
    ids=["missing", "impossible", "too long"],
)
def test_the_path_of_a_file_that_cannot_be_read_is_in_no_log(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    chatwoot.reply_provider(lambda text: Reply(attachments=[path.format(text)]))
    story = Story(chatwoot_sim, app)

    story.talk.customer_says(IBAN)
    story.rest()

    assert caplog.messages  # it is said that the turn failed
    assert IBAN not in caplog.text


def fail_in_file_of(text: str, folder: Path) -> t.NoReturn:
    """Raise in a file that is named after a text, as a template may be."""
    path = folder / f"{text}.py"
    path.write_text("raise LookupError('nothing found')\n")
    code = compile(path.read_text(), str(path), "exec")
    exec(code, {})  # noqa: S102 - our own line

    raise AssertionError


def fail_in_provider(app: Flask, chatwoot: Chatwoot, folder: Path) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.NoReturn:
        fail_in_file_of(text, folder)


def fail_in_policy(app: Flask, chatwoot: Chatwoot, folder: Path) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        fail_in_file_of(IBAN, folder)


def fail_in_receiver(app: Flask, chatwoot: Chatwoot, folder: Path) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    @before_post.connect_via(app)
    def receive(sender: Flask, **values: t.Any) -> None:
        fail_in_file_of(IBAN, folder)


@missing("The traceback of a host's exception is logged whole, with names of files "
    "that may be what the customer wrote.")
@pytest.mark.parametrize("fail", [fail_in_provider, fail_in_policy, fail_in_receiver])
def test_the_log_names_class_and_place_of_a_hosts_exception_and_no_file_of_a_text(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fail: t.Callable[[Flask, Chatwoot, Path], None],
) -> None:
    fail(app, chatwoot, tmp_path)
    story = Story(chatwoot_simulator(max_attempts=1), app)

    story.talk.customer_says(IBAN)
    story.rest()

    assert "LookupError" in caplog.text
    assert IBAN not in caplog.text


def all_signals() -> Iterator[NamedSignal]:
    """The package's signals, whatever their names."""
    return (
        value for value in vars(flask_chatwoot).values() if type(value) is NamedSignal
    )


@missing("No signal carries the exception of a provider, so an error tracker cannot "
    "have it.")
def test_a_signal_carries_the_exception_of_a_provider(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    error = LookupError("nothing found")
    carried: list[t.Any] = []

    @chatwoot.reply_provider
    def reply(text: str) -> t.NoReturn:
        raise error

    def receive(sender: Flask, exc_info: t.Any = (), **values: t.Any) -> None:
        carried.extend(exc_info if isinstance(exc_info, tuple) else [exc_info])

    for signal in all_signals():
        signal.connect(receive, sender=app)

    story = Story(chatwoot_simulator(max_attempts=1), app)
    story.talk.customer_says("Where is my order?")
    story.rest()

    assert any(value is error for value in carried)


# -- contexts ------------------------------------------------------------------

customer: contextvars.ContextVar[str] = contextvars.ContextVar("customer")
"""What an error tracker would attach to a report."""


class Tracker:
    """Keeps the body of each request in the context, as error trackers do.

    They do so around the whole request, before Flask has seen it.
    """

    def __init__(self, wsgi_app: t.Any) -> None:
        self._wsgi_app = wsgi_app

    def __call__(
        self, environ: dict[str, t.Any], start_response: t.Any
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        customer.set(body.decode())

        answer: Iterable[bytes] = self._wsgi_app(environ, start_response)

        return answer


@pytest.fixture
def inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads begin with a copy of the context that starts them.

    So they do with sentry-sdk's ``ThreadingIntegration``, and on some builds of
    Python 3.14 by themselves.
    """
    start = threading.Thread.start

    def start_with_context(thread: threading.Thread) -> None:
        context, run = contextvars.copy_context(), thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_with_context)


@missing("Worker threads begin in the context of the first request, and so every "
    "turn has what that customer wrote in its error report.")
@pytest.mark.usefixtures("inherited")
def test_a_turn_does_not_see_the_context_of_a_request(
    chatwoot_simulator: SimulatorFactory, make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    seen: list[str | None] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        seen.append(customer.get(None))
        return "On its way."

    app = make_app(chatwoot)
    app.wsgi_app = Tracker(app.wsgi_app)  # type: ignore[method-assign]
    sim = chatwoot_simulator()

    for text in ("My diagnosis is", "Where is my order?"):
        story = Story(sim, app)
        story.talk.customer_says(text)
        story.rest()

    assert seen == [None, None]


@missing("All turns of a worker share its context, so that a turn sees what the "
    "provider set for another customer.")
def test_a_turn_does_not_see_the_context_of_another_turn(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    seen: list[str | None] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        seen.append(customer.get(None))
        customer.set(text)
        return "On its way."

    sim = chatwoot_simulator(workers=1)

    for text in ("My diagnosis is", "Where is my order?"):
        story = Story(sim, app)
        story.talk.customer_says(text)
        story.rest()

    assert seen == [None, None]
