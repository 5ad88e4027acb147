from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from flask_chatwoot.doctor.http import Answer, Failure, exchange


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""


class Place:
    """Answers what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = Response("fine")
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.hang = threading.Event()
        self.hang.set()

        @Request.application
        def app(request: Request) -> Response:
            self.asked.append((request.method, request.path, request.get_data()))
            self.headers.append(dict(request.headers))
            self.hang.wait(10)
            return self.answer

        self._server = make_server(
            "127.0.0.1", 0, app, threaded=True, request_handler=_Quiet
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def test_an_answer_is_taken_as_it_is(place: Place) -> None:
    place.answer = Response('{"a": 1}', 418, {"X-Tea": "yes"})

    answer = exchange("POST", f"{place.url}/x", headers={"X-A": "b"}, body=b"hello")

    assert isinstance(answer, Answer)
    assert (answer.status, answer.json, answer.redirect) == (418, {"a": 1}, None)
    assert answer.headers["x-tea"] == "yes"
    assert place.asked == [("POST", "/x", b"hello")]
    assert place.headers[0]["X-A"] == "b"


def test_a_redirect_is_told_and_not_followed(place: Place) -> None:
    place.answer = Response("", 302, {"Location": "/elsewhere"})

    answer = exchange("GET", f"{place.url}/x")

    assert isinstance(answer, Answer)
    assert answer.redirect == "/elsewhere"
    assert len(place.asked) == 1


def test_no_more_is_read_than_is_needed(place: Place) -> None:
    place.answer = Response("x" * 1_000_000)

    answer = exchange("GET", place.url)

    assert isinstance(answer, Answer)
    assert len(answer.body) == 64 * 1024
    assert answer.json is None


def test_an_empty_answer_is_one(place: Place) -> None:
    place.answer = Response("", 204)

    answer = exchange("GET", place.url)

    assert isinstance(answer, Answer)
    assert answer.body == b""


def test_who_does_not_answer_has_failed(place: Place) -> None:
    place.hang.clear()

    assert exchange("GET", place.url, timeout=0.2) == Failure("ReadTimeout")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("nowhere", "MissingSchema"),
        ("http://", "InvalidURL"),
        ("http://[::1", "InvalidURL"),
        ("http://127.0.0.1:1/", "ConnectionError"),
    ],
)
def test_what_can_not_be_asked_has_failed(url: str, kind: str) -> None:
    assert exchange("GET", url) == Failure(kind)


def test_a_header_that_can_not_be_written_is_a_failure(place: Place) -> None:
    assert exchange("GET", place.url, headers={"X-A": "a\nb"}) == Failure(
        "InvalidHeader"
    )


def test_no_password_of_the_machine_is_sent(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    exchange("GET", place.url)

    assert "Authorization" not in place.headers[0]


def test_nothing_of_an_answer_is_in_its_repr() -> None:
    shown = repr(Answer(200, {"X-Secret": "a"}, b"b"))

    assert shown == "Answer(status=200)"
