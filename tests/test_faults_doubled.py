"""One reply, although an answer was lost, a process froze, or a note was not known."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shutil
import threading
import time
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory, jobs_of, work
from support.stories import Story
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
from flask_chatwoot.testing import SimulatorFactory, customer_message, deliver

QUESTION: t.Final = "Where is my order?"


def work_until_ended(app: Flask) -> None:
    """Handle what is due until every job has ended, for a few seconds at most."""

    def is_over() -> bool:
        work(app)
        return all_ended(app)

    comes_true(is_over, within=5)


@pytest.fixture
def quick(chatwoot: Chatwoot) -> None:
    """The app's provider, which answers at once."""
    chatwoot.reply_provider(lambda text: ANSWER)


# -- an answer that is lost or cannot be read ---------------------------------------

_CREATED: t.Final = b'{"id": 20001}'

UNREADABLE: t.Final = {
    "two lengths": answer(200, _CREATED, "Content-Length: 13", "Content-Length: 14"),
    "408 of a proxy": answer(408, b"<html>408 Request Time-out</html>"),
    "425 of a proxy": answer(425, b"Too Early\n"),
}


@pytest.fixture
def collected(caplog: pytest.LogCaptureFixture) -> t.Iterator[None]:
    """Close what errors hold when the test ends: urllib3 leaves a socket open if it
    cannot read the headers of an answer."""
    caplog.set_level(logging.CRITICAL, "flask_chatwoot")  # records hold errors

    yield

    gc.collect()


@known_fault(
        "An answer to a post that cannot be read is taken as proof that no message was "
        "created."
)
@pytest.mark.parametrize("given", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.usefixtures("quick", "collected")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_post_whose_answer_cannot_be_read_is_looked_for_before_it_is_repeated(
    make_app: AppFactory, chatwoot: Chatwoot, given: bytes
) -> None:
    with RawChatwoot() as there:
        there.answers.append(given)
        app = make_app(chatwoot, base_url=there.url, retry_pause=0.01, typing=False)

        deliver(app.test_client(), customer_message(QUESTION, mode="bot"))
        work_until_ended(app)

    assert there.public == [ANSWER]
    assert [job.outcome for job in jobs_of(app)] == ["replied"]


@pytest.mark.usefixtures("quick")
def test_a_post_whose_answer_is_cut_is_looked_for_before_it_is_repeated(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    with RawChatwoot() as there:
        there.answers.append(answer(200, b'{"id": 200'))
        app = make_app(chatwoot, base_url=there.url, retry_pause=0.01, typing=False)

        deliver(app.test_client(), customer_message(QUESTION, mode="bot"))
        work_until_ended(app)

    assert there.public == [ANSWER]
    assert [job.outcome for job in jobs_of(app)] == ["replied"]


@known_fault(
        "A connection that breaks behind a proxy is taken as proof that the post was "
        "not sent."
)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("quick")
def test_a_post_whose_answer_a_proxy_lost_is_looked_for_before_it_is_repeated(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    scheme: str,
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
        there.answers.append(b"")
        app = make_app(
            chatwoot,
            base_url=f"{scheme}://chatwoot.test",
            retry_pause=0.01,
            typing=False,
        )

        deliver(app.test_client(), customer_message(QUESTION, mode="bot"))
        work_until_ended(app)

    assert there.public == [ANSWER]
    assert [job.outcome for job in jobs_of(app)] == ["replied"]


# -- a process that stands still ------------------------------------------------------

LEASE: t.Final = 4.4
TIMEOUT: t.Final = 0.2

Receiver = tuple[Simulator, Talk, Flask]


@pytest.fixture
def receiver(make_app: AppFactory) -> t.Iterator[Receiver]:
    """A conversation, and an app that stores its deliveries and works off none."""
    with Simulator() as sim:
        app = make_app(
            **settings_of(sim),
            backend="thread",
            workers=0,
            lease=LEASE,
            timeout=TIMEOUT,
            settle_time=1.5,
            retry_pause=0.05,
            typing=False,
        )

        with served(app) as webhook:
            sim.connect(
                webhook, events=("message_created", "conversation_status_changed")
            )

            yield sim, sim.conversation(custom_attributes={"support_mode": "bot"}), app


@contextlib.contextmanager
def frozen(worker: Worker) -> t.Iterator[None]:
    """The time in which a worker stands still, at least until its lease has ended."""
    worker.wait_until_frozen()
    ends = time.monotonic() + LEASE + 0.1

    yield

    time.sleep(max(0.0, ends - time.monotonic()))
    worker.go_on()


@known_fault(
        "A turn whose lease has ended posts all the same if no other worker took its "
        "job."
)
@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs SIGSTOP and waitid")
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


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs SIGSTOP and waitid")
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

ASKS_BACK: t.Final = "Which one?"
LISTED: t.Final = "Which one?\n- Order\n- Return"
CHOICES: t.Final = ("Order", "Return")


def story_of_a_note(
    chatwoot: Chatwoot, app: Flask, simulators: SimulatorFactory, *, version: str
) -> Story:
    """A provider offers choices, but in the meantime the customer may not read them."""
    story = Story(simulators(version=version), app)

    @chatwoot.reply_provider
    def reply(text: str) -> Reply:
        story.talk.change_status("snoozed")

        return Reply(ASKS_BACK, choices=CHOICES)

    return story


@known_fault(
        "On a server that keeps no markers, a note that lists choices is not known "
        "again and is posted twice."
)
def test_a_note_that_lists_choices_is_known_again_on_a_server_without_markers(
    chatwoot_simulator: SimulatorFactory, chatwoot: Chatwoot, app: Flask
) -> None:
    story = story_of_a_note(chatwoot, app, chatwoot_simulator, version="4.8.0")
    story.sim.inject(Fault.CUT_AFTER)

    story.talk.customer_says("Hello")
    story.rest()

    assert story.talk.notes == [LISTED]


@known_fault("A note that is posted again no longer lists the choices.")
@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.CUT_BEFORE])
def test_a_note_that_lists_choices_is_repeated_whole(
    chatwoot_simulator: SimulatorFactory,
    chatwoot: Chatwoot,
    app: Flask,
    fault: Fault,
) -> None:
    story = story_of_a_note(chatwoot, app, chatwoot_simulator, version="4.16.2")
    story.sim.inject(fault)

    story.talk.customer_says("Hello")
    story.rest()

    assert story.talk.notes == [LISTED]


# -- evidence --------------------------------------------------------------------------


@known_fault(
        "A message without our marker is taken for our post because its text is the "
        "same, though the server keeps markers."
)
def test_an_equal_text_of_an_operator_is_no_evidence_on_a_server_with_markers(
    chatwoot_simulator: SimulatorFactory, chatwoot: Chatwoot, app: Flask
) -> None:
    chatwoot.reply_provider(lambda text: "Yes.")
    story = Story(chatwoot_simulator(version="4.16.2"), app, mode="human")
    story.sim.inject(Fault.CUT_BEFORE)

    def operator_writes_the_same(sender: Flask, **values: t.Any) -> None:
        if story.talk.transcript.count("Yes.") == 0:
            story.talk.operator_says("Yes.", private=True)

    with after_post.connected_to(operator_writes_the_same, sender=app):
        story.talk.customer_says("Can I return it?")
        story.rest()

    assert story.talk.notes == ["Yes."]


@pytest.mark.usefixtures("quick")
def test_a_reply_that_an_operator_deleted_is_not_posted_again(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    story = Story(chatwoot_simulator(version="4.16.2"), app)
    story.sim.inject(Fault.CUT_AFTER)
    deleted = threading.Event()

    def operator_deletes_it(sender: Flask, **values: t.Any) -> None:
        if not deleted.is_set():
            deleted.set()
            story.sim.drain()  # the app has heard of the message and its id
            story.talk.edit(
                story.talk.posted[0],
                content="This message was deleted",
                content_attributes={"deleted": True},
            )

    with after_post.connected_to(operator_deletes_it, sender=app):
        story.talk.customer_says(QUESTION)
        story.rest()

    assert deleted.is_set()
    assert ANSWER not in story.talk.replies
