"""The lock file at which writers of several processes queue."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from support.queue import Store
from support.waiting import wait_until

from flask_chatwoot.queue import write_order
from flask_chatwoot.queue.write_order import WriteOrder

pytestmark = pytest.mark.sqlite


@pytest.fixture(params=["woken", "polling"])
def path(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A lock file; waiting threads are woken, or poll where nothing can wake them."""
    if request.param == "polling":
        monkeypatch.setattr(write_order, "_wakes", lambda: False)

    return str(tmp_path / "chatwoot.sqlite3-lock")


@contextlib.contextmanager
def held(path: str) -> t.Iterator[subprocess.Popen[bytes]]:
    """Another process that has its turn and does not end it."""
    program = (
        "import sys; from flask_chatwoot.queue.write_order import WriteOrder\n"
        "with WriteOrder(sys.argv[1]).turn(5): print(1, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, path]

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def is_free(path: str) -> bool:
    with WriteOrder(path).turn(0.0) as first:
        return first


def test_a_free_turn_is_taken_at_once_and_given_back(path: str) -> None:
    order = WriteOrder(path)

    for _ in range(2):
        with order.turn(0.0) as first:
            assert first
            assert not is_free(path)


def test_turns_share_a_file_that_is_open_until_the_end(path: str) -> None:
    order = WriteOrder(path)

    with order.turn(0.0):
        assert not is_free(path)

    kept = order._free
    assert kept is not None

    with order.turn(0.0), order.turn(0.0) as second:
        assert not second

    order.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_has_a_file_of_its_own(path: str) -> None:
    order = WriteOrder(path)

    with order.turn(0.0):
        pass

    child = os.fork()

    if not child:
        order.reset_in_child()

        with order.turn(5.0):
            threading.Event().wait()

    try:
        assert wait_until(lambda: not is_free(path))

        with order.turn(0.05) as first:
            assert not first
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_turn_begins_when_the_one_before_it_ends_or_its_process_dies(
    path: str,
) -> None:
    turns: list[bool] = []

    def wait() -> None:
        with WriteOrder(path).turn(10.0) as first:
            turns.append(first)

    with held(path) as process:
        thread = threading.Thread(target=wait)
        thread.start()
        process.kill()
        thread.join(10)

    assert turns == [True]


def test_who_waited_for_long_goes_on_and_leaves_nothing_behind(path: str) -> None:
    order = WriteOrder(path)

    with held(path):
        started = time.monotonic()

        with order.turn(0.1) as first:
            assert not first

        assert 0.1 <= time.monotonic() - started < 2.0

    assert wait_until(lambda: is_free(path))
    assert wait_until(lambda: not order._abandoned)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_keeps_no_turn_that_its_parent_waits_for(path: str) -> None:
    order = WriteOrder(path)

    with held(path):
        with order.turn(0.0):
            pass

        child = os.fork()

        if not child:
            order.reset_in_child()
            threading.Event().wait()

    try:
        assert wait_until(lambda: is_free(path))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.mark.slow
def test_a_delivery_is_stored_while_a_frozen_process_has_the_turn(store: Store) -> None:
    store.put(9001)

    with held(f"{store.path}-lock"):
        started = time.monotonic()
        assert store.put(9002)
        assert time.monotonic() - started < 4.0
