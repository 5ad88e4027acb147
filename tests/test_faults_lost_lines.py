"""A slow or cut connection, or a thread that cannot start, delays one turn at most."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import struct
import sys
import threading
import time
import typing as t

import pytest
from support.apps import AppFactory
from support.servers import (
    ANSWER,
    QUESTION,
    Handler,
    all_ended,
    ask,
    comes_true,
    new_talk,
    serving,
    thread_settings,
    work_until,
)
from support.stories import Thinker
from support.waiting import wait_until

from flask_chatwoot import Chatwoot
from flask_chatwoot.client import connections
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import customer_message, deliver

CONVERSATION: t.Final = b"""{
    "id": 42, "status": "open", "custom_attributes": {"support_mode": "bot"},
    "meta": {}, "payload": []
}"""


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim


@pytest.fixture
def answers(chatwoot: Chatwoot) -> None:
    """The app's provider, which always gives the same answer."""
    chatwoot.reply_provider(lambda text: ANSWER)


# -- answers that are slow, or too long ------------------------------------------


class Line:
    """A Chatwoot that answers its first look in a way of its own.

    :ivar url: Its address.
    :ivar first_look: How it answers that one; ``None`` for the usual way.
    :ivar looks: How often it was asked for a conversation.
    :ivar posts: How many messages it has made.
    """

    def __init__(self) -> None:
        self.url = ""
        self.looks = 0
        self.first_look: t.Callable[[Handler], None] | None = None
        self.posts = 0

    def reply(self, request: Handler) -> None:
        is_look = request.command == "GET" and "/messages" not in request.path
        self.looks += is_look
        self.posts += request.is_post

        if is_look and self.looks == 1 and self.first_look:
            self.first_look(request)
        else:
            request.send(200, CONVERSATION)


@contextlib.contextmanager
def serving_as(server: Line | Balancer, version: str) -> t.Iterator[None]:
    class Way(Handler):
        protocol_version = version

        def reply(self, body: bytes) -> None:
            server.reply(self)

    with serving(Way) as server.url:
        yield


@pytest.fixture
def line() -> t.Iterator[Line]:
    line = Line()

    with serving_as(line, "HTTP/1.0"):
        yield line


@pytest.mark.slow
@pytest.mark.parametrize("kept_back", ["all of it", "the body"])
@pytest.mark.usefixtures("answers")
def test_an_answer_that_comes_in_drops_ends_by_a_total_time(
    make_app: AppFactory, chatwoot: Chatwoot, line: Line, kept_back: str
) -> None:
    app = make_app(
        chatwoot, base_url=line.url, timeout=0.5, settle_time=1.5, retry_pause=0.01
    )
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONVERSATION)
    answer = head + CONVERSATION
    at_once = 0 if kept_back == "all of it" else len(head)
    step = (len(answer) - at_once) // 40 + 1

    def drip(request: Handler) -> None:
        request.wfile.write(answer[:at_once])

        for start in range(at_once, len(answer), step):
            request.wfile.write(answer[start : start + step])
            time.sleep(0.1)

    line.first_look = drip
    began = time.monotonic()
    deliver(app.test_client(), customer_message(QUESTION))
    work_until(app, lambda: line.posts)
    seconds = time.monotonic() - began

    assert line.posts == 1
    assert seconds < 3.0


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
@pytest.mark.usefixtures("answers")
def test_an_answer_of_32_mebibytes_is_not_taken(
    make_app: AppFactory, chatwoot: Chatwoot, line: Line, packed: bool
) -> None:
    app = make_app(chatwoot, base_url=line.url, retry_pause=60.0)
    padded = CONVERSATION.rjust(32 * 1024 * 1024)
    body = gzip.compress(padded, 1) if packed else padded
    headers = {"Content-Encoding": "gzip"} if packed else {}

    line.first_look = lambda request: request.send(200, body, headers)
    deliver(app.test_client(), customer_message(QUESTION))

    assert line.looks == 1
    assert line.posts == 0
    assert not all_ended(app)


# -- connections that were cut ---------------------------------------------------


class Balancer:
    """A load balancer before Chatwoot, which can forget its connections.

    :ivar url: Its address.
    :ivar forgets: Whether requests on the connections it had are reset from now on.
    :ivar posts: How many messages came through.
    """

    def __init__(self) -> None:
        self.url = ""
        self.forgets = False
        self.posts = 0
        self._known: set[socket.socket] = set()

    def reply(self, request: Handler) -> None:
        if self.forgets and request.connection in self._known:
            reset = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            request.connection.close()
            request.close_connection = True
            return

        if not self.forgets:
            self._known.add(request.connection)

        self.posts += request.is_post
        answer = b'{"id": %d, "status": "open", "payload": []}' % (self.posts + 7)
        request.send(200, answer)


@pytest.fixture
def balancer() -> t.Iterator[Balancer]:
    balancer = Balancer()

    with serving_as(balancer, "HTTP/1.1"):  # keeps connections
        yield balancer


@pytest.mark.slow
@pytest.mark.usefixtures("answers")
def test_a_connection_that_was_cut_while_idle_delays_a_note_by_2_s_at_most(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    balancer: Balancer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = make_app(chatwoot, base_url=balancer.url)
    client = app.test_client()
    deliver(client, customer_message(QUESTION, conversation_id=1, mode="human"))
    assert balancer.posts == 1

    # As if it had been idle for longer than a connection is kept for a post.
    monkeypatch.setattr(connections, "_KEPT_TO_WRITE", 0.0)
    balancer.forgets = True
    deliver(client, customer_message(QUESTION, conversation_id=2, mode="human"))
    work_until(app, lambda: balancer.posts == 2, within=2.5)

    assert balancer.posts == 2


# -- threads that cannot be started ----------------------------------------------


class Limit:
    """Lets each kind of thread fail to start once, as a container at its limit does.

    :ivar reached: From when on.
    :ivar refused: The kinds that did not start, in that order.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reached = False
        self.refused: list[str] = []
        start, join = threading.Thread.start, threading.Thread.join

        def start_or_fail(thread: threading.Thread) -> None:
            caller = str(sys._getframe(1).f_globals["__name__"])
            kind = re.sub(r"\d+", "", thread.name)
            # Those of the pretended Chatwoot start always.
            is_ours = not caller.startswith(("socketserver", "flask_chatwoot.simul"))

            if self.reached and is_ours and kind not in self.refused:
                self.refused.append(kind)
                raise RuntimeError("can't start new thread")

            start(thread)

        def join_if_started(
            thread: threading.Thread, timeout: float | None = None
        ) -> None:
            if thread.ident is not None:  # or the app could not be taken down
                join(thread, timeout)

        patch.setattr(threading.Thread, "start", start_or_fail)
        patch.setattr(threading.Thread, "join", join_if_started)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    return Limit(monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("answers")
def test_workers_that_could_not_be_started_are_started_later(
    limit: Limit, make_app: AppFactory, chatwoot: Chatwoot, sim: Simulator
) -> None:
    app = make_app(chatwoot, **thread_settings(sim, 1), retry_pause=0.01)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    talk = new_talk(sim)

    limit.reached = True
    app.test_client().get("/")
    ask(app, talk)
    comes_true(lambda: talk.replies, within=3.0)

    assert limit.refused != []
    assert talk.replies == [ANSWER]


@pytest.mark.slow
def test_heartbeats_that_could_not_be_started_are_started_later(
    limit: Limit,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    sim: Simulator,
    thinker: Thinker,
) -> None:
    lease = 4.1
    timing = {"timeout": 0.05, "settle_time": 1.1, "lease": lease, "typing": False}
    app = make_app(chatwoot, **thread_settings(sim, 3), **timing)
    app.test_client().get("/")  # the workers start

    limit.reached = True
    ask(app, new_talk(sim), "first")
    wait_until(lambda: limit.refused or thinker.asked)
    ask(app, new_talk(sim), "second")
    comes_true(lambda: thinker.asked.count("second") > 1, within=lease + 0.6)

    assert thinker.asked.count("second") == 1


def test_a_typing_indicator_that_could_not_be_started_is_started_later(
    limit: Limit,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    sim: Simulator,
    thinker: Thinker,
) -> None:
    app = make_app(chatwoot, **thread_settings(sim, 3))
    ask(app, new_talk(sim, "human"), "note")  # its turn keeps all else running
    thinker.wait_until_asked()
    last = new_talk(sim)

    limit.reached = True
    ask(app, new_talk(sim), "first")
    wait_until(lambda: limit.refused or "first" in thinker.asked)
    ask(app, last, "last")
    wait_until(lambda: "last" in thinker.asked)
    comes_true(lambda: last.typing, within=2.0)

    assert last.typing != []
