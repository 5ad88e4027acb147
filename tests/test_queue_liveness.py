"""Which processes hold their jobs, and which have died."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from support.queue import Store, open_store
from support.waiting import wait_until

from flask_chatwoot.queue import liveness

PROGRAMS = Path(__file__).parent / "support/programs/queue_programs.py"

pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX"),
]


@pytest.fixture
def store(path: str) -> t.Iterator[Store]:
    store = open_store(path)
    store.put(9001)
    yield store
    store.close()


@pytest.fixture
def holder(store: Store) -> t.Iterator[subprocess.Popen[str]]:
    """A process that has claimed the job, and forked a child that outlives it."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAMS), "hold", store.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()  # the child ends with its input


def files(store: Store) -> list[Path]:
    return [*Path(f"{store.path}-processes").glob("*")]


def seen(store: Store) -> tuple[str, int]:
    """State and attempts of the job."""
    (job,) = store.inspection.jobs()

    return job.state, job.attempts


def test_the_jobs_of_a_killed_process_are_due_at_once_and_its_attempt_counts(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    assert (store.queue.end_leases(), seen(store)) == (0, ("leased", 1))
    assert (len(files(store)), store.inspection.health().workers) == (1, 1)

    holder.kill()
    holder.wait(10)

    assert wait_until(store.queue.end_leases) == 1
    assert seen(store) == ("ready", 1)
    assert (files(store), store.inspection.health().workers) == ([], 0)
    assert store.queue.end_leases() == 0


def test_a_frozen_process_keeps_its_jobs_until_their_leases_end(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)

    assert (store.queue.end_leases(), seen(store)) == (0, ("leased", 1))
    store.database.clock = lambda: time.time() + store.queue.lease
    assert seen(store) == ("ready", 1)


def test_stores_of_one_process_do_not_take_its_jobs(store: Store) -> None:
    store.claim()
    other = open_store(store.path)

    for each in (other, store):
        assert (each.queue.end_leases(), seen(each)) == (0, ("leased", 1))

    other.close()
    assert len(files(store)) == 1
    store.close()
    assert files(store) == []


def test_where_no_file_can_be_locked_the_leases_decide(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(fd: int) -> t.NoReturn:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(liveness, "_lock", refuse)
    store.put(9002, conversation_id=43)
    assert {store.claim().message_id, store.claim().message_id} == {9001, 9002}

    assert store.queue.end_leases() == 0
    (line,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "cannot be locked (No locks available)" in line.getMessage()
    assert files(store) == []


@pytest.mark.parametrize(("age", "left"), [(3600.0, 1), (25 * 3600.0, 0)])
def test_files_of_another_machine_or_boot_are_left_alone_for_a_day(
    store: Store, age: float, left: int
) -> None:
    store.claim()
    other = Path(f"{store.path}-processes") / "another-machine"
    other.touch()
    os.utime(other, (time.time() - age,) * 2)

    store.queue.end_leases()

    assert (seen(store), len(files(store))) == (("leased", 1), 1 + left)


def test_a_process_does_not_judge_itself_while_it_enters(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is no obstacle to its own threads."""
    make, looks = os.open, []

    def look_as_soon_as_it_is_made(path: str, flags: int, *mode: int) -> int:
        fd = make(path, flags, *mode)

        if "-processes" in str(path) and flags & os.O_EXCL:
            looks.append(list(store.database.processes.dead()))

        return fd

    monkeypatch.setattr(os, "open", look_as_soon_as_it_is_made)
    store.claim()

    assert looks == [[]]
    assert seen(store) == ("leased", 1)
    assert len(files(store)) == 1
