"""What customers write reaches only those it is meant for."""

from __future__ import annotations

import contextvars
import dataclasses
import importlib
import inspect
import io
import pkgutil
import re
import threading
import typing as t
from collections.abc import Iterable
from pathlib import Path

import pytest
from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient
from support.apps import AppFactory, recorded
from support.chatwoot import ChatwootStub
from support.deliveries import WEBHOOK, message, signed
from support.stories import QUESTION, REPLY, Begin, Story
from support.waiting import wait_until

import flask_chatwoot
from flask_chatwoot import Chatwoot, Handoff, Reply, before_post, got_exception
from flask_chatwoot.background import BackgroundThread
from flask_chatwoot.queue.outbox import Outbox
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

IBAN: t.Final = "DE89370400440532013000"
USERS: t.Final = "".join(f"[a](mention://user/{i}/a)" for i in range(1, 4))
TEAM: t.Final = "[all](mention://team/1/support)"

MENTION: t.Final = re.compile(r"\(mention://(user|team)/(\d+)/(.+?)\)")
"""Chatwoot's own (``app/services/messages/mention_service.rb``): it notifies each of
them, and makes them participants."""

MODULES: t.Final = [
    info.name
    for info in pkgutil.walk_packages(flask_chatwoot.__path__, "flask_chatwoot.")
]

NOTES: t.Final[dict[str, t.Callable[[str], t.Any]]] = {
    "a hand-off": lambda text: Reply("One moment.", handoff=True),
    "its reason": lambda text: Handoff(f"asked for {text}"),
    "a hand-off that repeats the text": lambda text: Reply(
        f"You asked: {text}", handoff=Handoff("asked for an operator")
    ),
    "a note": lambda text: Reply(f"The customer asked: {text}", private=True),
    "choices": lambda text: Reply("Which?", choices=[text, "Another"], private=True),
}

# -- mentions ------------------------------------------------------------------


def mentioned_in(story: Story) -> list[tuple[str, ...]]:
    """Whom Chatwoot would notify because of our notes."""
    return [found for note in story.talk.notes for found in MENTION.findall(note)]


@pytest.mark.parametrize("provider", NOTES.values(), ids=NOTES)
@pytest.mark.parametrize("text", [USERS, TEAM], ids=["users", "team"])
def test_a_customer_cannot_mention_an_operator_through_a_note(
    begin: Begin, provider: t.Callable[[str], t.Any], text: str
) -> None:
    story = begin(answer=provider)
    story.asks(text)

    assert len(story.talk.notes) == 1
    assert mentioned_in(story) == []


def test_a_customer_cannot_mention_an_operator_in_human_mode(begin: Begin) -> None:
    story = begin(answer=lambda text: f"You asked: {text}", mode="human")
    story.asks(USERS)

    assert len(story.talk.notes) == 1
    assert mentioned_in(story) == []


# -- logs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["invoices/{}.pdf", "invoices/{}\0.pdf", f"{{}}{'x' * 300}.pdf"],
    ids=["missing", "impossible", "too long"],
)
def test_the_path_of_a_file_that_cannot_be_read_is_in_no_log(
    begin: Begin, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    begin(answer=lambda text: Reply(attachments=[path.format(text)])).asks(IBAN)

    assert caplog.messages  # the log says that the turn failed
    assert IBAN not in caplog.text


def fail_in_file_of(text: str, folder: Path) -> t.NoReturn:
    """Raise in a file that is named after a text, as a template may be."""
    path = folder / f"{text}.py"
    path.write_text("raise LookupError('nothing found')\n")
    code = compile(path.read_text(), str(path), "exec")
    exec(code, {})  # noqa: S102 - our own line

    raise AssertionError


@pytest.mark.parametrize("place", ["provider", "policy", "receiver"])
def test_the_log_names_class_and_place_of_a_hosts_exception_and_no_file_of_a_text(
    begin: Begin,
    app: Flask,
    chatwoot: Chatwoot,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    def fail(*args: t.Any, **values: t.Any) -> t.NoReturn:
        fail_in_file_of(IBAN, tmp_path)

    if place == "policy":
        chatwoot.policy(lambda facts: fail())

    if place == "receiver":
        before_post.connect(fail, app)

    answer = (lambda text: fail()) if place == "provider" else REPLY
    begin(answer=answer, max_attempts=1).asks(IBAN)

    assert "LookupError" in caplog.text
    assert IBAN not in caplog.text


def test_a_signal_carries_the_exception_of_a_provider(begin: Begin, app: Flask) -> None:
    error = LookupError("nothing found")
    carried: list[t.Any] = []

    def fail(text: str) -> t.NoReturn:
        raise error

    def receive(sender: Flask, exc_info: t.Any = (), **values: t.Any) -> None:
        carried.extend(exc_info if isinstance(exc_info, tuple) else [exc_info])

    for value in vars(flask_chatwoot).values():
        if type(value) is NamedSignal:
            value.connect(receive, sender=app)

    begin(answer=fail, max_attempts=1).asks()

    assert any(value is error for value in carried)


def fail_with(*args: t.Any, **values: t.Any) -> t.NoReturn:
    raise LookupError(IBAN)


@pytest.mark.parametrize("where", ["provider", "policy", "receiver", "turn"])
def test_the_signal_says_where_the_apps_own_code_raised(
    begin: Begin,
    app: Flask,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    if where == "policy":
        chatwoot.policy(fail_with)
    elif where == "receiver":
        before_post.connect(fail_with, app)
    elif where == "turn":
        monkeypatch.setattr(Outbox, "keep", fail_with)

    with recorded(got_exception, app) as seen:
        answer = fail_with if where == "provider" else REPLY
        begin(answer=answer, max_attempts=1).asks()

    told = {(each["where"], str(each["exc_info"][1])) for each in seen}
    assert told == {(where, IBAN)}
    assert IBAN not in caplog.text
    assert f"LookupError: {IBAN}" in capsys.readouterr().err  # the host's own screen


def test_a_receiver_of_the_signal_that_raises_is_not_called_for_that(
    begin: Begin, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with got_exception.connected_to(fail_with, app):
        begin(answer=fail_with, max_attempts=1).asks()

    assert caplog.text.count("a receiver of got-exception failed: LookupError") == 1


def test_what_a_copilot_or_a_path_raised_is_in_the_signal(
    client: FlaskClient, app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(mode="human")(fail_with)
    chatwoot.reply_provider(lambda text: Reply(attachments=[f"{IBAN}.pdf"]))
    body = {"message": QUESTION}
    token = {"Authorization": "Bearer token-of-a-page"}

    with recorded(got_exception, app) as seen:
        client.post("/chatwoot/copilot", json=body, headers=token)
        client.post(WEBHOOK, **signed(message()))

    errors = [each["exc_info"][1] for each in seen]
    assert [type(each) for each in errors] == [LookupError, FileNotFoundError]
    assert [IBAN in str(each) for each in errors] == [True, True]
    assert [each["turn"] and each["turn"].text for each in seen] == [None, QUESTION]


def is_generated(kind: type) -> bool:
    """Whether the representation of a dataclass is Python's, and not its own."""
    return bool(vars(kind)["__dataclass_params__"].repr)


def shown_fields(kind: type) -> dict[str, str]:
    """The fields that a class shows as Python does by default, and their types."""
    if dataclasses.is_dataclass(kind) and is_generated(kind):
        shown = [each for each in dataclasses.fields(kind) if each.repr]
        return {each.name: str(each.type) for each in shown}

    if issubclass(kind, tuple) and "__repr__" not in inspect.getsource(kind):
        annotations = inspect.get_annotations(kind)
        return {name: str(value) for name, value in annotations.items()}

    return {}


def test_no_representation_shows_what_chatwoot_sent() -> None:
    kinds = [
        kind
        for name in MODULES
        if not re.search("simulator|playground|testing", name)
        for kind in vars(importlib.import_module(name)).values()
        if inspect.isclass(kind) and kind.__module__ == name
    ]
    shown = {
        f"{kind.__name__}.{name}"
        for kind in kinds
        if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
        for name, value in shown_fields(kind).items()
        if re.search(r"\bJSON\b|\bObject\b|Mapping\[str, t", value)
    }

    assert shown == set()


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


def found_in_two_turns(
    app: Flask, sim: ChatwootSim, chatwoot: Chatwoot, *, sets: bool
) -> list[str | None]:
    """What the turns of two customers find in their context."""
    found: list[str | None] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        found.append(customer.get(None))

        if sets:
            customer.set(text)

        return REPLY

    for text in ("My diagnosis is", QUESTION):
        Story(sim, app).asks(text)

    return found


@pytest.mark.usefixtures("inherited")
def test_a_turn_does_not_see_the_context_of_a_request(
    chatwoot_sim: ChatwootSim, make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot)
    app.wsgi_app = Tracker(app.wsgi_app)  # type: ignore[method-assign]

    found = found_in_two_turns(app, chatwoot_sim, chatwoot, sets=False)
    assert found == [None, None]


def test_a_turn_does_not_see_the_context_of_another_turn(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    sim = chatwoot_simulator(workers=1)

    assert found_in_two_turns(app, sim, chatwoot, sets=True) == [None, None]


@pytest.mark.usefixtures("inherited")
def test_an_inline_turn_and_its_request_do_not_see_each_others_context(
    client: FlaskClient, api: ChatwootStub, chatwoot: Chatwoot
) -> None:
    found: list[str | None] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        found.append(customer.get(None))
        customer.set(text)

        return REPLY

    context = contextvars.copy_context()
    context.run(customer.set, "Another customer's")
    answer = context.run(client.post, WEBHOOK, **signed(message()))

    assert (answer.status_code, api.public) == (202, [REPLY])
    assert found == [None]
    assert context[customer] == "Another customer's"


@pytest.mark.usefixtures("inherited")
def test_a_background_thread_begins_in_an_empty_context() -> None:
    found: list[str | None] = []

    def step() -> None:
        found.append(customer.get(None))

    thread = BackgroundThread("test", step, busy=lambda: False, every=lambda: 0.0)
    context = contextvars.copy_context()
    context.run(customer.set, "A customer's")
    context.run(thread.ensure)

    assert wait_until(lambda: found)
    assert found == [None]


def test_a_background_thread_goes_on_after_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = [0, 1, 2]

    def step() -> None:
        if steps.pop():
            raise LookupError(IBAN)

    thread = BackgroundThread("test", step, busy=lambda: bool(steps), every=lambda: 0.0)
    thread.ensure()

    assert wait_until(lambda: not steps)
    assert caplog.text.count("test: LookupError at") == 1
    assert IBAN not in caplog.text
