"""One odd answer of Chatwoot, or one odd message, costs no customer the reply."""

from __future__ import annotations

import re
import threading
import time
import typing as t
from collections import deque

import pytest
import requests
from flask import Flask, appcontext_pushed
from support.apps import AppFactory, database_of, jobs_of
from support.chatwoot import ChatwootStub
from support.databases import set_clock
from support.servers import (
    ANSWER,
    QUESTION,
    Handler,
    all_ended,
    ask,
    ended,
    new_talk,
    serving,
    work_until,
)

from flask_chatwoot import Chatwoot, Handoff, Reply
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import customer_message, deliver

# -- answers of something else ---------------------------------------------------


class Page(t.NamedTuple):
    """An answer that does not come from Chatwoot's application."""

    status: int
    body: bytes = b""
    headers: t.Mapping[str, str] = {}


PAGES: t.Final = {
    "404 of a proxy": Page(404, b"404 page not found\n"),
    "404 in a gateway's JSON": Page(404, b'{"message": "no Route matched"}'),
    "302 to a maintenance page": Page(302, headers={"Location": "/maintenance"}),
    "405 of a static site": Page(405, b"<html>405 Not Allowed</html>"),
    "410": Page(410),
    "200 with HTML": Page(200, b"<html>Back soon</html>"),
    "200 with another program's JSON": Page(200, b'{"maintenance": true}'),
    "401 once": Page(401, b'{"error": "Invalid Access Token"}'),
}

STEPS: t.Final = {
    "look": ("GET", r"/conversations/\d+$"),
    "list": ("GET", r"/messages(\?.*)?$"),
    "post": ("POST", r"/messages$"),
    "attribute": ("POST", r"/custom_attributes$"),
    "status": ("POST", r"/toggle_status$"),
    "assignment": ("POST", r"/assignments$"),
}
"""What a turn asks of Chatwoot: the method, and how the address ends."""


class Gateway:
    """A reverse proxy before a simulator, which can answer by itself.

    :ivar served: The number of its own pages that it has sent.
    """

    def __init__(self, sim: Simulator) -> None:
        self.url = ""
        self.served = 0
        self._sim = sim
        self._pages: dict[str, deque[Page]] = {step: deque() for step in STEPS}

    def answer(self, step: str, page: Page) -> None:
        """Answer the next request of this step with a page; pass on the others."""
        self._pages[step].append(page)

    def reply(self, request: Handler, body: bytes) -> None:
        page = self._page(request) or self._passed_on(request, body)
        request.send(page.status, page.body, page.headers)

    def _page(self, request: Handler) -> Page | None:
        for step, (method, end) in STEPS.items():
            is_it = request.command == method and re.search(end, request.path)

            if is_it and self._pages[step]:
                self.served += 1
                return self._pages[step].popleft()

        return None

    def _passed_on(self, request: Handler, body: bytes) -> Page:
        kept = ("Api-Access-Token", "Content-Type")
        answer = requests.request(
            request.command,
            self._sim.url + request.path,
            data=body,
            headers={key: request.headers.get(key, "") for key in kept},
            allow_redirects=False,
            timeout=10,
        )

        return Page(answer.status_code, answer.content)


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim


@pytest.fixture
def gateway(sim: Simulator) -> t.Iterator[Gateway]:
    gateway = Gateway(sim)

    class Way(Handler):
        def reply(self, body: bytes) -> None:
            gateway.reply(self, body)

    with serving(Way) as gateway.url:
        yield gateway


TIMING: t.Final = {"timeout": 0.5, "settle_time": 1.5, "lease": 60.0}

TIMES_FASTER: t.Final = 10.0


def let_time_fly(app: Flask) -> None:
    """Let the clock of an app run fast, so that nothing waits for long."""
    begin = time.time()
    set_clock(database_of(app), lambda: begin + TIMES_FASTER * (time.time() - begin))


@pytest.fixture
def behind(
    make_app: AppFactory, chatwoot: Chatwoot, gateway: Gateway, sim: Simulator
) -> Flask:
    """An app that reaches Chatwoot through the gateway only."""
    token = sim.user_token
    app = make_app(
        chatwoot,
        base_url=gateway.url,
        api_access_token=token,
        retry_pause=0.01,
        **TIMING,
    )
    let_time_fly(app)

    return app


@pytest.fixture
def answers(chatwoot: Chatwoot) -> None:
    """The app's provider, which always gives the same answer."""
    chatwoot.reply_provider(lambda text: ANSWER)


PROXY_404, JSON_404, MAINTENANCE, STATIC_405, GONE, HTML, JSON_200, ONCE_401 = PAGES

ODD_AT_A_READ: t.Final = (PROXY_404, JSON_404, MAINTENANCE, STATIC_405, GONE, HTML)


@pytest.mark.parametrize(
    ("step", "page"),
    [
        *(("look", page) for page in (*ODD_AT_A_READ, JSON_200)),
        *(("post", page) for page in (*ODD_AT_A_READ[:-1], ONCE_401)),
    ],
)
@pytest.mark.usefixtures("answers")
def test_a_look_or_post_that_gets_an_odd_answer_is_made_again(
    sim: Simulator, gateway: Gateway, behind: Flask, step: str, page: str
) -> None:
    talk = new_talk(sim)
    gateway.answer(step, PAGES[page])
    ask(behind, talk)
    ended(behind)

    assert gateway.served == 1
    assert talk.replies == [ANSWER]
    assert talk.notes == []


@pytest.mark.parametrize("page", ODD_AT_A_READ)
@pytest.mark.usefixtures("answers")
def test_a_search_for_a_post_that_gets_an_odd_answer_is_made_again(
    sim: Simulator, gateway: Gateway, behind: Flask, page: str
) -> None:
    """The 502 says nothing about the post, which was not made."""
    talk = new_talk(sim)
    gateway.answer("post", Page(502, b"<html>Bad Gateway</html>"))
    gateway.answer("list", PAGES[page])
    ask(behind, talk)
    ended(behind)

    assert gateway.served == 2
    assert talk.replies == [ANSWER]


@pytest.mark.parametrize("page", [PROXY_404, MAINTENANCE, STATIC_405, ONCE_401])
@pytest.mark.parametrize("step", ["attribute", "status", "assignment"])
def test_a_step_of_a_handoff_that_gets_an_odd_answer_is_made_again(
    sim: Simulator,
    gateway: Gateway,
    behind: Flask,
    chatwoot: Chatwoot,
    step: str,
    page: str,
) -> None:
    handoff = Handoff(team_id=sim.team.id, assignee_id=sim.operator.id)
    chatwoot.reply_provider(lambda text: Reply(ANSWER, handoff=handoff))
    talk = new_talk(sim, status="pending")
    gateway.answer(step, PAGES[page])
    ask(behind, talk)
    ended(behind)

    assert gateway.served == 1
    assert [job.outcome for job in jobs_of(behind)] == ["handed_off"]
    assert talk.current.custom_attributes["support_mode"] == "human"
    assert talk.status == "open"
    assert talk.current.team is not None
    assert talk.current.assignee is not None
    assert talk.current.assignee.id == sim.operator.id
    assert talk.replies == [ANSWER]
    assert len(talk.notes) == 1


# -- messages that cannot be handled ---------------------------------------------


@pytest.mark.slow
def test_a_text_that_cannot_be_read_does_not_block_its_conversation(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    """Chatwoot 4.9.0 to 4.12.0 sends the text of an API channel as it was typed, and
    this one looks as if Chatwoot had rendered it. Python reads no number that long."""
    chatwoot.reply_provider(lambda text: ANSWER)

    with Simulator(version="4.10.0") as sim:
        app = make_app(
            chatwoot,
            base_url=sim.url,
            api_access_token=sim.user_token,
            max_attempts=2,
            retry_pause=0.01,
        )
        talk = new_talk(sim, channel="Channel::Api")
        kind: t.Any = {"version": "4.10.0", "channel": "api"}
        first, second = (
            customer_message(
                text, id=talk.customer_says(text).id, conversation_id=talk.id, **kind
            )
            for text in (f"<p>&#{'1' * 5000};</p>", QUESTION)
        )
        # By the time of the first delivery, the second message is the newest.
        first["conversation"]["messages"] = second["conversation"]["messages"]

        for payload in (first, second):
            assert deliver(app.test_client(), payload).status_code == 202

        work_until(app, lambda: all_ended(app), within=2.0)

        assert all_ended(app)
        assert talk.replies + talk.notes != []


@pytest.mark.slow
def test_a_turn_whose_context_cannot_be_made_is_dead_after_its_attempts(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    app = make_app(
        chatwoot, backend="thread", workers=0, max_attempts=2, retry_pause=0.01
    )
    deliver(app.test_client(), customer_message(QUESTION))

    def fail(*args: object, **kwargs: object) -> t.NoReturn:
        raise ZeroDivisionError

    def work_in_vain() -> None:
        work_until(app, lambda: all_ended(app), within=2.0)

    # In a thread of its own, where the context may stay pushed.
    with appcontext_pushed.connected_to(fail, sender=app):
        thread = threading.Thread(target=work_in_vain)
        thread.start()
        thread.join()

    assert [(job.state, job.outcome) for job in jobs_of(app)] == [("dead", "dead")]
