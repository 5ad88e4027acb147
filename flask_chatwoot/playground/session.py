"""The state and the actions of the page: customer, operator, faults and traffic."""

from __future__ import annotations

import contextlib
import copy
import itertools
import secrets
import threading
import time
import typing as t
from dataclasses import dataclass

from flask import Flask

from flask_chatwoot.background import new_thread
from flask_chatwoot.config import Config
from flask_chatwoot.hosting import hosted
from flask_chatwoot.outcomes import TurnOutcome
from flask_chatwoot.replies import Turn
from flask_chatwoot.runtime import KEY, Runtime
from flask_chatwoot.signals import got_exception, turn_finished
from flask_chatwoot.simulator import Simulator, Suggestion, Talk
from flask_chatwoot.simulator.composer import FIRST_VERSION
from flask_chatwoot.simulator.payloads import (
    JSON,
    ContactRecord,
    MessageRecord,
    parse_version,
)

from .crashes import Crash, ExcInfo
from .faults import Faults, FaultSwitches, SlowedRegistry
from .installation import VERSIONS, Installation
from .keeper import Keeper
from .snapshots import conversation_snapshot
from .traffic import KeptTraffic, Traffic
from .uploads import UploadedFile, Uploads

STATUSES: t.Final = ("open", "resolved")

RETRY_PAUSE: t.Final = 0.1
SETTLE_TIME: t.Final = 2.0
"""Seconds; short, so that a user of the page sees the outcome of a turn. Each pause is
six times the previous one: the fifth attempt starts half a minute after the first."""

KEEP_ALIVE: t.Final = 15.0
"""Seconds without news after which a stream sends an empty update."""

Update = t.Mapping[str, t.Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """What a session leaves to another, beside its simulator. It can be pickled."""

    run: str = ""
    port: int = 0
    contacts: t.Mapping[str, ContactRecord] | None = None
    traffic: KeptTraffic | None = None
    uploads: t.Mapping[str, UploadedFile] | None = None


class Session:
    """A simulator, and the actions of the page on it. Thread-safe.

    :ivar run: A random id, by which a page notices that the server was restarted.
    :ivar switches: The faults that are on.
    :ivar uploads: The files of customers.
    :ivar port: Where the page is served; 0: anywhere.
    :param kept: What the session of another process left, whose place this one takes.
    """

    def __init__(
        self,
        config: Config,
        simulator: Simulator,
        installation: Installation,
        *,
        slow: float,
        kept: KeptSession | None = None,
    ) -> None:
        kept = kept or KeptSession()
        self.run = kept.run or secrets.token_hex(4)
        self.port = kept.port
        self.uploads = Uploads(kept.uploads)
        self.config = config
        self._installation = installation
        self.switches = FaultSwitches(simulator, seconds=slow)
        self._simulator = simulator
        self._traffic = Traffic(simulator, kept.traffic)
        self._talks = {talk.id: talk for talk in simulator.conversations}
        self._contacts = dict(kept.contacts or {})
        self._contact_ids = itertools.count(1001 + len(self._contacts))
        self._changed = threading.Condition()
        self._changes = 0
        self._closed = False

    # -- the customer ----------------------------------------------------------

    def begin(self, *, name: str, choice: str, text: str, language: str) -> int:
        """Send the pre-chat form.

        :param choice: The option's text, as the form shows it.
        :param language: Of the page; that of the account, too, when the first
            conversation begins. The app asks for it once.
        :return: The id of the conversation.
        """
        with self._changing():
            if not self._talks:
                self._simulator.locale = language

            if name not in self._contacts:
                self._contacts[name] = ContactRecord(
                    id=next(self._contact_ids), name=name
                )

            talk = self._simulator.conversation(
                contact=self._contacts[name],
                custom_attributes={self.config.support_mode_attr: choice},
                additional_attributes={"browser_language": language},
            )
            self._talks[talk.id] = talk

        self.say(talk.id, text)

        return talk.id

    def say(self, number: int, text: str, files: t.Sequence[JSON] = ()) -> None:
        """Send a message of the customer.

        :raises LookupError: There is no such conversation.
        """
        talk = self._talk(number)
        self.switches.deliver(
            lambda: talk.customer_says(text or None, attachments=tuple(files))
        )

    def pick(self, number: int, message_id: int, value: str) -> None:
        """Press a button, as the customer.

        :raises LookupError: There is no such conversation or message.
        :raises ValueError: There is no such button.
        """
        self._talk(number).customer_picks(self._message(number, message_id), value)

    # -- the operator ----------------------------------------------------------

    def answer(self, number: int, text: str, *, private: bool) -> None:
        """Send a message of the operator to the customer, or a note."""
        self._talk(number).operator_says(text, private=private)

    def suggest(self, number: int) -> Suggestion:
        """Press *Suggest a reply*, as the operator. Blocks until there is an answer.

        :raises ValueError: This version of Chatwoot has no such button.
        """
        return self._simulator.suggest_reply(self._talk(number))

    def follow_up(self, number: int, context: JSON, text: str) -> Suggestion:
        """Say what is to be changed in a suggestion. Blocks until there is an answer.

        :param context: What the page got with the suggestion.
        """
        return self._simulator.follow_up(
            Suggestion(text=None, context=context),
            text,
            conversation=self._talk(number),
        )

    def set_status(self, number: int, status: str) -> None:
        """Resolve or reopen, as the operator.

        :raises ValueError: The status is not one of :data:`STATUSES`.
        """
        if status not in STATUSES:
            raise ValueError(f"The status must be {' or '.join(STATUSES)}.")

        self._talk(number).change_status(status)

    def set_choice(self, number: int, choice: str) -> None:
        """Change the attribute that holds the mode, as the operator."""
        self._talk(number).set_attribute(self.config.support_mode_attr, choice)

    def assign(self, number: int, *, me: bool) -> None:
        """Assign the conversation to the operator, or remove the assignee."""
        self._talk(number).assign(self._simulator.operator if me else None)

    def return_to_bot(self, number: int, choice: str) -> None:
        """Return the conversation to the bot, as the operator.

        In Chatwoot these are three steps: remove the assignee, choose the bot, and mark
        the conversation as pending, the status in which a bot answers.
        """
        self.assign(number, me=False)
        self.set_choice(number, choice)
        self._talk(number).change_status("pending")

    # -- traffic ---------------------------------------------------------------

    def bodies(self, number: int) -> JSON:
        """The bodies of a delivery or call, of the request and of the answer.

        :raises LookupError: There is no such number.
        """
        with self._changed:
            return self._traffic.bodies(number)

    def send_again(self, number: int) -> None:
        """Send a delivery again, unchanged, as Chatwoot does.

        :raises LookupError: There is no such delivery.
        """
        with self._changed:
            delivery = self._traffic.delivery(number)

        self._simulator.repeat(delivery)

    def set_faults(self, faults: Faults) -> None:
        """Turn faults on and off."""
        with self._changing():
            self.switches.set(faults)

    def finished(
        self, _: Flask, turn: Turn, outcome: TurnOutcome, reason: str | None
    ) -> None:
        """A receiver of ``turn_finished``."""
        with self._changing():
            for message in turn.messages:
                self._traffic.end(message.id, outcome, reason)

    def raised(
        self, _: Flask, exc_info: ExcInfo, where: str, turn: Turn | None
    ) -> None:
        """A receiver of ``got_exception``."""
        number = turn.conversation_id if turn else None
        crash = Crash.of(exc_info, where, number, time.monotonic())

        with self._changing():
            self._traffic.add(crash)

    # -- updates ---------------------------------------------------------------

    def updates(self) -> t.Iterator[Update]:
        """All that the page shows, and then what has changed since. Blocks in between.

        Ends when the session is closed. An empty update keeps the connection alive.
        """
        known: Update = {}

        while not self._closed:
            with self._changed:
                seen = self._changes
                now = self._snapshot()

            yield {key: now[key] for key in now if known.get(key) != now[key]}
            known = now
            self._wait(seen)

    def _wait(self, seen: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._changes != seen, timeout=KEEP_ALIVE
            )

    def _snapshot(self) -> Update:
        talks = {
            f"conversation {talk.id}": conversation_snapshot(
                talk, self.config, self._simulator.operator
            )
            for talk in self._talks.values()
        }
        traffic = {
            f"traffic {entry['number']}": entry for entry in self._traffic.entries()
        }
        faults = {
            name: getattr(self.switches.current, name)
            for name in ("api", "slow", "duplicate", "forged")
        }

        return {
            "about": {
                "run": self.run,
                "version": self._installation.version,
                "kind": self._installation.kind,
                "versions": VERSIONS,
                "attribute": self.config.support_mode_attr,
                "suggests": parse_version(self._simulator.version) >= FIRST_VERSION,
            },
            "faults": faults,
            **talks,
            **traffic,
        }

    @contextlib.contextmanager
    def following(self) -> t.Iterator[None]:
        """Follow the simulator until the block ends."""
        thread = new_thread(self._follow, "playground-follow")
        thread.start()

        try:
            yield
        finally:
            self.close()
            thread.join()

    def kept(self) -> KeptSession:
        """What a session needs to take the place of this one."""
        with self._changed:
            return KeptSession(
                run=self.run,
                port=self.port,
                contacts=dict(self._contacts),
                traffic=self._traffic.kept(),
                uploads=dict(self.uploads.files),
            )

    def close(self) -> None:
        """Wake all threads that wait, and end all streams. May be repeated."""
        self.switches.set(Faults())

        with self._changing():
            self._closed = True

        self._simulator.wake()  # the thread that follows it

    def _follow(self) -> None:
        seen = -1

        while not self._closed:
            last, seen = seen, self._simulator.wait_for_change(seen)

            if seen != last:
                with self._changing():
                    self._traffic.refresh()

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

    def _message(self, number: int, message_id: int) -> MessageRecord:
        for message in self._talk(number).messages:
            if message.id == message_id:
                return message

        raise LookupError(f"There is no message {message_id}.")


@contextlib.contextmanager
def open_session(
    app: Flask, installation: Installation, *, slow: float, keeper: Keeper
) -> t.Iterator[Session]:
    """Run an app beside a simulator, with the faults of the page.

    :param installation: Of a new session; one that is kept goes on with its own.
    :param slow: Seconds a slow provider takes.
    """
    own: Runtime = app.extensions[KEY]
    installation, left, kept = keeper.load() or (installation, None, None)

    with Simulator(version=installation.version, kept=left) as simulator:
        session = Session(own.config, simulator, installation, slow=slow, kept=kept)
        slowed = copy.copy(own)
        slowed.providers = SlowedRegistry(own.providers, session.switches)
        app.extensions[KEY] = slowed

        try:
            with (
                turn_finished.connected_to(session.finished, sender=app),
                got_exception.connected_to(session.raised, sender=app),
                hosted(
                    app,
                    simulator,
                    kind=installation.kind,
                    retry_pause=min(own.config.retry_pause, RETRY_PAUSE),
                    settle_time=min(own.config.settle_time, SETTLE_TIME),
                    **keeper.settings(session.run),
                ),
                session.following(),
                keeper.draining(simulator),
            ):
                yield session
        finally:
            app.extensions[KEY] = own
            keeper.save((installation, simulator.kept(), session.kept()))
