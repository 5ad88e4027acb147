"""One reply, although an answer was lost, a process froze, or a note was not known."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shutil
import time
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory, jobs_of, work
from support.stories import QUESTION, Begin
from support.workers import (
    ANSWER,
    RawChatwoot,
    Worker,
    all_ended,
    answer,
    certificate,
    comes_true,
    served,
    settings_of,
)

from flask_chatwoot import Chatwoot, Reply, after_post
from flask_chatwoot.simulator import Fault, Simulator, Talk
from flask_chatwoot.testing import customer_message, deliver


def work_until_ended(app: Flask) -> None:
    """Handle what is due until every job has ended, for a few seconds at most."""

    def is_over() -> bool:
        work(app)
        return all_ended(app)

    comes_true(is_over, within=5)


# -- an answer that is lost or cannot be read ---------------------------------------


@pytest.fixture
def collected(caplog: pytest.LogCaptureFixture) -> t.Iterator[None]:
    """Close what errors hold when the test ends: urllib3 leaves a socket open if it
    cannot read the headers of an answer."""
    caplog.set_level(logging.CRITICAL, "flask_chatwoot")  # records hold errors

    yield

    gc.collect()


Ask = t.Callable[..., tuple[list[str], list[str | None]]]


@pytest.fixture
def ask(make_app: AppFactory, chatwoot: Chatwoot) -> Ask:
    """Lets a customer ask; returns what was posted, and how the jobs ended."""
    chatwoot.reply_provider(lambda text: ANSWER)

    def ask(
        there: RawChatwoot, given: bytes, **settings: t.Any
    ) -> tuple[list[str], list[str | None]]:
        there.answers.append(given)
        url = {"base_url": there.url, **settings}
        app = make_app(chatwoot, **url, retry_pause=0.01, typing=False)
        deliver(app.test_client(), customer_message(QUESTION, mode="bot"))
        work_until_ended(app)

        return there.public, [job.outcome for job in jobs_of(app)]

    return ask


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            answer(408, b"<html>408 Request Time-out</html>"), id="408 of a proxy"
        ),
        pytest.param(answer(425, b"Too Early\n"), id="425 of a proxy"),
        pytest.param(
            answer(200, b'{"id": 1}', "Content-Length: 9", "Content-Length: 8"),
            id="two lengths",
        ),
        pytest.param(answer(200, b'{"id": 200'), id="cut"),
    ],
)
@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_post_whose_answer_cannot_be_read_is_looked_for_before_it_is_repeated(
    ask: Ask, given: bytes
) -> None:
    with RawChatwoot() as there:
        assert ask(there, given) == ([ANSWER], ["replied"])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_post_whose_answer_a_proxy_lost_is_looked_for_before_it_is_repeated(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    tls = None

    if scheme == "https":
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl to make a certificate")

        tls, chain = certificate(tmp_path, "chatwoot.test")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(chain))

    with RawChatwoot(tls) as there:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

        monkeypatch.setenv(f"{scheme}_proxy", there.url)
        found = ask(there, b"", base_url=f"{scheme}://chatwoot.test")

    assert found == ([ANSWER], ["replied"])


# -- a process that stands still ------------------------------------------------------

LEASE: t.Final = 4.4
PAUSES: t.Final = {"timeout": 0.2, "settle_time": 1.5, "retry_pause": 0.05}

needs_waitid = pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")

Receiver = tuple[Simulator, Talk, Flask]


@pytest.fixture
def receiver(make_app: AppFactory) -> t.Iterator[Receiver]:
    """A conversation, and an app that stores its deliveries and works off none."""
    with Simulator() as sim:
        settings = {**settings_of(sim), "backend": "thread", "workers": 0, **PAUSES}
        app = make_app(**settings, lease=LEASE, typing=False)

        with served(app) as webhook:
            events = ("message_created", "conversation_status_changed")
            sim.connect(webhook, events=events)

            yield sim, sim.conversation(custom_attributes={"support_mode": "bot"}), app


@contextlib.contextmanager
def frozen(worker: Worker) -> t.Iterator[None]:
    """The time in which a worker stands still, at least until its lease has ended."""
    worker.wait_until_frozen()
    ends = time.monotonic() + LEASE + 0.1

    yield

    time.sleep(max(0.0, ends - time.monotonic()))
    worker.go_on()


@pytest.mark.slow
@needs_waitid
def test_a_worker_that_froze_beyond_its_lease_looks_again_before_it_posts(
    receiver: Receiver,
) -> None:
    sim, talk, app = receiver

    with Worker(app, FREEZE_AT="post") as worker:
        talk.customer_says(QUESTION)

        with frozen(worker):
            talk.operator_says("It is at the depot.")
            talk.resolve()
            sim.drain()

        comes_true(lambda: all_ended(app), within=5)
        worker.finish()

    assert talk.replies == []
    assert all_ended(app)


@pytest.mark.slow
@needs_waitid
@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_that_froze_in_the_provider_does_not_add_a_second_reply(
    receiver: Receiver, others: int
) -> None:
    sim, talk, app = receiver

    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(Worker(app, FREEZE_AT="provider"))
        talk.customer_says(QUESTION)

        with frozen(worker):
            for _ in range(others):
                stack.enter_context(Worker(app))
                sim.wait_until(lambda: talk.replies, timeout=15)

        sim.wait_until(lambda: talk.replies and all_ended(app), timeout=15)
        worker.finish()

    assert talk.replies == [ANSWER]


# -- a note that is not known again ---------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("4.8.0", Fault.CUT_AFTER),
        ("4.16.2", Fault.RATE_LIMITED),
        ("4.16.2", Fault.CUT_BEFORE),
    ],
)
def test_a_note_that_lists_choices_is_posted_once_and_whole(
    begin: Begin, chatwoot: Chatwoot, version: str, fault: Fault
) -> None:
    story = begin(version=version)

    @chatwoot.reply_provider
    def reply(text: str) -> Reply:
        story.talk.change_status("snoozed")  # the customer may not read it now

        return Reply("Which one?", choices=("Order", "Return"))

    story.sim.inject(fault)
    story.asks("Hello")

    assert story.talk.notes == ["Which one?\n- Order\n- Return"]


# -- evidence --------------------------------------------------------------------------


def test_an_equal_text_of_an_operator_is_no_evidence_on_a_server_with_markers(
    begin: Begin, app: Flask
) -> None:
    story = begin(answer="Yes.", version="4.16.2", mode="human")
    story.sim.inject(Fault.CUT_BEFORE)

    def operator_writes_the_same(sender: Flask, **values: t.Any) -> None:
        if story.talk.transcript.count("Yes.") == 0:
            story.talk.operator_says("Yes.", private=True)

    with after_post.connected_to(operator_writes_the_same, sender=app):
        story.asks("Can I return it?")

    assert story.talk.notes == ["Yes."]


def test_a_reply_that_an_operator_deleted_is_not_posted_again(
    begin: Begin, app: Flask
) -> None:
    story = begin(answer=ANSWER, version="4.16.2")
    story.sim.inject(Fault.CUT_AFTER)
    deleted: list[int] = []

    def operator_deletes_it(sender: Flask, **values: t.Any) -> None:
        if not deleted:
            story.sim.drain()  # the app knows the message and its id
            (post,) = story.talk.posted
            deleted.append(post.id)
            story.talk.edit(
                post,
                content="This message was deleted",
                content_attributes={"deleted": True},
            )

    with after_post.connected_to(operator_deletes_it, sender=app):
        story.asks()

    assert deleted
    assert ANSWER not in story.talk.replies
