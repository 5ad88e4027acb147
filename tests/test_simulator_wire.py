"""What the simulator keeps of calls and deliveries, and the files it serves."""

from __future__ import annotations

import json
import sys
import threading
import time
import typing as t

import pytest
import requests
from support import servers
from support.simulation import Bench, Client, Hook, delivery_of, running, values

from flask_chatwoot.simulator import Fault, File, Simulator, Talk
from flask_chatwoot.simulator.deliveries import Signing
from flask_chatwoot.simulator.files import PUBLIC, STORE
from flask_chatwoot.simulator.payloads import MessageRecord
from flask_chatwoot.simulator.redaction import redacted, redacted_url
from flask_chatwoot.simulator.server import shut_down

CAT: t.Final = File("a/b cät.png", b"\x89PNG cat", "image/png")
UPLOADED: t.Final = ("cat.png", CAT.content, "image/png")


def fetch(url: str, *, follow: bool = True) -> requests.Response:
    return requests.get(url, allow_redirects=follow, timeout=5)


def url_of(message: MessageRecord) -> str:
    return str(message.attachments[0]["data_url"])


# -- files ---------------------------------------------------------------------


@pytest.mark.parametrize("file", [CAT, tuple(CAT)])
def test_a_customer_attaches_a_file(webhook: Hook, file: t.Any, talk: Talk) -> None:
    talk.customer_says(attachments=[file])
    [body] = webhook.bodies
    [attachment] = body["attachments"]
    url = attachment["data_url"]
    answer, fields = fetch(url), "file_type file_size content_type thumb_url"

    assert body["content"] is None
    assert values(attachment, fields) == ["image", 8, "image/png", url]
    assert (answer.status_code, answer.content) == (200, CAT.content)
    assert answer.headers["Content-Type"] == "image/png"
    assert talk.transcript == "Ada Lovelace: [a/b cät.png]"


def test_a_file_has_a_redirect_and_no_token(sim: Simulator, talk: Talk) -> None:
    url = url_of(talk.customer_says("See", attachments=[CAT]))
    first = fetch(url, follow=False)
    second = fetch(first.headers["Location"], follow=False)
    calls = [values(call, "endpoint status token answer") for call in sim.calls]

    assert url.startswith(f"{sim.url}{PUBLIC}/")
    assert first.headers["Location"].startswith(f"{sim.url}{STORE}/")
    assert second.content == CAT.content
    assert calls == [["file", 302, None, None], ["stored_file", 200, None, None]]


@pytest.mark.parametrize("path", [PUBLIC, STORE])
def test_an_unknown_file_is_not_found(sim: Simulator, path: str) -> None:
    assert fetch(f"{sim.url}{path}/0123/cat.png").status_code == 404


def test_a_file_may_have_neither_name_nor_type(talk: Talk) -> None:
    message = talk.customer_says("See", attachments=[("", b"1")])
    assert url_of(message).endswith("/file")
    assert message.attachments[0]["file_type"] == "file"
    assert fetch(url_of(message)).content == b"1"


def test_an_attachment_without_a_file_is_unchanged(webhook: Hook, talk: Talk) -> None:
    place = {"id": 7, "file_type": "location", "coordinates_lat": 52.5}
    message = talk.customer_says(attachments=[place])
    assert place.items() <= webhook.bodies[0]["attachments"][0].items()
    assert webhook.bodies[0]["attachments"][0]["message_id"] == message.id


def test_operators_attach_files_too(talk: Talk) -> None:
    message = talk.operator_says("Here", attachments=[CAT])
    assert fetch(url_of(message)).content == CAT.content


def test_files_cannot_be_attached_before_the_start() -> None:
    talk = Simulator().conversation()

    with pytest.raises(RuntimeError, match="Start the simulator"):
        talk.customer_says(attachments=[CAT])

    assert talk.messages == []


def test_the_bytes_of_a_file_are_not_in_the_list_of_calls(bench: Bench) -> None:
    fields = {"content": "See", "private": "false"}
    answer = bench.user.upload(bench.talk, [UPLOADED], **fields).json()
    [posted], [call] = bench.talk.posted, bench.sim.calls
    listed = {"name": "cat.png", "content_type": "image/png", "size": 8}

    assert answer["attachments"][0]["data_url"] == url_of(posted)
    assert fetch(url_of(posted)).content == CAT.content
    assert bench.talk.transcript == "Uma User: See [cat.png]"
    assert call.json == {**fields, "attachments[]": [listed]}


# -- calls ---------------------------------------------------------------------


def test_refusals_and_texts_are_kept(sim: Simulator, user: Client, talk: Talk) -> None:
    sim.inject(Fault.RATE_LIMITED)
    sim.inject(Fault.CUT_AFTER)
    user.create(talk, "a")

    with pytest.raises(requests.ConnectionError):
        user.create(talk, "b")

    user.create(talk, "\0")
    refusal = {"error": "string contains null byte"}
    assert [call.answer for call in sim.calls] == ["Retry later\n", None, refusal]


def all_of(things: t.Iterable[t.Any]) -> str:
    """All that is kept, also what ``repr`` leaves out."""
    return repr([[getattr(x, name) for name in x.__dataclass_fields__] for x in things])


def test_no_token_is_kept(sim: Simulator, hook: Hook, user: Client, talk: Talk) -> None:
    hook.sim = sim
    sim.connect(f"{hook.url}?token=hush&a=1")
    profile = user.get("/profile", api_access_token=sim.user_token).json()
    user.create(talk, "x", content_attributes={"secret": "hush"})
    [headers] = hook.headers
    kept, sent = all_of(sim.calls), all_of(sim.deliveries)

    assert profile["access_token"] == sim.user_token
    assert values(sim.calls[0].answer, "access_token name") == ["***", "Uma User"]
    assert sim.user_token not in kept
    assert sim.secret not in kept + sent
    assert "hush" not in kept
    assert sim.deliveries[0].url == f"{hook.url}?token=***&a=1"
    assert headers["X-Chatwoot-Signature"] not in sent


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("secret", "secret"),
        ({"secret": None, "id": 1}, {"secret": None, "id": 1}),
        ([{"webhook": {"secret": "x"}}], [{"webhook": {"secret": "***"}}]),
        ({"access_token": ["x"]}, {"access_token": "***"}),
    ],
)
def test_secrets_are_hidden_at_any_depth(value: t.Any, expected: t.Any) -> None:
    assert redacted(value) == expected


def test_a_value_that_is_nested_too_deeply_is_hidden_as_a_whole() -> None:
    value: t.Any = "x"

    for _ in range(5_000):
        value = [value]

    assert redacted(value) == "***"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5000/hook", "http://127.0.0.1:5000/hook"),
        ("http://me:pw@127.0.0.1/hook?a=", "http://***@127.0.0.1/hook?a="),
        ("http://localhost/?b=%20&token=x", "http://localhost/?b=+&token=***"),
    ],
)
def test_addresses_are_shown_without_their_secrets(url: str, expected: str) -> None:
    assert redacted_url(url) == expected


# -- deliveries ----------------------------------------------------------------


@pytest.mark.parametrize("signing", ["valid", "wrong", "absent"])
def test_a_delivery_shows_whether_it_was_signed(bench: Bench, signing: Signing) -> None:
    bench.sim.deliver(bench.talk.customer_says("Hi"), signing=signing)
    body = bench.webhook.bodies[1]
    delivery = bench.sim.deliveries[1]
    shown = delivery.headers.get("X-Chatwoot-Signature")

    assert delivery.signed == (signing != "absent")
    assert shown == ("***" if delivery.signed else None)
    assert json.loads(delivery.body) == body


@pytest.mark.parametrize(
    ("body", "kept"),
    [('{"a": 1}', {"a": 1}), ("Not today", "Not today"), ("", None), ("0", 0)],
)
def test_a_delivery_keeps_the_answer(bench: Bench, body: str, kept: t.Any) -> None:
    bench.webhook.answers(200, body)
    assert delivery_of(bench.sim).answer == kept


def test_only_bots_get_the_events_of_bots(sim: Simulator, hook: Hook) -> None:
    with pytest.raises(ValueError, match="conversation_opened"):
        hook.connect(sim, events=["message_created", "conversation_opened"])


def test_a_repeated_delivery_is_equal(bench: Bench) -> None:
    message = bench.talk.customer_says("Helo")
    bench.sim.drain()
    bench.talk.edit(message, content="Hello")
    bench.sim.repeat(bench.sim.deliveries[0])
    first, second = bench.webhook.headers

    assert bench.webhook.contents == ["Helo", "Helo"]
    assert first["X-Chatwoot-Delivery"] == second["X-Chatwoot-Delivery"]


# -- waiting for a change ------------------------------------------------------


def test_nothing_is_missed_between_two_waits(sim: Simulator, talk: Talk) -> None:
    seen = sim.wait_for_change()
    talk.customer_says("Hi")
    after = sim.wait_for_change(seen, timeout=5)
    assert after > seen
    assert sim.wait_for_change(after, timeout=0.01) == after


@pytest.mark.usefixtures("webhook")
def test_a_change_wakes_a_thread(sim: Simulator, user: Client, talk: Talk) -> None:
    numbers = [sim.wait_for_change()]

    with running(lambda: numbers.append(sim.wait_for_change(numbers[0], timeout=30))):
        user.create(talk, "Hello")

    assert numbers[1] > numbers[0]


class Handler(servers.Handler):
    def reply(self, body: bytes) -> None:
        self.send(204, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it looks for its end")
def test_the_end_of_a_server_does_not_wait_for_its_poll() -> None:
    with servers.Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[30])
        thread.start()
        requests.get(f"http://127.0.0.1:{server.server_port}", timeout=5)
        began = time.monotonic()
        shut_down(server)
        thread.join()

    assert time.monotonic() - began < 5


def test_a_thread_is_woken_without_a_change(sim: Simulator) -> None:
    seen = sim.wait_for_change()

    with running(lambda: sim.wait_for_change(seen, timeout=30)):
        sim.wake()


def test_a_finished_delivery_is_a_change(bench: Bench) -> None:
    bench.webhook.blocks()
    bench.talk.customer_says("Hi")
    bench.webhook.arrived.wait(10)
    seen = bench.sim.wait_for_change()
    bench.webhook.released.set()

    while not bench.sim.deliveries:
        following = bench.sim.wait_for_change(seen, timeout=10)
        assert following > seen
        seen = following

    assert bench.sim.deliveries[0].ok
