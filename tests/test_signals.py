from __future__ import annotations

import logging
import typing as t

import pytest
from blinker import NamedSignal

import flask_chatwoot
from flask_chatwoot import signals


class Sender:
    """Stands in for a Flask app: signals only ask who it is."""


@pytest.fixture
def signal() -> NamedSignal:
    return NamedSignal("fresh")


@pytest.mark.parametrize("name", ["before_post", "after_post", "turn_finished"])
def test_a_host_finds_the_signals_at_the_top(name: str) -> None:
    found: NamedSignal = getattr(flask_chatwoot, name)

    assert found is getattr(signals, name)
    assert found.name == name.replace("_", "-")


def test_every_receiver_is_told_who_sends_and_what(signal: NamedSignal) -> None:
    seen: list[t.Any] = []
    app = Sender()

    def first(sender: Sender, **values: t.Any) -> None:
        seen.append((sender, values))

    def second(sender: Sender, post: str, **_: t.Any) -> None:
        seen.append((sender, post))

    signal.connect(first)
    signal.connect(second)
    signals.send(signal, app, post="a post", seconds=0.5)

    assert len(seen) == 2
    assert (app, {"post": "a post", "seconds": 0.5}) in seen
    assert (app, "a post") in seen


def test_a_receiver_of_one_app_does_not_hear_another(signal: NamedSignal) -> None:
    seen: list[Sender] = []
    ours, theirs = Sender(), Sender()

    def receiver(sender: Sender) -> None:
        seen.append(sender)

    signal.connect(receiver, sender=ours)
    signals.send(signal, theirs)
    signals.send(signal, ours)

    assert seen == [ours]


def test_a_receiver_that_raises_is_logged_and_changes_nothing(
    signal: NamedSignal, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    words = "the customer wrote this"

    def broken(_: Sender, post: str) -> None:
        seen.append("broken")
        raise RuntimeError(f"cannot write {post}")

    def sound(_: Sender, **__: str) -> None:
        seen.append("sound")

    for receiver in (broken, sound):
        signal.connect(receiver)

    with caplog.at_level(logging.DEBUG):
        signals.send(signal, Sender(), post=words)

    assert sorted(seen) == ["broken", "sound"]
    assert "a receiver of fresh failed: builtins.RuntimeError" in caplog.text
    assert "in broken" in caplog.text
    assert words not in caplog.text


def test_a_receiver_with_the_wrong_parameters_changes_nothing_either(
    signal: NamedSignal, caplog: pytest.LogCaptureFixture
) -> None:
    def receiver() -> None:
        """Forgot that the sender is handed over."""

    signal.connect(receiver)
    signals.send(signal, Sender(), post="a post")

    assert "TypeError" in caplog.text


def test_what_ends_the_process_is_not_held_back(signal: NamedSignal) -> None:
    def receiver(_: Sender) -> None:
        raise KeyboardInterrupt

    signal.connect(receiver)

    with pytest.raises(KeyboardInterrupt):
        signals.send(signal, Sender())


def test_nobody_has_to_listen(
    signal: NamedSignal, caplog: pytest.LogCaptureFixture
) -> None:
    signals.send(signal, Sender(), post="a post")

    assert caplog.text == ""
