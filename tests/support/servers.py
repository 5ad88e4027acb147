"""What the tests about lost answers share: odd servers, and deliveries by hand."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask import Flask

from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.simulator.server import shut_down
from flask_chatwoot.testing import customer_message, deliver
from support.apps import jobs_of, work
from support.freezing import ANSWER as ANSWER

QUESTION: t.Final = "Where is my order?"


class Handler(BaseHTTPRequestHandler):
    """Reads a request, and lets :meth:`reply` answer it."""

    def do(self) -> None:
        self.reply(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_GET = do_POST = do  # noqa: N815 - named by the standard library

    def reply(self, body: bytes) -> None:
        raise NotImplementedError

    def send(
        self, status: int, body: bytes, headers: t.Mapping[str, str] | None = None
    ) -> None:
        """Answer, with the length of the body."""
        self.send_response(status)

        for name, value in (headers or {}).items():
            self.send_header(name, value)

        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def is_post(self) -> bool:
        """Whether a message is to be made."""
        return self.command == "POST" and self.path.endswith("/messages")

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Ignores connections that break."""

    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serving(handler: type[Handler]) -> t.Iterator[str]:
    """A server on a free port of this machine; its address."""
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            shut_down(server)
            thread.join()


def new_talk(sim: Simulator, mode: str = "bot", **fields: t.Any) -> Talk:
    """A conversation of somebody who chose this mode."""
    return sim.conversation(custom_attributes={"support_mode": mode}, **fields)


def ask(app: Flask, talk: Talk, text: str = QUESTION) -> None:
    """Let the customer write, and deliver it."""
    payload = customer_message(
        text,
        id=talk.customer_says(text).id,
        conversation_id=talk.id,
        status=talk.status,
        mode=talk.current.custom_attributes["support_mode"],
    )

    if (status := deliver(app.test_client(), payload).status_code) != 202:
        pytest.fail(f"The delivery was answered with {status}.")


def all_ended(app: Flask) -> bool:
    return {job.state for job in jobs_of(app)} <= {"done", "dead"}


def work_until(
    app: Flask, is_so: t.Callable[[], object], *, within: float = 5.0
) -> bool:
    """Handle what is due until something is true; whether it became so in time."""

    def worked() -> object:
        work(app)
        return is_so()

    return comes_true(worked, within=within)


def comes_true(is_so: t.Callable[[], object], *, within: float) -> bool:
    """Whether something becomes true before the time is up."""
    deadline = time.monotonic() + within

    while not is_so():
        if time.monotonic() > deadline:
            return False

        time.sleep(0.01)

    return True


def ended(app: Flask) -> bool:
    """Handle what is due; whether every job ends in time."""
    return work_until(app, lambda: all_ended(app))


def thread_settings(sim: Simulator, workers: int) -> dict[str, t.Any]:
    """Of an app with workers of its own, whose Chatwoot is a simulator."""
    return {
        "backend": "thread",
        "workers": workers,
        "base_url": sim.url,
        "api_access_token": sim.user_token,
    }
