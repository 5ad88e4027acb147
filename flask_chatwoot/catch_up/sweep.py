"""One sweep: what changed since the last is read, and taken in like a delivery."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field
from functools import cached_property

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.config import Config
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    DatabaseError,
    TooLargeError,
)
from flask_chatwoot.ingest import Ingest
from flask_chatwoot.logs import about, logger
from flask_chatwoot.outcomes import DeliveryOutcome
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.payloads.listed import (
    ListedConversation,
    delivery_of_conversation,
)
from flask_chatwoot.queue.store import Store
from flask_chatwoot.queue.sweeps import LONGEST_INTERVAL, SweepState

from .findings import Finding, Findings, Inspector
from .reader import Reader, attempts_at
from .rules import YOUNG_FOR, Times, Verdict, pause_after, window_of, young_for

BY_INBOX_FOR: t.Final = 3600.0
"""Seconds for which each inbox is asked for by itself, after a list was too much."""

_PACE: t.Final = 60.0
"""Seconds between two sweeps where only a command makes them."""

log = logger(__name__)


class InterruptedSweepError(ChatwootError):
    """The process stops, or another one has the claim."""


def explained(error: ChatwootError) -> str:
    """An error of a sweep with its remedy, for logs and the command."""
    if isinstance(error, APIError) and error.lacks_right:
        return (
            "This token may not list conversations, so what was not delivered is not "
            "found. Set CHATWOOT_USER_ACCESS_TOKEN to the token of a user who may."
        )

    return str(error)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CatchUp:
    """Makes the sweeps of one app. Threads share it.

    :ivar ingest: Takes in what was found; starts no worker.
    :ivar client: With the token that may list conversations and messages, if any may.
    :ivar failed_reads: How often conversations could not be read, by their ids.
    """

    config: Config
    client: ChatwootClient
    ingest: Ingest
    store: Store
    ownership: OwnershipStore
    failed_reads: dict[int, int] = field(default_factory=dict)

    @property
    def interval(self) -> float:
        """Seconds between two sweeps; 0: there are none."""
        return self.config.catch_up

    @property
    def pace(self) -> float:
        """Seconds between two sweeps, also where only a command makes them."""
        return self.interval or _PACE

    def sweep(
        self,
        *,
        started_at: float,
        now: bool = False,
        stopping: t.Callable[[], bool] = lambda: False,
        wait: t.Callable[[float], object] = time.sleep,
    ) -> int | None:
        """Make a sweep if one is due; ``None`` if none is. Blocks.

        :param started_at: When this process started, Unix seconds.
        :param now: Make it although it is not due.
        :param stopping: Whether to stop in the middle.
        :param wait: Waits between two requests.
        :return: The number of messages that were taken in.
        :raises APIError: Chatwoot could not be read.
        :raises DatabaseError: The database failed.
        """
        self.store.sweeps.begin()
        claimed = self.store.sweeps.claim(
            interval=self.pace,
            started_at=started_at,
            hold=self.client.timeout + 5.0,
            now=now,
        )

        if claimed is None:
            return None

        token, state = claimed
        reader = self._reader(token, stopping, wait)
        times = self._times(state, at_start=self._is_first(state, started_at))
        sweep = _Sweep(self, token, state, times, reader)

        try:
            return sweep.run()
        except InterruptedSweepError:
            self.store.sweeps.release(token)
            return None
        except DatabaseError:
            raise
        except Exception as error:
            sweep.fail(error)
            raise

    def _reader(
        self,
        token: str,
        stopping: t.Callable[[], bool],
        wait: t.Callable[[float], object],
    ) -> Reader:
        """What asks Chatwoot as long as the claim is held."""

        def before(seconds: float) -> None:
            if stopping() or not self.store.sweeps.renew(token, seconds + 5.0):
                raise InterruptedSweepError("The sweep was interrupted.")

        return Reader(self.client, before=before, wait=wait)

    def _is_first(self, state: SweepState, started_at: float) -> bool:
        """Whether a process has just started, and none has swept since."""
        age = self.store.database.clock() - started_at

        return (state.swept_at or 0.0) < started_at and age <= YOUNG_FOR

    def rehearse(self) -> list[Findings]:
        """What a sweep would find now. Writes nothing. Blocks.

        :raises APIError: Chatwoot could not be read.
        """
        state = self.store.sweeps.state()

        if state is None:
            return []

        times = self._times(state, at_start=False)
        sweep = _Sweep(self, "", state, times, Reader(self.client))

        return list(sweep.findings())

    def _times(self, state: SweepState, *, at_start: bool) -> Times:
        return Times(
            now=self.store.database.clock(),
            began_at=state.began_at,
            began_with=state.began_with,
            young_for=young_for(self.pace, at_start=at_start),
            max_age=self.config.policy.max_age,
            ahead=self.store.database.ahead(),
        )


@dataclass(eq=False, repr=False)
class _Sweep:
    """A sweep under way."""

    parts: CatchUp
    token: str
    state: SweepState
    times: Times
    reader: Reader
    newest_id: int = 0
    is_older: bool = False
    advanced: bool = False
    too_old: list[tuple[Findings, Finding]] = field(default_factory=list)

    def run(self) -> int:
        """Read what changed, and take in what is not known; the number of messages."""
        taken_in = 0

        for findings in self.findings():
            if findings.foreign_id is not None:
                self._stop(findings)
                break

            taken_in += self._take_in(findings)
        else:
            self._finish()

        if taken_in:
            log.info("messages that catch-up took in: %d", taken_in)

        return taken_in

    def findings(self) -> t.Iterator[Findings]:
        """Each conversation that changed, in the order in which they changed.

        Those that could not be read before are last.
        """
        window = window_of(self.state, self.times)
        inspector = Inspector(
            reader=self.reader,
            store=self.parts.store,
            ownership=self.parts.ownership,
            account_id=self.parts.client.account_id,
            state=self.state,
            times=self.times,
            since=self.times.now - max(self.times.ahead, 0.0) - window,
        )

        for listed in self._changed(window):
            findings = self._look(inspector, listed)

            if findings is None:
                continue

            self.newest_id = max(self.newest_id, findings.newest_id)
            self.is_older |= findings.is_older and not self.state.settled
            yield findings

    def _look(
        self, inspector: Inspector, listed: ListedConversation
    ) -> Findings | None:
        """Look at a conversation; ``None`` if it cannot be read for good.

        :raises APIError: It could not be read this time.
        """
        id, failed_reads = listed.conversation.id, self.parts.failed_reads

        try:
            findings = inspector.look(listed)
        except APIError as error:
            failed_reads[id] = failed_reads.get(id, 0) + 1

            if failed_reads[id] < attempts_at(error):
                raise

            with about(id):
                log.warning("catch-up leaves it unread: %s", error)

            findings = None

        failed_reads.pop(id, None)

        return findings

    # -- the list ----------------------------------------------------------------

    def _changed(self, window: float) -> list[ListedConversation]:
        inboxes = self.inboxes
        changed = [
            each
            for each in self._list(window)
            if each.conversation.inbox_id in inboxes and self._differs(each)
        ]

        return sorted(
            changed,
            key=lambda each: (
                self.parts.failed_reads.get(each.conversation.id, 0),
                each.conversation.updated_at or 0.0,
            ),
        )

    @cached_property
    def inboxes(self) -> list[int]:
        """The Chatwoot inboxes whose conversations are read."""
        wanted = self.parts.config.inboxes

        return [
            inbox_id
            for inbox_id in self.parts.store.sweeps.inboxes()
            if not wanted or inbox_id in wanted
        ]

    def _differs(self, listed: ListedConversation) -> bool:
        """Whether a conversation is another than the one that was read last."""
        conversation = listed.conversation
        self.newest_id = max(self.newest_id, conversation.newest_message_id)
        read = self.parts.store.sweeps.reading(conversation.id)

        return not read.updated_at or read.updated_at != conversation.updated_at

    def _list(self, window: float) -> list[ListedConversation]:
        if self.state.by_inbox_until <= self.times.now:
            try:
                only = self.inboxes[0] if len(self.inboxes) == 1 else None
                return self.reader.conversations(window, only)
            except TooLargeError:
                if self.token:
                    until = self.times.now + BY_INBOX_FOR
                    self.parts.store.sweeps.ask_by_inbox(until)

        found, complete = self.reader.conversations_by_inbox(window, self.inboxes)

        if not complete:
            log.warning(
                "catch-up could not read all conversations of the last %.0f s: their "
                "list is too long even for one inbox",
                window,
            )

        return found

    # -- taking in ---------------------------------------------------------------

    def _take_in(self, findings: Findings) -> int:
        """Take in a conversation and its messages; the number of new messages."""
        read = findings.read
        count = 0

        if not self._take_state(findings.listed):
            read = read._replace(updated_at=0.0)

        for finding in findings.found:
            if finding.verdict is Verdict.TAKEN_IN:
                receipt = self.parts.ingest.store(
                    finding.event, finding.body, found_after=finding.age
                )
                count += receipt.outcome is DeliveryOutcome.ACCEPTED
            elif finding.verdict is Verdict.TOO_OLD:
                self.too_old.append((findings, finding))

        if all(conversation is not findings for conversation, _ in self.too_old):
            self.parts.store.sweeps.note(findings.listed.conversation.id, read)

        self.advanced = True

        return count

    def _take_state(self, listed: ListedConversation) -> bool:
        """Take in status and attributes; ``False`` if they are outdated by now."""
        ownership, id = self.parts.ownership, listed.conversation.id
        body = delivery_of_conversation(
            listed,
            account_id=self.parts.client.account_id,
            known_status=ownership.load(id).status,
        )

        if ownership.touched_since(id, self.times.now):
            return False

        self.parts.ingest.store(events.parse(body), body)

        return True

    # -- the end -----------------------------------------------------------------

    def _finish(self) -> None:
        sweeps = self.parts.store.sweeps
        left = self._open_conversations()

        if left:
            log.warning(
                "messages that catch-up leaves unanswered, as they are older than "
                "CHATWOOT_MAX_AGE: %d",
                left,
            )

        sweeps.swept(
            self.token,
            began=self.times.now,
            interval=self.parts.pace,
            newest_id=self.newest_id,
            floor=self.times.now - self.times.max_age if self.is_older else 0.0,
        )

    def _open_conversations(self) -> int:
        """Let operators have what waits for an answer that is too late.

        One job for each pending conversation of ours; the number of other messages.
        """
        opened: set[int] = set()
        left = 0

        for findings, finding in reversed(self.too_old):
            id = findings.listed.conversation.id

            # An older copy of the database does not know what it answered then.
            event = self._question_in(finding)

            if findings.waits and not self.is_older and event is not None:
                if id not in opened:
                    self.parts.ingest.open_unanswered(event, finding.body, finding.age)
                    opened.add(id)
            else:
                left += 1

            self.parts.store.sweeps.note(id, findings.read)

        return left

    def _question_in(self, finding: Finding) -> MessageEvent | None:
        """The message, if it would be answered if it were younger."""
        event = finding.event

        if not isinstance(event, MessageEvent):
            return None

        reason = event.reason_to_ignore(self.parts.client.account_id)

        return event if reason is None else None

    def _stop(self, findings: Findings) -> None:
        id, post = findings.listed.conversation.id, t.cast(int, findings.foreign_id)

        if self.parts.store.sweeps.stop(post):
            log.error(
                "another instance answers in this account: message %d of conversation "
                "%d is not this database's. Catch-up has stopped; end the other one, "
                "and run flask chatwoot catch-up --resume.",
                post,
                id,
            )

    def fail(self, error: Exception) -> None:
        """Plan the next sweep after this one failed."""
        # Where conversations were read before it, Chatwoot works, and others wait.
        before = 0 if self.advanced else self.state.failures
        doubled = 0 if self.advanced else before + 1
        pause = pause_after(doubled, self.parts.pace, LONGEST_INTERVAL)
        now = self.parts.store.database.clock()
        text, by_inbox = type(error).__name__, self.state.by_inbox_until

        if isinstance(error, APIError):
            text, pause = str(error), max(pause, error.retry_after or 0.0)

            if error.kind != "permanent":
                by_inbox = now + BY_INBOX_FOR

        self.parts.store.sweeps.failed(
            self.token,
            text,
            failures=before + 1,
            due=now + pause,
            by_inbox=by_inbox,
        )
