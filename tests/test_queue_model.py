"""The queue against a model of it."""

from __future__ import annotations

import os
import tempfile
import typing as t

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.queue import LEASE, messages_by_job, open_store, public, read
from support.waiting import Clock

from flask_chatwoot.queue.claimed import Job

held = precondition(lambda machine: machine.held)


class Line(RuleBasedStateMachine):
    """Any sequence of calls, beside lists that say what must be.

    :ivar messages: Of each job, its own first, with the times at which they came. A
        job that another superseded still names those it had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "chatwoot.sqlite3")
        self.clock = Clock()
        self.store = open_store(self.path, self.clock)
        self.line_of: dict[int, int] = {}
        self.messages: dict[int, list[tuple[float, int]]] = {}
        self.line_of_message: dict[int, int] = {}
        self.due: dict[int, float] = {}
        self.waiting: set[int] = set()
        self.held: dict[int, Job] = {}
        self.ended: dict[int, str] = {}
        self.alone: set[int] = set()
        self.kept: set[int] = set()
        self.failed: set[int] = set()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self.store.put(1, conversation_id=1)
        self.alone.add(self.add(1, 1))

    def unfinished(self, conversation: int) -> list[int]:
        return sorted(
            job
            for job in {*self.due, *self.waiting}
            if self.line_of[job] == conversation
        )

    def open(self, conversation: int) -> list[int]:
        """The jobs that a message may join."""
        closed = {*self.held, *self.alone, *self.kept, *self.failed}
        return [job for job in self.unfinished(conversation) if job not in closed]

    def add(self, message: int, conversation: int) -> int:
        """Add a new job."""
        job = len(self.line_of) + 1
        self.line_of[job] = conversation
        self.line_of_message[message] = conversation
        self.messages[job] = [(self.clock.now, message)]
        self.stand_in_line(job)

        return job

    def stand_in_line(self, job: int) -> None:
        if self.unfinished(self.line_of[job]):
            self.waiting.add(job)
        else:
            self.due[job] = self.clock.now

    @rule(conversation=st.integers(1, 3))
    def deliver(self, conversation: int) -> None:
        message = len(self.line_of_message) + 1
        assert self.store.put(message, conversation_id=conversation)
        self.alone.add(self.add(message, conversation))

    @rule(conversation=st.integers(1, 3))
    def say(self, conversation: int) -> None:
        message = len(self.line_of_message) + 1
        assert self.store.say(message, conversation_id=conversation)
        self.said(message, conversation)

    def said(self, message: int, conversation: int) -> None:
        if joined := self.open(conversation):
            self.line_of_message[message] = conversation
            self.messages[joined[-1]].append((self.clock.now, message))
        else:
            self.add(message, conversation)

    @rule(message=st.integers(1, 40))
    def deliver_again(self, message: int) -> None:
        if conversation := self.line_of_message.get(message):
            assert not self.store.say(message, conversation_id=conversation)

    @rule(seconds=st.sampled_from([0.5, 5.0, LEASE]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def claim(self) -> None:
        due = {job: at for job, at in self.due.items() if at <= self.clock.now}
        job = self.store.queue.claim()

        if not due:
            assert job is None
            return

        assert job is not None
        assert due.get(job.id) == min(due.values())
        (_, first), *more = self.messages[job.id]
        assert job.message_id == first
        in_order = sorted(more, key=lambda message: message[0])
        assert [each.message_id for each in job.follow_ups] == [m for _, m in in_order]
        assert (job.failure is None) == (job.id not in self.failed)
        self.held[job.id] = job
        self.due[job.id] = self.clock.now + LEASE

    @held
    @rule(data=st.data(), outcome=st.sampled_from(["replied", "dead"]))
    def settle(self, data: st.DataObject, outcome: str) -> None:
        job = self.let_go(data)
        self.store.settle(job, outcome, None)
        self.end(job, outcome)

    def let_go(self, data: st.DataObject) -> Job:
        return self.held.pop(data.draw(st.sampled_from(sorted(self.held))))

    def end(self, job: Job, outcome: str) -> None:
        del self.due[job.id]
        self.ended[job.id] = outcome

        if line := self.unfinished(job.conversation_id):
            self.waiting.remove(line[0])
            self.due[line[0]] = self.due_at(line[0])

    def due_at(self, job: int) -> float:
        """What the store says, which lies between the job's messages."""
        ((at,),) = read(self.path, f"SELECT due_at FROM job WHERE id = {job}")  # noqa: S608
        times = [received for received, _ in self.messages[job]]
        assert min(times) <= at <= max(times)

        return t.cast(float, at)

    @held
    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        job = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        later = [id for id in self.unfinished(job.conversation_id) if id > job.id]
        heirs = [id for id in later if id not in {*self.alone, *self.kept}]
        said = [(message, "") for _, message in self.messages[job.id]]
        assert self.store.queue.supersede(job, said, "superseded") == bool(heirs)

        if heirs:
            since = min(received for received, _ in self.messages[job.id])
            taken = [(since, message) for message, _ in said]
            self.messages[heirs[0]] += taken
            del self.held[job.id]
            self.end(job, "superseded")

    @held
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 3.0]))
    def postpone(self, data: st.DataObject, seconds: float) -> None:
        job = self.let_go(data)
        self.store.queue.postpone(job, seconds)
        self.due[job.id] = self.clock.now + seconds

    @held
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        job = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        self.store.outbox.keep(job, public("On its way."))
        self.kept.add(job.id)

    @held
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        job = self.let_go(data)
        self.store.queue.give_up(job, "refused", public("Sorry."), handoff=None)
        self.failed.add(job.id)
        self.due[job.id] = self.clock.now

    @rule()
    def revive(self) -> None:
        dead = sorted(job for job, how in self.ended.items() if how == "dead")
        assert self.store.inspection.retry(dead) == dead

        for job in dead:
            del self.ended[job]
            self.failed.discard(job)
            self.stand_in_line(job)

    @invariant()
    def every_conversation_has_exactly_one_job_that_is_or_will_be_due(self) -> None:
        due = read(self.path, "SELECT id FROM job WHERE due_at IS NOT NULL")
        lines = [self.line_of[job] for (job,) in due]

        assert len(lines) == len(set(lines))
        assert set(lines) == {self.line_of[job] for job in {*self.due, *self.waiting}}

    @invariant()
    def every_job_is_in_its_state(self) -> None:
        states = {job.id: job.state for job in self.store.inspection.jobs()}
        assert states == {job: self.state_of(job) for job in self.line_of}

    def state_of(self, job: int) -> str:
        if outcome := self.ended.get(job):
            return "dead" if outcome == "dead" else "done"

        if job in self.waiting:
            return "blocked"

        later = self.due[job] > self.clock.now

        if later and job in self.held:
            return "leased"

        if job in self.failed:
            return "giving_up"

        return "retrying" if later else "ready"

    @invariant()
    def every_message_is_answered_in_exactly_one_turn(self) -> None:
        answered = [
            message
            for job, messages in messages_by_job(self.path).items()
            if self.ended.get(job) != "superseded"
            for message in messages
        ]

        assert sorted(answered) == sorted(self.line_of_message)


TestLine = pytest.mark.slow(Line.TestCase)
TestLine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
