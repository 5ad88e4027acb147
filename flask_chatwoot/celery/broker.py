"""Asks a broker whether it is there."""

from __future__ import annotations

import queue
import typing as t

from flask_chatwoot.background import new_thread, try_to_start


def problem_of(celery_app: t.Any, *, within: float) -> str | None:
    """Why the broker does not answer; ``None`` if it does. Holds no secret.

    :param within: Seconds for which it blocks at most. A frozen broker may block
        whoever asks, whatever timeouts it is given.
    """
    answer: queue.Queue[str | None] = queue.Queue()
    thread = new_thread(lambda: answer.put(_problem(celery_app)), "chatwoot-broker")

    if not try_to_start(thread):
        return "no thread could be started"

    try:
        return answer.get(timeout=within)
    except queue.Empty:
        return f"no answer within {within:g} s"


def _problem(celery_app: t.Any) -> str | None:
    try:
        with celery_app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
    except Exception as error:  # noqa: BLE001 - any library may be the broker's
        # Its text may hold the password.
        return type(error.__cause__ or error).__name__

    return None
