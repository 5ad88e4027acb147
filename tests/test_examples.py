"""The apps in the folder ``examples`` do what they say."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from support.celery import frozen_server
from support.playground import Page
from support.servers import Handler, serving

from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PICTURE = b"\x89PNG\r\n\x1a\n"


def load(name: str) -> types.ModuleType:
    """Run an example, as a new module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    return module


# -- all of them -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_one_command_opens_the_example_in_the_playground(path: Path) -> None:
    command = f"flask --app examples/{path.name} chatwoot playground"
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command), "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    )

    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout is not None
        [address] = re.findall(r"http://\S+", process.stdout.readline())

        with contextlib.closing(Page(address)) as page:
            page.begin()
            page.wait_until(lambda: page.deliveries())
            page.wait_until(lambda: page.deliveries()[0]["status"] == 202)


# -- rag.py ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rag() -> t.Iterator[Flask]:
    module = load("rag")

    with contextlib.closing(module.index):
        yield module.app


FOUND = {
    "How long does delivery take?": "**two to four working days**",
    "how long are DELIVERIES": "**two to four working days**",
    "How do I return a book?": "Put the slip from the parcel into the box",
    "My book arrived damaged": "Send us a photo",
    "Can I pay by card?": "By card, by invoice",
    "delivery* NEAR(cost \"x' OR -- {": "Nothing from 30 €",
}


@pytest.mark.parametrize(("question", "answer"), FOUND.items())
def test_the_index_answers_with_a_link_to_the_page(
    chatwoot_sim: ChatwootSim, rag: Flask, question: str, answer: str
) -> None:
    talk = chatwoot_sim.conversation(rag)
    talk.customer_says(question)

    assert talk.last_reply is not None
    assert answer in talk.last_reply
    [page] = re.findall(r"\(https://shop\.example\.com/help/(\w+)\)$", talk.last_reply)
    assert (EXAMPLES / "help" / f"{page}.md").is_file()


@pytest.mark.parametrize("question", ["Do you sell bananas?", "Есть ли у вас бананы?"])
def test_what_the_index_does_not_know_is_handed_off(
    chatwoot_sim: ChatwootSim, rag: Flask, question: str
) -> None:
    talk = chatwoot_sim.conversation(rag)
    talk.customer_says(question)

    assert talk.outcome == "handed_off"
    assert "Reason: nothing was found" in talk.notes[0]


@pytest.mark.parametrize("text", ["Hello", "?!", '""', "How are you"])
def test_words_without_a_subject_get_a_question(
    chatwoot_sim: ChatwootSim, rag: Flask, text: str
) -> None:
    talk = chatwoot_sim.conversation(rag)
    talk.customer_says(text)

    assert talk.replies == ["Hello! Ask me about delivery, payment or returns."]


# -- shop.py ---------------------------------------------------------------------------


class Shop(t.NamedTuple):
    app: Flask
    database: sa.Engine


@pytest.fixture(scope="module")
def module() -> types.ModuleType:
    """Run once, as its receivers are called for every app."""
    return load("shop")


@pytest.fixture
def shop(module: types.ModuleType, tmp_path: Path) -> t.Iterator[Shop]:
    url = f"sqlite:///{tmp_path}/shop.sqlite3"
    app = module.create_app(url)
    engine = sa.create_engine(url)
    yield Shop(app, engine)
    engine.dispose()
    app.extensions["session"].kw["bind"].dispose()


def test_an_order_is_found_in_the_database(
    chatwoot_sim: ChatwootSim, shop: Shop
) -> None:
    talk = chatwoot_sim.conversation(shop.app)
    talk.customer_says("Hi, where is order 4711?")

    assert talk.replies == ["Order 4711 left our warehouse this morning."]


@pytest.mark.parametrize("text", ["Where is order 4712?", "Hello", "9" * 5000, "٤٧١١٢"])
def test_an_order_that_is_not_found_is_handed_off(
    chatwoot_sim: ChatwootSim, shop: Shop, text: str
) -> None:
    talk = chatwoot_sim.conversation(shop.app)
    talk.customer_says(text)

    assert talk.outcome == "handed_off"


def test_each_post_is_in_the_audit_trail(chatwoot_sim: ChatwootSim, shop: Shop) -> None:
    talk = chatwoot_sim.conversation(shop.app)
    talk.customer_says("Where is order 4711?")
    talk.operator_says("Olga here.")
    talk.customer_says("And 4711?")

    with shop.database.connect() as connection:
        rows = connection.execute(sa.text("SELECT conversation, message FROM audit"))
        posts = [each.id for each in talk.talk.posted]
        assert [*rows] == [(talk.id, message) for message in posts]
        assert len(posts) == 2


# -- openai_chat.py --------------------------------------------------------------------


class Model:
    """A server of OpenAI's API, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[t.Any] = []
        self.says = "It left our warehouse this morning."
        self.status = 200

    @property
    def question(self) -> t.Any:
        """The content of the newest message of the newest request."""
        return self.asked[-1]["messages"][-1]["content"]

    def answer(self, body: bytes) -> tuple[int, bytes]:
        self.asked.append(json.loads(body))
        message = {"role": "assistant", "content": self.says}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        kind = {"object": "chat.completion", "created": 0, "model": "stub", "id": "1"}
        answers = {
            200: {**kind, "choices": [choice]},
            400: {"error": {"message": "No"}},
        }

        return self.status, json.dumps(answers[self.status]).encode()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Model]:
    model = Model()

    class Api(Handler):
        def reply(self, body: bytes) -> None:
            status, answer = model.answer(body)
            self.send(status, answer, {"Content-Type": "application/json"})

    with serving(Api) as address:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
        yield model


@pytest.fixture
def chat(model: Model) -> t.Iterator[types.ModuleType]:
    module = load("openai_chat")
    yield module
    module.client.close()


def test_the_model_gets_the_history(
    chatwoot_sim: ChatwootSim, chat: types.ModuleType, model: Model
) -> None:
    talk = chatwoot_sim.conversation(chat.app)
    talk.customer_says("Where is my order?")
    talk.customer_says("And the other?")

    assert talk.replies == [model.says, model.says]
    role, *history, question = model.asked[1]["messages"]
    assert role["role"] == "system"
    assert history == [
        {"role": "user", "content": "Where is my order?"},
        {"role": "assistant", "content": model.says},
    ]
    assert question["content"] == [{"type": "text", "text": "And the other?"}]


@pytest.mark.parametrize("text", ["What is this?", None])
def test_the_model_gets_the_picture_itself(
    chatwoot_sim: ChatwootSim, chat: types.ModuleType, model: Model, text: str | None
) -> None:
    talk = chatwoot_sim.conversation(chat.app)
    talk.customer_says(text, attachments=[("order.png", PICTURE, "image/png")])

    picture = {"url": "data:image/png;base64,iVBORw0KGgo="}
    said = [{"type": "text", "text": text}] if text else []
    assert model.question == [*said, {"type": "image_url", "image_url": picture}]
    assert talk.last_reply == model.says


def test_a_file_that_is_no_picture_is_mentioned(
    chatwoot_sim: ChatwootSim, chat: types.ModuleType, model: Model
) -> None:
    talk = chatwoot_sim.conversation(chat.app)
    talk.customer_says(None, attachments=[("1.pdf", b"%PDF", "application/pdf")])

    assert model.question == "(a file)"


def test_a_reply_is_one_message_of_the_channel(
    chatwoot_sim: ChatwootSim, chat: types.ModuleType, model: Model
) -> None:
    model.says = "It left our warehouse. " * 40
    talk = chatwoot_sim.conversation(chat.app, channel="Channel::Sms")
    talk.customer_says("Where is my order?")

    assert "at most 320 characters" in model.asked[0]["messages"][0]["content"]
    [reply] = talk.replies
    assert reply.endswith("[...]")
    assert 300 < len(reply) <= 320


def test_a_question_that_the_model_refuses_is_handed_off_at_once(
    chatwoot_sim: ChatwootSim, chat: types.ModuleType, model: Model
) -> None:
    model.status = 400
    talk = chatwoot_sim.conversation(chat.app)
    talk.customer_says("Where is my order?")

    assert talk.outcome == "handed_off"
    assert len(model.asked) == 1


def test_a_model_that_does_not_answer_in_time_fails_the_attempt(
    chatwoot_simulator: SimulatorFactory,
    chat: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (chat.client.timeout, chat.client.max_retries) == (30, 1)

    with frozen_server() as silent:
        impatient = chat.client.with_options(base_url=f"http://{silent}", timeout=0.1)
        monkeypatch.setattr(chat, "client", impatient)
        talk = chatwoot_simulator(provider_attempts=1).conversation(chat.app)
        talk.customer_says("Where is my order?")

    assert (talk.outcome, talk.reason) == ("dead", "provider_failed")
