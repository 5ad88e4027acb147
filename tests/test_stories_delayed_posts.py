"""The host delays a post, and its conversation may change meanwhile."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.stories import ASKED, QUESTION, Begin, Story

from flask_chatwoot import Chatwoot, Decision, Post, after_post, before_post
from flask_chatwoot.errors import APIError
from flask_chatwoot.ownership import gate
from flask_chatwoot.ownership.gate import OutdatedError
from flask_chatwoot.ownership.policy import PolicyContext, default_policy
from flask_chatwoot.simulator import Fault
from flask_chatwoot.turns.posting import Poster

ANSWER: t.Final = f"You asked: {QUESTION}"
REPLIED: t.Final = f"Uma User: {ANSWER}"
NOTED: t.Final = f"Uma User (note): {ANSWER}"
LEFT: t.Final = "Olga Operator: It left this morning."

Act = t.Callable[[Story], object]


class Delay:
    """What happens once, while something of the host's takes long."""

    def __init__(self, act: t.Callable[[], object]) -> None:
        self._act = act
        self.is_over = False

    def __call__(self, *_: object, **__: object) -> None:
        if not self.is_over:
            self.is_over = True
            self._act()


@pytest.fixture(autouse=True)
def _every_look_is_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "OUTDATED", 0.0)


@pytest.fixture
def story(begin: Begin) -> Story:
    return begin(answer=lambda text: f"You asked: {text}")


def writes(story: Story) -> None:
    story.talk.operator_says("It left this morning.")


def chooses(story: Story) -> None:
    story.talk.set_attribute("support_mode", "human")


def resolves(story: Story) -> None:
    story.talk.resolve()


CHANGES: t.Final = pytest.mark.parametrize(
    ("act", "lines", "ending"),
    [
        pytest.param(writes, [ASKED, LEFT], "declined answered", id="answer"),
        pytest.param(chooses, [ASKED, NOTED], "noted", id="mode"),
        pytest.param(resolves, [ASKED, NOTED], "noted status", id="resolve"),
    ],
)


@CHANGES
@pytest.mark.parametrize("delivered", [True, False])
def test_what_operators_do_during_a_slow_receiver_holds(
    story: Story, app: Flask, act: Act, lines: list[str], ending: str, delivered: bool
) -> None:
    def change() -> None:
        if delivered:
            act(story)
        else:
            with story.sim.losing():
                act(story)

    delay = Delay(change)

    with before_post.connected_to(delay, app):
        story.asks()

    assert delay.is_over
    assert [line for line in story.lines() if not line.startswith("[")] == lines
    assert story.endings()[0] == ending


def test_what_an_operator_says_during_a_slow_policy_holds(
    story: Story, chatwoot: Chatwoot
) -> None:
    delay = Delay(lambda: writes(story))

    @chatwoot.policy
    def policy(context: PolicyContext) -> Decision:
        if context.live:  # right before the post
            delay()

        return default_policy(context)

    story.asks()
    assert story.lines() == [ASKED, LEFT]
    assert story.endings()[0] == "declined answered"


def test_what_an_operator_says_while_a_post_is_searched_for_holds(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Poster.find
    searches: list[int | None] = []

    def slow(self: Poster, *args: t.Any) -> int | None:
        searches.append(find(self, *args))

        if len(searches) == 2:  # after the look
            writes(story)

        return searches[-1]

    monkeypatch.setattr(Poster, "find", slow)
    story.asks()
    assert story.lines() == [ASKED, LEFT]


def test_receivers_hear_of_each_attempt(story: Story, app: Flask) -> None:
    begun: list[bool] = []
    ended: list[tuple[bool, type]] = []
    delay = Delay(lambda: chooses(story))

    def before(_: Flask, *, post: Post) -> None:
        begun.append(post.private)
        delay()

    def after(_: Flask, *, post: Post, error: Exception | None, **__: object) -> None:
        ended.append((post.private, type(error)))

    with before_post.connected_to(before, app), after_post.connected_to(after, app):
        story.asks()

    assert begun == [False, True]
    assert ended == [(False, OutdatedError), (True, type(None))]


def test_a_receiver_that_is_always_slow_is_called_once(
    story: Story, app: Flask
) -> None:
    posts: list[Post] = []

    def before(_: Flask, *, post: Post) -> None:
        posts.append(post)

    with before_post.connected_to(before, app):
        story.goes(ASKED, REPLIED)

    assert len(posts) == 1
    assert story.endings() == ["replied"]


def test_a_look_that_is_fresh_is_not_repeated(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.goes(ASKED, REPLIED)
    outdated = len(story.calls("conversation"))

    monkeypatch.setattr(gate, "OUTDATED", 60.0)
    story.goes(ASKED, REPLIED)
    assert (outdated, len(story.calls("conversation"))) == (2, 3)


def test_nothing_is_posted_if_the_second_look_fails(begin: Begin, app: Flask) -> None:
    story = begin(answer=lambda text: f"You asked: {text}", retry_pause=0.01)
    errors: list[type] = []

    def fail(_: Flask, **__: object) -> None:
        if not errors:
            story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation")

    def after(_: Flask, *, error: Exception | None, **__: object) -> None:
        errors.append(type(error))

    with before_post.connected_to(fail, app), after_post.connected_to(after, app):
        story.goes(ASKED, REPLIED)

    failed, posted = errors
    assert issubclass(failed, APIError)
    assert posted is type(None)


def test_a_conversation_that_does_not_stop_changing_costs_attempts(
    begin: Begin, app: Flask, chatwoot: Chatwoot
) -> None:
    story = begin(
        answer=lambda text: f"You asked: {text}", retry_pause=0.01, max_attempts=2
    )
    chatwoot.policy(lambda context: "customer")
    modes = ["human", "bot"] * 10

    def before(_: Flask, *, post: Post) -> None:
        if not post.private:
            story.talk.set_attribute("support_mode", modes.pop(0))

    with before_post.connected_to(before, app):
        story.asks()

    assert story.endings() == ["dead crashed"]
    assert story.talk.replies == []
