from __future__ import annotations

import logging
import sys
from unittest.mock import Mock

import pytest
from blinker import NamedSignal

import flask_chatwoot
from flask_chatwoot import signals

Log = pytest.LogCaptureFixture


class Sender:
    """Used in place of a Flask app: a signal compares only identities."""


@pytest.fixture
def signal() -> NamedSignal:
    return NamedSignal("fresh")


@pytest.mark.parametrize(
    "name",
    [
        *("before_post", "after_post", "turn_due", "turn_finished", "undelivered"),
        *("got_exception", "suggested"),
    ],
)
def test_the_package_exports_the_signals(name: str) -> None:
    found: NamedSignal = getattr(flask_chatwoot, name)
    assert found is getattr(signals, name)
    assert found.name == name.replace("_", "-")


def test_every_receiver_gets_the_sender_and_the_values(signal: NamedSignal) -> None:
    app, first, second = Sender(), Mock(), Mock()
    signal.connect(first)
    signal.connect(second)

    signals.send(signal, app, post="a post", seconds=0.5)

    for receiver in (first, second):
        receiver.assert_called_once_with(app, post="a post", seconds=0.5)


def test_a_receiver_of_one_app_gets_nothing_of_another(signal: NamedSignal) -> None:
    ours, theirs, receiver = Sender(), Sender(), Mock()
    signal.connect(receiver, sender=ours)

    signals.send(signal, theirs)
    signals.send(signal, ours)
    receiver.assert_called_once_with(ours)


def test_the_error_of_a_receiver_is_logged(signal: NamedSignal, caplog: Log) -> None:
    words, sound = "the customer wrote this", Mock()

    def broken(_: Sender, post: str) -> None:
        raise RuntimeError(f"cannot write {post}")

    def without_parameters() -> None: ...

    def leaving(_: Sender, post: str) -> None:
        sys.exit(post)

    for receiver in (broken, without_parameters, leaving, sound):
        signal.connect(receiver)

    with caplog.at_level(logging.DEBUG):
        signals.send(signal, Sender(), post=words)

    sound.assert_called_once()
    assert "a receiver of fresh failed: RuntimeError at" in caplog.text
    assert "in broken" in caplog.text
    assert "TypeError" in caplog.text
    assert "in leaving" in caplog.text
    assert words not in caplog.text


def test_a_keyboard_interrupt_is_raised(signal: NamedSignal) -> None:
    receiver = Mock(side_effect=KeyboardInterrupt)
    signal.connect(receiver)

    with pytest.raises(KeyboardInterrupt):
        signals.send(signal, Sender())


def test_a_signal_needs_no_receiver(signal: NamedSignal, caplog: Log) -> None:
    signals.send(signal, Sender(), post="a post")
    assert caplog.text == ""
