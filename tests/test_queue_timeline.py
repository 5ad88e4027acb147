"""The time of a database, when the clocks of machine and processes are set."""

from __future__ import annotations

import sys
import time
import typing as t
from pathlib import Path

import pytest
from support.queue import Store, open_store
from support.waiting import Clock

from flask_chatwoot.queue import timeline as timeline_module
from flask_chatwoot.queue.schema import LONGEST_PAUSE, JobState
from flask_chatwoot.queue.sweeps import SweepState
from flask_chatwoot.queue.timeline import Timeline

pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX locks"),
]

HOUR: t.Final = 3600.0


class Machine:
    """The clock that is set, the seconds since the start, and the run's name."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._wall, self._ticks = 1.75e9, 1000.0
        self._boot = folder / "boot_id"
        self._boot.write_text("one\n")
        patch.setattr(timeline_module, "_BOOT", self._boot)
        patch.setattr(timeline_module, "_ticks", lambda: self._ticks)
        patch.setattr(time, "time", lambda: self._wall)

    @property
    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        self._wall += seconds
        self._ticks += seconds

    def set_clock(self, by: float) -> None:
        self._wall += by

    def restart(self, *, clock: float = 0.0) -> None:
        self._boot.write_text("two\n")
        self._ticks = 0.0
        self.set_clock(clock)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


class Process:
    """A process that has the file open, and what it learnt about the time before."""

    def __init__(self, path: Path) -> None:
        self.learnt: list[float | None] = []
        self.time = Timeline(str(path))
        self.time.join(self.learnt.append)


@pytest.fixture
def start(tmp_path: Path) -> t.Callable[[], Process]:
    return lambda: Process(tmp_path / "chatwoot.sqlite3-clock")


Start = t.Callable[[], Process]


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_clock_that_is_set_moves_no_process_that_runs_or_joins(
    machine: Machine, start: Start, by: float
) -> None:
    first = start()
    begun = machine.wall
    machine.set_clock(by)
    machine.advance(5)
    second = start()

    assert first.time() == second.time() == begun + 5
    assert second.learnt == []


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_the_first_process_of_a_file_begins_by_the_clock(
    machine: Machine, start: Start, by: float
) -> None:
    start().time.leave()
    machine.set_clock(by)
    machine.advance(5)
    second = start()

    assert second.time() == machine.wall
    assert second.learnt == [pytest.approx(by)]


def test_nothing_is_adapted_if_the_clock_was_not_set(
    machine: Machine, start: Start
) -> None:
    start().time.leave()
    machine.advance(HOUR)
    machine.set_clock(0.5)

    assert start().learnt == []


def test_the_times_of_two_runs_of_a_machine_are_not_compared(
    machine: Machine, start: Start
) -> None:
    start().time.leave()
    machine.restart()
    second = start()

    assert (second.time(), second.learnt) == (machine.wall, [None])


def test_a_process_that_closes_the_file_keeps_its_time(
    machine: Machine, start: Start
) -> None:
    process = start()
    process.time.leave()
    before = process.time()
    machine.set_clock(-HOUR)
    process.time.join(process.learnt.append)

    assert (process.time(), process.learnt) == (before, [])


@pytest.mark.parametrize("content", ["", "one", "one \xff", "one 17 years"])
def test_a_broken_file_is_written_anew(
    machine: Machine, start: Start, tmp_path: Path, content: str
) -> None:
    (tmp_path / "chatwoot.sqlite3-clock").write_text(content, encoding="utf-8")
    first, second = start(), start()

    assert first.time() == second.time() == machine.wall
    assert first.learnt == []


# -- jobs ------------------------------------------------------------------------


def opened(path: str) -> Store:
    return open_store(path)


def state(store: Store) -> str:
    return store.only().state


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_lease_of_a_process_that_lives_is_kept_whatever_the_clock_says(
    machine: Machine, path: str, by: float
) -> None:
    first = opened(path)
    first.put(9001)
    job = first.claim()
    machine.set_clock(by)
    second = opened(path)

    assert second.queue.claim() is None
    assert state(second) == JobState.LEASED

    machine.advance(29)
    first.queue.renew(job)
    machine.advance(29)
    assert second.queue.claim() is None
    first.close()
    second.close()


Change = t.Callable[[Machine], None]

CHANGES: t.Final[dict[str, Change]] = {
    "set back": lambda machine: machine.set_clock(-HOUR),
    "set forward": lambda machine: machine.set_clock(HOUR),
    "restarted, with the clock set back": lambda machine: machine.restart(clock=-HOUR),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_pause_keeps_its_length_over_a_start_by_another_clock(
    machine: Machine, path: str, change: Change
) -> None:
    store = opened(path)
    store.put(9001)
    store.queue.postpone(store.claim(), 60)
    store.close()
    change(machine)
    store = opened(path)

    assert store.queue.claim() is None
    machine.advance(61)
    assert store.claim().message_id == 9001
    store.close()


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_lease_of_the_dead_ends_at_a_start_by_another_clock(
    machine: Machine, path: str, change: Change
) -> None:
    store = opened(path)
    store.put(9001)
    store.claim()
    store.close()
    change(machine)
    store = opened(path)

    assert store.claim().message_id == 9001
    store.close()


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_waits_is_as_old_as_before_a_start_by_another_clock(
    machine: Machine, path: str, change: Change
) -> None:
    store = opened(path)
    store.say(9001)
    store.say(9002)
    machine.advance(10)
    store.say(9003)
    store.close()
    change(machine)
    store = opened(path)
    job = store.claim()
    received = [job.received_at, *(each.received_at for each in job.follow_ups)]
    ages = [store.database.clock() - at for at in received]

    assert ages[0] == ages[1] == pytest.approx(ages[2] + 10)
    assert 0 <= ages[0] <= 10
    store.close()


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_sweep_is_due_when_it_was_over_a_start_by_another_clock(
    machine: Machine, path: str, change: Change
) -> None:
    store = opened(path)
    store.put(9001)
    store.sweeps.delivered(9001, machine.wall, 3)
    token, before = t.cast(Claimed, claimed(store))
    store.sweeps.swept(token, began=before.began_at, interval=60, newest_id=0, floor=0)
    store.close()
    change(machine)
    store = opened(path)

    assert claimed(store) is None
    machine.advance(61)
    _, after = t.cast(Claimed, claimed(store))
    passed = store.database.clock() - after.began_at
    assert 61 <= passed < 120
    store.close()


Claimed = tuple[str, SweepState]


def claimed(store: Store) -> Claimed | None:
    """Claim the sweep that is due for a process that has run for long."""
    return store.sweeps.claim(interval=60, started_at=0.0, hold=15.0)


@pytest.mark.parametrize("leased", [False, True])
def test_what_is_due_later_than_any_pause_is_due(
    store: Store, clock: Clock, leased: bool
) -> None:
    store.put(9001)

    if leased:
        store.claim()

    clock.advance(-2 * LONGEST_PAUSE)

    assert state(store) == JobState.READY
    assert store.claim().message_id == 9001
    assert state(store) == JobState.LEASED


def test_what_came_by_a_clock_that_was_ahead_waits_no_longer_than_its_window(
    path: str, clock: Clock
) -> None:
    store = open_store(path, clock, window=5.0, longest=30.0)
    store.put(9001)
    store.say(9002)
    job = store.claim()
    clock.advance(-HOUR)
    store.settle(job)
    clock.advance(5)

    assert store.claim().message_id == 9002
    store.close()
