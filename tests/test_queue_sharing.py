"""Threads and processes that share one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.queue import follow_ups, is_intact, messages_by_job, open_store
from support.waiting import Clock

PROGRAMS = Path(__file__).parent / "support/programs/queue_programs.py"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def program(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS), name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> t.Any:
    """What a process printed, as JSON."""
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(printed)


def test_threads_share_one_store(path: str) -> None:
    store = open_store(path)
    claimed: list[tuple[int, int]] = []
    deadline = time.monotonic() + 30

    def produce(number: int) -> int:
        keys = range(number * 1000, number * 1000 + 100)
        return sum(store.put(key, conversation_id=key // 10) for key in keys)

    def consume(_: int) -> None:
        while len(claimed) < 400 and time.monotonic() < deadline:
            if job := store.queue.claim():
                claimed.append((job.conversation_id, job.message_id))
                store.settle(job)

    with ThreadPoolExecutor(8) as pool:
        consumers = pool.map(consume, range(4))
        stored = sum(pool.map(produce, range(1, 5)))
        list(consumers)

    store.close()
    assert stored == 400
    assert len(claimed) == len(set(claimed)) == 400

    for line in {conversation for conversation, _ in claimed}:
        order = [message for conversation, message in claimed if conversation == line]
        assert order == sorted(order)


def test_processes_share_one_file(path: str) -> None:
    both = [output(process) for process in [program("share", path) for _ in range(2)]]

    assert sum(each["stored"] for each in both) == 400
    claimed = [message for each in both for message in each["claimed"]]
    assert len(claimed) == len(set(claimed)) == 400


@pytest.mark.slow
@needs_fork
def test_ten_processes_may_open_a_new_file_at_the_same_instant(path: str) -> None:
    assert output(program("open_at_once", path)) == 0


@needs_fork
def test_a_forked_process_opens_the_file_for_itself(path: str) -> None:
    assert output(program("fork", path)) == [0, 6]
    assert is_intact(path)


@needs_fork
def test_a_fork_while_other_threads_work_leaves_no_lock_in_the_child(path: str) -> None:
    assert output(program("fork_amid_work", path)) == 0
    assert is_intact(path)


def test_processes_that_write_into_one_conversation_lose_nothing(path: str) -> None:
    store = open_store(path)
    talking = [program("talk", path, name) for name in ("1", "2")]
    answered: list[int] = []
    turns = 0

    for process in talking:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    def answer() -> bool:
        if (job := store.queue.claim()) is None:
            return False

        answered.append(job.message_id)
        answered.extend(each.message_id for each in job.follow_ups)
        assert job.payload == f"body of {job.message_id}".encode()
        kept = [each for each in job.follow_ups if each.payload is not None]
        assert len(kept) == bool(job.follow_ups)
        bodies = [f"body of {each.message_id}".encode() for each in kept]
        assert [each.payload for each in kept] == bodies
        assert all(each.said == f"text of {each.message_id}" for each in job.follow_ups)
        store.settle(job)

        return True

    while any(process.poll() is None for process in talking):
        turns += answer()

    while answer():
        turns += 1

    stored = [message for process in talking for message in output(process)]
    store.close()
    assert sorted(stored) == [*range(1, 151), *range(1001, 1151), *range(2001, 2151)]
    assert sorted(answered) == sorted(stored)
    assert turns < len(stored)
    assert is_intact(path)


@pytest.mark.sqlite
@needs_posix
@pytest.mark.parametrize(
    "statement",
    ["BEGIN", "SELECT max(id)", "UPDATE follow_up", "INSERT INTO follow_up", "COMMIT"],
)
def test_a_process_that_dies_while_a_message_joins_leaves_no_half_of_it(
    path: str, clock: Clock, statement: str
) -> None:
    store = open_store(path, clock)
    store.say(1, payload=b"one")
    dying = program("join_and_die", path, statement)
    _, errors = dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL, errors

    clock.now = time.time() + 1
    assert store.say(3, payload=b"3", said=lambda: "again")
    assert follow_ups(store.claim()) == [(2, "second", None), (3, "again", b"3")]
    assert is_intact(path)
    store.close()


def test_each_acknowledged_message_of_a_killed_process_is_kept(path: str) -> None:
    store = open_store(path)
    acknowledged: list[int] = []

    for start, words in ((0, 1), (10_000, 20), (20_000, 45), (30_000, 70)):
        with program("talk_until_killed", path, str(start)) as talking:
            assert talking.stdout is not None

            for _ in range(words):
                acknowledged.append(int(talking.stdout.readline()))

            talking.kill()
            acknowledged += [int(line) for line in talking.stdout]

        assert talking.returncode == -signal.SIGKILL

        if start == 10_000:
            store.finish()

    kept = [id for messages in messages_by_job(path).values() for id in messages]
    store.close()
    assert len(kept) == len(set(kept))
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 4  # killed before it could say so
    assert is_intact(path)


@pytest.mark.sqlite
@pytest.mark.slow
@needs_posix
def test_a_full_disk_is_an_error_and_what_was_stored_is_there(path: str) -> None:
    stored, errors, again, listed = output(program("fill_up", path))

    assert stored
    assert errors
    assert {"chatwoot.sqlite3" in error for error in errors} == {True}
    assert again
    assert listed == [2000, *reversed(stored)]
    assert is_intact(path)
