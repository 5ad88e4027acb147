"""Programs that share a file with a test: ``python queue_programs.py NAME PATH …``."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import typing as t
import warnings
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.queue import open_store

from flask_chatwoot.errors import DatabaseError


def share(path: str) -> t.Any:
    """Store 400 deliveries, and work until all are done."""
    store = open_store(path)
    stored: list[bool] = []
    claimed: list[int] = []
    deadline = time.monotonic() + 30

    def produce(number: int) -> None:
        for key in range(number * 1000, number * 1000 + 100):
            stored.append(store.put(key, conversation_id=key // 10))

    def consume() -> None:
        while time.monotonic() < deadline:
            if job := store.queue.claim():
                claimed.append(job.message_id)
                store.queue.settle(job, "replied", None)
            elif store.inspection.health().states == {"done": 400}:
                break

    produces = [partial(produce, number) for number in (1, 2, 3, 4)]
    threads = _run(*produces, consume, consume)

    for thread in threads:
        thread.join()

    return {"stored": sum(stored), "claimed": claimed}


def open_at_once(path: str) -> int:
    """How many of ten processes fail, twelve times, to open a new file."""
    failed = 0

    for attempt in range(12):
        store = open_store(f"{path}-{attempt}", sync="full")
        wait, go = os.pipe()
        children = []

        for number in range(10):
            children.append(os.fork())

            if not children[-1]:
                os.close(go)
                os.read(wait, 1)
                _exit_after(store.put, number)

        os.close(go)
        os.close(wait)
        failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
        failed += len(store.inspection.jobs()) != 10
        store.database.close()

    return failed


def _exit_after(work: t.Callable[..., object], *arguments: t.Any) -> None:
    try:
        work(*arguments)
    except BaseException as error:  # noqa: BLE001 - a child must not go on
        os.write(2, f"{error}\n".encode())
        os._exit(1)

    os._exit(0)


def fork(path: str) -> list[int]:
    """Write before and after forks, in parent, child and grandchild."""
    store = open_store(path, sync="full")
    store.put(1)
    child = os.fork()

    if not child:
        store.put(2)
        grandchild = os.fork()

        if not grandchild:
            store.put(3)
            store.database.close()
            os._exit(0)

        code = os.waitpid(grandchild, 0)[1]
        store.put(4)
        os._exit(code)

    store.put(5)
    code = os.waitpid(child, 0)[1]
    store.put(6)

    return [code, len(store.inspection.jobs())]


def _ended(pid: int) -> bool:
    """Whether a child ends well within two seconds."""
    deadline = time.monotonic() + 2

    while time.monotonic() < deadline:
        done, code = os.waitpid(pid, os.WNOHANG)

        if done:
            return code == 0

        time.sleep(0.005)

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    return False


def _run(*targets: t.Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]

    for thread in threads:
        thread.start()

    return threads


def _repeat(stop: threading.Event, work: t.Callable[[], None]) -> None:
    while not stop.is_set():
        work()


def fork_amid_work(path: str) -> int:
    """How many of twenty children that are forked while threads write are stuck."""
    warnings.simplefilter("ignore")  # threads and fork do not mix, which is the point
    store = open_store(path)
    stop = threading.Event()
    numbers = iter(range(10**9))

    def write() -> None:
        store.put(next(numbers), payload=bytes(20_000))

    def work_in_child(number: int) -> None:
        store.put(10**9 + number, payload=bytes(20_000))
        store.database.checkpoint()

    write()
    threads = _run(
        *(partial(_repeat, stop, w) for w in (write, write, store.database.checkpoint))
    )
    stuck = 0

    for number in range(20):
        if not (pid := os.fork()):
            _exit_after(work_in_child, number)

        stuck += not _ended(pid)

        if stuck:
            break

    stop.set()

    for thread in threads:
        thread.join()

    return stuck


def talk(path: str, name: str) -> list[int]:
    """Write 300 messages into one conversation, of which half come from others too."""
    store = open_store(path)
    stored: list[int] = []
    sys.stdin.readline()

    for number in range(1, 151):
        for message in (number + 1000 * int(name), number):
            if store.put(
                message,
                kind="message",
                payload=f"body of {message}".encode(),
                said=lambda: f"text of {message}",  # noqa: B023 - called at once
            ):
                stored.append(message)

    return stored


def talk_until_killed(path: str, start: str) -> None:
    """Write messages, and print the number of each that is stored."""
    store = open_store(path)
    number = int(start)

    while True:
        number += 1
        assert store.say(number)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def join_and_die(path: str, statement: str) -> None:
    """Die right before a statement of the second message that joins a turn."""
    store = open_store(path)
    store.say(2, payload=b"two", said=lambda: "second")

    def die(executed: str) -> None:
        if executed.strip().startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    with store.database._connection() as db:  # type: ignore[attr-defined]
        db.set_trace_callback(die)

    store.say(3, payload=b"three", said=lambda: "third")


def hold(path: str) -> None:
    """Claim a job and keep it; a forked child, if any, lives as long as the input."""
    store = open_store(path)
    store.inspection.report(store.database.processes.enter() or "", 1)
    job = store.claim()

    if os.fork():
        sys.stdout.write(f"{job.id}\n")
        sys.stdout.flush()

    sys.stdin.read()
    os._exit(0)


def fill_up(path: str) -> list[t.Any]:
    """Store deliveries while the file may not grow beyond 200 KB, and one after it."""
    import resource

    store = open_store(path, sync="full")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    stored: list[int] = []
    errors: list[str] = []

    for number in range(1, 1001):
        try:
            store.put(number, payload=bytes(1000))
            stored.append(number)
        except DatabaseError as error:
            errors.append(str(error))

    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = store.put(2000, payload=bytes(1000))
    store.database.close()

    return [stored, errors, again, [job.message_id for job in store.inspection.jobs()]]


PROGRAMS: t.Final[t.Mapping[str, t.Callable[..., t.Any]]] = {
    program.__name__: program
    for program in (
        *(share, open_at_once, fork, fork_amid_work),
        *(talk, talk_until_killed, join_and_die, hold, fill_up),
    )
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
