"""Processes that beat, and write what they see. They end with their input.

``name NAME`` is the own name, again when it changes; ``dead NAME`` is that of another
one; ``lost`` means that no job may be claimed at the moment.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import psycopg

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.postgresql.beats import Beats


def say(*words: str) -> None:
    print(*words, flush=True)  # noqa: T201


def watch(beats: Beats) -> None:
    said = ""

    while True:
        try:
            says = f"name {beats.enter()}"
        except DatabaseError:
            says = "lost"

        if says != said:
            say(said := says)

        for name in beats.dead():
            say("dead", name)

        time.sleep(0.02)


def main(url: str, schema: str, lease: str, *forks: str) -> None:
    beats = Beats(
        lambda: psycopg.connect(url, autocommit=True, connect_timeout=2),
        *(schema, 1),
        lease=float(lease),
    )

    if forks:
        beats.enter()
        os.fork()

    threading.Thread(target=watch, args=[beats], daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
