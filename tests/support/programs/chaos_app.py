"""The host of ``chaos.py``: its clock obeys a file, and signals freeze it.

After SIGUSR2 it freezes at any place except between the signals around a post: a
process that is frozen after it has looked at its lease and before it has written to
Chatwoot may post late, which the README names as a limit. After SIGURG it freezes in
the middle of a transaction on PostgreSQL. SIGCONT lets it go on.

In its folder the file "asked" has a line for each question to the provider, and the
file "requests" one for each request: the process, and when it began and ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import threading
import time
import typing as t
from pathlib import Path

true_time = time.time
began = true_time()
folder = Path(os.environ["CHAOS_FOLDER"])


def set_time() -> float:
    return true_time() + float((folder / "clock").read_text())


# Before any other module has a reference to it.
vars(time).update(time=set_time, time_ns=lambda: int(set_time() * 1e9))

from flask import Flask  # noqa: E402

from flask_chatwoot import Chatwoot, after_post, before_post  # noqa: E402
from flask_chatwoot.turns import retry  # noqa: E402

vars(retry).update(LONGEST_BACKOFF=2.0)  # or a run would have to wait for minutes
logging.basicConfig(format="%(process)d %(relativeCreated)d %(message)s")
app = Flask(__name__, instance_path=str(folder))
chatwoot = Chatwoot(app)

if broker := os.environ.get("CHAOS_BROKER"):
    from celery import Celery

    celery_app = Celery(app.name, broker=broker)
    celery_app.conf.worker_hijack_root_logger = False
    celery_app.set_default()
    app.extensions["celery"] = celery_app

gate = threading.Condition()
posting: set[int] = set()
wanted: set[str] = set()
"""How the process is to freeze."""


def record(name: str, *values: object) -> None:
    with (folder / name).open("a") as file:
        file.write(json.dumps(values) + "\n")


def timed(environ: t.Any, start: t.Any) -> t.Iterable[bytes]:
    begin = time.monotonic()
    answer = untimed(environ, start)
    record("requests", os.getpid(), begin, time.monotonic())

    return answer


untimed = app.wsgi_app
vars(app)["wsgi_app"] = timed


@chatwoot.reply_provider
def reply(text: str) -> str:
    record("asked", text)
    # Long enough for an operator to act; longer than a post may rest on a look before.
    time.sleep(6.0 if "slow" in text else random.uniform(0.0, 0.2))  # noqa: S311

    return f"Answer to {text}\n-- {began:.3f}"


@before_post.connect_via(app)
def on_attempt(sender: Flask, **values: t.Any) -> None:
    with gate:
        gate.wait_for(lambda: "at once" not in wanted)
        posting.add(threading.get_ident())


@after_post.connect_via(app)
def on_post(sender: Flask, **values: t.Any) -> None:
    with gate:
        posting.discard(threading.get_ident())
        gate.notify_all()


def stop() -> None:
    """Stop this process as a whole until SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)
    wanted.clear()
    gate.notify_all()


def freeze() -> None:
    """Freeze once no post is under way."""
    with gate:
        wanted.add("at once")
        gate.wait_for(lambda: not (posting and wanted), timeout=5.0)

        if wanted and not posting:
            stop()

        wanted.clear()
        gate.notify_all()


def freeze_in_transaction() -> None:
    with gate:
        wanted.add("in a transaction")


def thaw() -> None:
    """Freeze no more, if that has not happened yet."""
    with gate:
        wanted.clear()
        gate.notify_all()


def on_signal(number: int, _: t.Any) -> None:
    threading.Thread(target=ON_SIGNAL[number], daemon=True).start()


ON_SIGNAL: t.Final[t.Mapping[int, t.Callable[[], None]]] = {
    signal.SIGUSR2: freeze,
    signal.SIGURG: freeze_in_transaction,
    signal.SIGCONT: thaw,
}

for each in ON_SIGNAL:
    signal.signal(each, on_signal)


# -- transactions on PostgreSQL ------------------------------------------------------

with contextlib.suppress(ImportError):
    import psycopg
    from psycopg.pq import TransactionStatus

    execute = psycopg.Cursor.execute

    def execute_and_freeze(cursor: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
        result = execute(cursor, *args, **options)

        # Not always at the first statement of a transaction.
        if "in a transaction" in wanted and random.random() < 0.4:  # noqa: S311
            with gate:
                status = cursor.connection.info.transaction_status

                if wanted and not posting and status == TransactionStatus.INTRANS:
                    stop()

        return result

    vars(psycopg)["Cursor"].execute = execute_and_freeze
