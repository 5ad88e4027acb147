"""What happens on the page: customers and operators act, and everybody watches."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import typing as t
from dataclasses import replace

from flask import Flask

from flask_chatwoot.config import Config
from flask_chatwoot.hosting import rehearse
from flask_chatwoot.outcomes import TurnOutcome
from flask_chatwoot.replies import Turn
from flask_chatwoot.runtime import KEY, Runtime
from flask_chatwoot.signals import turn_finished
from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.simulator.payloads import JSON, Contact, Message

from .pictures import conversation_picture
from .trouble import Slowed, Switchboard, Trouble
from .wire import Wire

STATUSES: t.Final = ("open", "resolved")

RETRY_PAUSE: t.Final = 0.1
SETTLE_TIME: t.Final = 2.0
"""Whoever watches wants to see how it ends. Each pause is six times as long as the one
before, so that the fifth attempt comes half a minute after the first."""

BEAT: t.Final = 15.0
"""Seconds after which a quiet stream shows that it is alive."""

GLANCE: t.Final = 0.2
"""Seconds until whoever watches the simulator looks whether it shall stop."""

News = t.Mapping[str, t.Any]


class Stage:
    """A simulator, and those who act in front of it. Any thread may use it.

    :ivar run: Different each time, so that a page that outlived its server knows.
    """

    def __init__(self, config: Config, simulator: Simulator, *, slow: float) -> None:
        self.run = secrets.token_hex(4)
        self.config = config
        self.board = Switchboard(simulator, seconds=slow)
        self._simulator = simulator
        self._wire = Wire(simulator)
        self._talks: dict[int, Talk] = {}
        self._contacts: dict[str, Contact] = {}
        self._contact_ids = itertools.count(1001)
        self._changed = threading.Condition()
        self._changes = 0
        self._closed = False

    # -- the customer ----------------------------------------------------------

    def begin(self, *, name: str, choice: str, text: str, language: str) -> int:
        """Send the pre-chat form.

        :param choice: The option's text, as the form shows it.
        :return: The conversation's number.
        """
        with self._changing():
            if name not in self._contacts:
                self._contacts[name] = Contact(id=next(self._contact_ids), name=name)

            talk = self._simulator.conversation(
                contact=self._contacts[name],
                custom_attributes={self.config.support_mode_attr: choice},
                additional_attributes={"browser_language": language},
            )
            self._talks[talk.id] = talk

        self.say(talk.id, text)

        return talk.id

    def say(self, number: int, text: str, files: t.Sequence[JSON] = ()) -> None:
        """Let the customer write.

        :raises LookupError: There is no such conversation.
        """
        talk = self._talk(number)
        self.board.deliver(
            lambda: talk.customer_says(text or None, attachments=tuple(files))
        )

    def pick(self, number: int, message_id: int, value: str) -> None:
        """Let the customer press a button.

        :raises LookupError: There is no such conversation or message.
        :raises ValueError: There is no such button.
        """
        self._talk(number).customer_picks(self._message(number, message_id), value)

    # -- the operator ----------------------------------------------------------

    def answer(self, number: int, text: str, *, private: bool) -> None:
        """Let the operator write to the customer, or a note."""
        self._talk(number).operator_says(text, private=private)

    def set_status(self, number: int, status: str) -> None:
        """Let the operator resolve or reopen.

        :raises ValueError: It is neither.
        """
        if status not in STATUSES:
            raise ValueError(f"The status must be {' or '.join(STATUSES)}.")

        self._talk(number).change_status(status)

    def set_choice(self, number: int, choice: str) -> None:
        """Let the operator change the attribute that says who answers."""
        self._talk(number).set_attribute(self.config.support_mode_attr, choice)

    def assign(self, number: int, *, me: bool) -> None:
        """Let the operator take the conversation, or leave it to nobody."""
        self._talk(number).assign(self._simulator.operator if me else None)

    def hand_back(self, number: int, choice: str) -> None:
        """Let the operator give the conversation to the bot again.

        In Chatwoot these are three steps: take the assignment away, choose the bot,
        and mark the conversation as pending, which is how it marks a bot's turn.
        """
        self.assign(number, me=False)
        self.set_choice(number, choice)
        self._talk(number).change_status("pending")

    # -- the wire --------------------------------------------------------------

    def bodies(self, number: int) -> JSON:
        """What was sent and answered.

        :raises LookupError: There is no such number on the wire.
        """
        with self._changed:
            return self._wire.bodies(number)

    def send_again(self, number: int) -> None:
        """Repeat a delivery as it was, which is how Chatwoot repeats them.

        :raises LookupError: There is no such delivery.
        """
        with self._changed:
            delivery = self._wire.delivery(number)

        self._simulator.repeat(delivery)

    def switch(self, trouble: Trouble) -> None:
        """Make trouble, or end it."""
        with self._changing():
            self.board.switch(trouble)

    def finished(
        self, _: Flask, turn: Turn, outcome: TurnOutcome, reason: str | None
    ) -> None:
        """A receiver of ``turn_finished``."""
        with self._changing():
            for message in turn.messages:
                self._wire.end(message.id, outcome, reason)

    # -- watching --------------------------------------------------------------

    def news(self) -> t.Iterator[News]:
        """What is to be shown, and then again and again what has changed.

        Ends when the stage closes. Something empty now and then is a sign of life.
        """
        known: News = {}

        while not self._closed:
            with self._changed:
                seen = self._changes
                now = self._picture()

            yield {key: now[key] for key in now if known.get(key) != now[key]}
            known = now
            self._wait(seen)

    def _wait(self, seen: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._changes != seen, timeout=BEAT
            )

    def _picture(self) -> News:
        talks = {
            f"conversation {talk.id}": conversation_picture(
                talk, self.config, self._simulator.operator
            )
            for talk in self._talks.values()
        }
        wire = {f"wire {entry['number']}": entry for entry in self._wire.entries()}
        trouble = {
            name: getattr(self.board.now, name)
            for name in ("api", "slow", "duplicate", "forged")
        }

        return {
            "about": {
                "run": self.run,
                "version": self._simulator.version,
                "attribute": self.config.support_mode_attr,
            },
            "trouble": trouble,
            **talks,
            **wire,
        }

    @contextlib.contextmanager
    def watching(self) -> t.Iterator[None]:
        """Follow the simulator inside."""
        thread = threading.Thread(target=self._watch, name="playground-watch")
        thread.start()

        try:
            yield
        finally:
            self.close()
            thread.join()

    def close(self) -> None:
        """Let everybody go who waits. Safe to repeat."""
        self.board.switch(Trouble())

        with self._changing():
            self._closed = True

    def _watch(self) -> None:
        seen = -1

        while not self._closed:
            last, seen = seen, self._simulator.wait_for_change(seen, timeout=GLANCE)

            if seen != last:
                with self._changing():
                    self._wire.look()

    @contextlib.contextmanager
    def _changing(self) -> t.Iterator[None]:
        with self._changed:
            try:
                yield
            finally:
                self._changes += 1
                self._changed.notify_all()

    def _talk(self, number: int) -> Talk:
        try:
            return self._talks[number]
        except KeyError:
            raise LookupError(f"There is no conversation {number}.") from None

    def _message(self, number: int, message_id: int) -> Message:
        for message in self._talk(number).messages:
            if message.id == message_id:
                return message

        raise LookupError(f"There is no message {message_id}.")


@contextlib.contextmanager
def staged(app: Flask, *, slow: float) -> t.Iterator[Stage]:
    """Put an app in front of a simulator, with a page's worth of switches.

    :param slow: Seconds a slow provider takes.
    """
    own: Runtime = app.extensions[KEY]

    with Simulator() as simulator:
        stage = Stage(own.config, simulator, slow=slow)
        slowed = Slowed(own.providers, stage.board)
        app.extensions[KEY] = replace(own, providers=slowed)

        try:
            with (
                turn_finished.connected_to(stage.finished, sender=app),
                rehearse(
                    app,
                    simulator,
                    retry_pause=min(own.config.retry_pause, RETRY_PAUSE),
                    settle_time=min(own.config.settle_time, SETTLE_TIME),
                ),
                stage.watching(),
            ):
                yield stage
        finally:
            app.extensions[KEY] = own
