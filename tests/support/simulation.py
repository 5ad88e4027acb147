"""A simulator, clients of its API and a webhook, as fixtures for every test."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import threading
import typing as t
from collections.abc import Callable, Iterator

import pytest
import requests
from flask import Flask, Response, request

from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import Delivery, Simulator, Talk
from flask_chatwoot.simulator.deliveries import Kind
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.simulator.server import serving

JSON = dict[str, t.Any]
Answer = Callable[[JSON], Response]
Start = Callable[..., Simulator]

NO_BOTS: t.Final = {"error": "Access to this endpoint is not authorized for bots"}
NOT_FOUND: t.Final = {"error": "Resource could not be found"}


class Hook:
    """A webhook that keeps the deliveries it gets.

    :ivar answer: Makes the answer to a body; may be replaced.
    :ivar sim: The simulator whose queued deliveries the properties below wait for.
    :ivar arrived: Set once a delivery has come, answered or not.
    :ivar released: Set to let a webhook that :meth:`blocks` answer.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answer: Answer = lambda body: Response('{"status": "accepted"}', 202)
        self.sim: Simulator | None = None
        self.got: list[tuple[bytes, t.Mapping[str, str]]] = []
        self.arrived = threading.Event()
        self.released = threading.Event()

    def view(self) -> Response:
        raw = request.get_data()
        self.arrived.set()
        answer = self.answer(json.loads(raw))
        self.got.append((raw, dict(request.headers)))
        return answer

    def answers(self, status: int, text: str = "no") -> None:
        """Give this answer to every delivery from now on."""
        self.answer = lambda body: Response(text, status)

    def blocks(self) -> None:
        """Answer no delivery before the event ``released`` is set."""

        def answer(body: JSON) -> Response:
            self.released.wait(10)
            return Response()

        self.answer = answer

    def connect(self, sim: Simulator, **options: t.Any) -> Hook:
        self.sim = sim
        sim.connect(self.url, **options)
        return self

    def drained(self) -> list[tuple[bytes, t.Mapping[str, str]]]:
        if self.sim:
            self.sim.drain()
        return self.got

    @property
    def headers(self) -> list[t.Mapping[str, str]]:
        return [headers for _, headers in self.drained()]

    @property
    def bodies(self) -> list[JSON]:
        return [json.loads(raw) for raw, _ in self.drained()]

    @property
    def contents(self) -> list[str]:
        return [body["content"] for body in self.bodies]

    @property
    def events(self) -> list[str]:
        return [body["event"] for body in self.bodies]

    @property
    def changes(self) -> list[dict[str, tuple[t.Any, t.Any]]]:
        """Of each body: attribute to (before, after)."""
        return [
            {
                name: (change["previous_value"], change["current_value"])
                for changed in body.get("changed_attributes") or ()
                for name, change in changed.items()
            }
            for body in self.bodies
        ]


@contextlib.contextmanager
def hooked() -> Iterator[Hook]:
    hook = Hook()
    app = Flask(__name__)
    app.add_url_rule("/hook", view_func=hook.view, methods=["POST"])

    with serving(app) as url:
        hook.url = f"{url}/hook"
        yield hook
        hook.released.set()


def values(thing: t.Any, names: str) -> list[t.Any]:
    """Values of an object or a JSON body: ``"id conversation.status"``."""

    def value(name: str) -> t.Any:
        found = thing

        for part in name.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)

        return found

    return [value(name) for name in names.split()]


def delivery_of(sim: Simulator, content: str = "Hi") -> Delivery:
    """Store a customer's message, and return its delivery, which is the first."""
    sim.conversation().customer_says(content)
    sim.drain()
    [delivery] = sim.deliveries
    return delivery


def verify(body: bytes, headers: t.Mapping[str, str], secret: str) -> None:
    """Check the signature of a delivery.

    :raises SignatureError: It is absent, wrong or too old.
    """
    signature.verify(
        body,
        secrets=[secret],
        signature=headers.get(signature.SIGNATURE_HEADER),
        timestamp=headers.get(signature.TIMESTAMP_HEADER),
    )


def activities(talk: Talk) -> list[str | None]:
    """The texts of the activities of a conversation."""
    return [m.content for m in talk.messages if m.type is MessageType.ACTIVITY]


@contextlib.contextmanager
def running(*targets: Callable[[], object]) -> Iterator[None]:
    """Run functions in threads of their own, and wait until they have ended."""
    threads = [threading.Thread(target=target) for target in targets]

    for thread in threads:
        thread.start()

    yield

    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)


class Client:
    """Calls the API with one token."""

    def __init__(self, sim: Simulator, token: str | None = None) -> None:
        self._url = f"{sim.url}/api/v1"
        self._headers = {"Api-Access-Token": sim.user_token if token is None else token}

    def request(
        self, method: str, path: str, timeout: float = 5, **options: t.Any
    ) -> requests.Response:
        options["headers"] = self._headers
        return requests.request(method, self._url + path, timeout=timeout, **options)

    def get(self, path: str, **query: t.Any) -> requests.Response:
        return self.request("GET", path, params=query)

    def post(self, path: str, body: t.Any) -> requests.Response:
        return self.request("POST", path, json=body)

    def do(self, talk: Talk, what: str, body: t.Any) -> requests.Response:
        """Post to an endpoint of a conversation."""
        return self.post(f"/accounts/1/conversations/{talk.id}/{what}", body)

    def create(self, talk: Talk, content: t.Any, **fields: t.Any) -> requests.Response:
        return self.do(talk, "messages", {"content": content, **fields})

    def upload(self, talk: Talk, files: t.Any, **fields: str) -> requests.Response:
        """Post a form with attachments; each is (name, content, type)."""
        return self.request(
            "POST",
            f"/accounts/1/conversations/{talk.id}/messages",
            data=fields,
            files=[("attachments[]", file) for file in files],
        )

    def read(self, talk: Talk) -> JSON:
        answer: JSON = self.get(f"/accounts/1/conversations/{talk.id}").json()
        return answer

    def ids(self, talk: Talk, **query: t.Any) -> list[int]:
        answer = self.get(f"/accounts/1/conversations/{talk.id}/messages", **query)
        return [message["id"] for message in answer.json()["payload"]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts simulators."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            Simulator(**{"retry_pause": 0.0, **options})
        )


@pytest.fixture
def version() -> str:
    """Of Chatwoot. Tests override it, and the next three, with ``parametrize``."""
    return "4.16.2"


@pytest.fixture
def role() -> str:
    return "administrator"


@pytest.fixture
def kind() -> str:
    return "account"


@pytest.fixture
def subscriptions() -> t.Sequence[str]:
    return ["message_created"]


@pytest.fixture
def sim(start: Start, version: str, role: str) -> Simulator:
    return start(version=version, role=role)


@pytest.fixture
def talk(sim: Simulator) -> Talk:
    """An open conversation."""
    return sim.conversation()


@pytest.fixture
def user(sim: Simulator) -> Client:
    return Client(sim)


@pytest.fixture
def bot(sim: Simulator) -> Client:
    return Client(sim, sim.bot_token)


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that is not connected."""
    with hooked() as hook:
        yield hook


@pytest.fixture
def webhook(sim: Simulator, hook: Hook, kind: Kind, subscriptions: list[str]) -> Hook:
    """A connected webhook; unless parametrized, it gets new messages."""
    return hook.connect(sim, kind=kind, events=subscriptions)


@dataclasses.dataclass
class Bench:
    """What a test of several parts needs; the webhook is connected."""

    sim: Simulator
    webhook: Hook
    user: Client
    bot: Client

    @functools.cached_property
    def talk(self) -> Talk:
        return self.sim.conversation()


@pytest.fixture
def bench(sim: Simulator, webhook: Hook, user: Client, bot: Client) -> Bench:
    return Bench(sim, webhook, user, bot)


@pytest.fixture
def bot_webhook(sim: Simulator, hook: Hook) -> Hook:
    """The webhook of an agent bot."""
    return hook.connect(sim, kind="bot")
