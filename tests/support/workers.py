"""For tests about faults: a Chatwoot with raw answers, a worker that freezes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import typing as t
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from flask import Flask

from flask_chatwoot.simulator import Simulator
from flask_chatwoot.simulator.server import serving, shut_down

from .freezing import ANSWER as ANSWER
from .servers import all_ended as all_ended
from .servers import comes_true as comes_true

JSON = dict[str, t.Any]


def settings_of(sim: Simulator) -> dict[str, t.Any]:
    """What ``make_app`` needs to work with a simulator."""
    return {
        key.removeprefix("CHATWOOT_").lower(): value
        for key, value in sim.settings().items()
    }


# -- a Chatwoot whose answers are written byte by byte -----------------------------


class RawChatwoot:
    """One conversation, in front of which a proxy may stand.

    It creates every message that is posted, whatever it answers.

    :ivar url: Its address, which is that of the proxy as well.
    :ivar made: The messages that were created, oldest first.
    :ivar answers: What the next creations are answered with, instead of Chatwoot's
        answer; ``b""`` closes the connection.
    :ivar lists: Whether the token may list messages; a bot's may not.
    :ivar on_create: Called after a message was created, before the answer.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.made: list[JSON] = []
        self.answers: deque[bytes] = deque()
        self.lists = True
        self.on_create: t.Callable[[], None] = lambda: None
        self._server = _Server(self, tls)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        shut_down(self._server)
        self._thread.join()
        self._server.server_close()

    @property
    def public(self) -> list[str]:
        """The texts that the customer reads."""
        return [each["content"] for each in self.made if not each["private"]]

    def create(self, path: str, message: JSON) -> bytes:
        created = {
            **message,
            "id": 20_001 + len(self.made),
            "message_type": 1,
            "conversation_id": int(path.split("/")[-2]),
        }
        self.made.append(created)
        self.on_create()

        return self.answers.popleft() if self.answers else answer(200, created)

    def show(self, path: str) -> bytes:
        if not path.partition("?")[0].endswith("/messages"):
            return answer(200, {"id": 42, "status": "open", "meta": {}, **_CHOSEN})

        if not self.lists:
            return answer(401, {"error": "Access is not authorized for bots"})

        return answer(200, {"meta": {}, "payload": self.made})


_CHOSEN: t.Final[JSON] = {"custom_attributes": {"support_mode": "bot"}}


def answer(status: int, body: JSON | bytes, *headers: str) -> bytes:
    """An HTTP answer as it goes over the wire."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", *headers, "Connection: close"]

    if not any(line.startswith("Content-Length") for line in lines):
        lines.append(f"Content-Length: {len(content)}")

    return "\r\n".join([*lines, "", ""]).encode() + content


class _Server(ThreadingHTTPServer):
    def __init__(self, chatwoot: RawChatwoot, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chatwoot = chatwoot
        self.tls = tls


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_CONNECT(self) -> None:
        """Answer as the proxy, and then as the server behind it."""
        assert self.server.tls is not None
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        self._send(self.server.chatwoot.show(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))

        if self.path.endswith("/messages"):
            self._send(self.server.chatwoot.create(self.path, json.loads(body)))
        else:
            self._send(answer(200, {}))

    def _send(self, content: bytes) -> None:
        self.close_connection = True
        self.wfile.write(content)

        if not content:
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

        self.connection.close()

    def log_message(self, format: str, *args: t.Any) -> None:
        """Log nothing."""


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """What a server needs to be that host, and what a client needs to trust it."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={host}"),
            *("-addext", f"subjectAltName=DNS:{host}"),
            *("-keyout", str(key), "-out", str(chain)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)

    return context, chain


# -- an app that receives, and workers in other processes ---------------------------


@contextlib.contextmanager
def served(app: Flask) -> t.Iterator[str]:
    """Serve an app on loopback; the address of its webhook."""
    with serving(app) as address:
        yield f"{address}/chatwoot/webhook"


class Worker:
    """``flask chatwoot work`` with the settings of an app of this process.

    It has one thread, so that no other thread of it can claim the job of a turn.

    :param program: The app that it runs, as ``flask --app`` takes it.
    """

    def __init__(
        self,
        app: Flask,
        program: str = "support.freezing:create_worker",
        **environment: str,
    ) -> None:
        settings = {
            key: str(value)
            for key, value in app.config.items()
            if key.startswith("CHATWOOT_")
        }
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "flask", "--app"),
                *(program, "chatwoot", "work"),
            ],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **settings, "CHATWOOT_WORKERS": "1", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait(10)

    def wait_until_frozen(self) -> None:
        """Block until the process has stopped as a whole."""
        flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        assert comes_true(
            lambda: os.waitid(os.P_PID, self._process.pid, flags), within=15
        ), "The worker did not reach the place where it freezes."

    def go_on(self) -> None:
        """Let a frozen process run again."""
        self._process.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Let it end the turns that it has begun, and wait for that."""
        self._process.terminate()
        self._process.wait(15)
