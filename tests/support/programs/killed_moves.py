"""Move a file again and again, each time killed one step later: ``… PATH SCHEMA``.

A step is a statement of either database; the process is killed right before it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sqlite3
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import psycopg
from support import databases
from support.moves import content_of_file, content_of_schema, target

from flask_chatwoot.queue import move as moving
from flask_chatwoot.queue.moved import TABLES
from flask_chatwoot.queue.sqlite import SQLiteDatabase


def move_until(step: int, path: str, schema: str) -> None:
    """Move, and die at a step."""
    steps = itertools.count(1)

    def die(*_: object) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def wait(connection: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        die()

        return former_wait(connection, *arguments, **options)

    def prepare(database: SQLiteDatabase, db: sqlite3.Connection) -> None:
        former_prepare(database, db)
        db.set_trace_callback(die)

    former_wait = psycopg.Connection.wait
    former_prepare = SQLiteDatabase._prepare
    psycopg.Connection.wait = wait  # type: ignore[method-assign,assignment]
    SQLiteDatabase._prepare = prepare  # type: ignore[method-assign,assignment]
    moving.move(path, 1, target(schema))
    die()


def is_killed(step: int, path: str, schema: str) -> bool:
    """Move in a child; whether it came to the step."""
    child = os.fork()

    if not child:
        try:
            move_until(step, path, schema)
        except BaseException as error:  # noqa: BLE001 - a child must not go on
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)

        os._exit(0)

    status = os.waitpid(child, 0)[1]

    if os.WIFSIGNALED(status):
        return True

    assert status == 0

    return False


def empty(schema: str, db: t.Any) -> None:
    db.execute(
        "; ".join(f'DELETE FROM "{schema}"."{table}"' for table in reversed(TABLES))  # noqa: S608 - ours
    )


def has_arrived(schema: str, db: t.Any) -> bool:
    """Whether a job has arrived."""
    found = db.execute(f'SELECT 1 FROM "{schema}".job LIMIT 1').fetchone()  # noqa: S608 - ours

    return found is not None


def due_in(path: str) -> bool:
    """Whether a job of the file may be claimed, by whatever release."""
    db = sqlite3.connect(path)
    found = db.execute("SELECT 1 FROM job WHERE due_at IS NOT NULL").fetchone()
    db.close()

    return found is not None


def main(path: str, schema: str) -> dict[str, t.Any]:
    expected = content_of_file(path)
    moving.move(copied(path, 0), 1, target(schema))  # makes the tables
    left = {"file": 0, "neither": 0, "schema": 0}
    wrong: list[str] = []

    # One for all steps: to begin a connection takes longer than what is asked here.
    db = databases.connected()

    for step in itertools.count(1):
        copy = copied(path, step)
        empty(schema, db)

        if not is_killed(step, copy, schema):
            return {"kills": step - 1, "left": left, "wrong": wrong}

        in_file, in_schema = due_in(copy), has_arrived(schema, db)
        left["schema" if in_schema else "file" if in_file else "neither"] += 1

        if in_file and in_schema:
            wrong.append(f"{step}: twice")

        moving.move(copy, 1, target(schema))

        if due_in(copy) or content_of_schema(schema, db) != expected:
            wrong.append(f"{step}: not as expected")

    raise AssertionError("It never ends.")


def copied(path: str, number: int) -> str:
    copy = f"{path}-copy-{number}"
    shutil.copyfile(path, copy)

    return copy


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
