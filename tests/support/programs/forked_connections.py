"""Forks a process that has connections to PostgreSQL.

Arguments: what to do, and the URL. Prints JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import typing as t

from flask_chatwoot.queue.postgresql.connections import Connection, Connections
from flask_chatwoot.queue.postgresql.url import parse

connections = Connections(parse(sys.argv[2]), most=3)


def backend(connection: Connection) -> int:
    """The server's process for a connection."""
    [found] = connection.execute("SELECT pg_backend_pid()").fetchone() or [0]
    return int(found)


def borrowed() -> int:
    """The server's process for a connection of the pool."""
    with connections.borrow() as connection:
        return backend(connection)


def in_child(do: t.Callable[[], object]) -> t.Any:
    """What the forked process returns. It ends as processes do."""
    reading, writing = os.pipe()

    if os.fork() == 0:
        with os.fdopen(writing, "w") as pipe:
            json.dump(do(), pipe)

        sys.exit()

    os.close(writing)

    with os.fdopen(reading) as pipe:
        found = json.load(pipe)

    _, status = os.wait()
    assert status == 0

    return found


def leave_open() -> None:
    """End with an open pool."""
    json.dump(borrowed(), sys.stdout)


def fork() -> None:
    """The backends of the child, and those of the parent before and after it."""
    with connections.borrow() as used:
        before = [backend(used), borrowed()]
        child = in_child(lambda: [borrowed(), borrowed()])
        after = [backend(used), borrowed()]

    json.dump({"before": before, "child": child, "after": after}, sys.stdout)


def fork_in_a_block() -> None:
    """The same, where the child leaves the block of the parent."""
    with connections.borrow() as used:
        before = backend(used)
        used.execute("BEGIN")
        reading, writing = os.pipe()
        child = os.fork()

    if child == 0:
        os.write(writing, json.dumps(borrowed()).encode())
        sys.exit()

    _, status = os.wait()
    assert status == 0
    found = json.loads(os.read(reading, 100))
    json.dump({"before": before, "child": found, "after": borrowed()}, sys.stdout)


def fork_amid_work() -> None:
    """How many children of a busy process could use a connection."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            borrowed()

    threads = [threading.Thread(target=work) for _ in range(4)]

    for each in threads:
        each.start()

    found = [in_child(borrowed) for _ in range(10)]
    done.set()

    for each in threads:
        each.join()

    json.dump(len({*found}), sys.stdout)


def die() -> None:
    """End by force in a transaction, while the child lives on until its input ends."""
    with connections.borrow() as used:
        used.execute("BEGIN")
        print(backend(used), flush=True)  # noqa: T201 - the output

        if os.fork() == 0:
            with contextlib.suppress(OSError):
                sys.stdin.read()

            os._exit(0)

        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
