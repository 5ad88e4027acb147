"""The backend that handles jobs inside the request that stored them."""

from __future__ import annotations

import secrets

from flask_chatwoot.background import new_thread, try_to_start
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.ingest import Put
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.database import Transaction
from flask_chatwoot.queue.store import Store

from .runner import JobRunner

log = logger(__name__)


class InlineBackend:
    """Handles jobs inside the request that stored them.

    For tests and for hosts that answer at once. A job that must be tried again is
    handled with a later message, or by ``flask chatwoot work``.
    """

    def __init__(self, runner: JobRunner, store: Store) -> None:
        self._runner = runner
        self._store = store
        runner.when_stuck(self._see_to_stuck)

    def start(self, *, late: bool = False) -> bool:
        """Nothing runs between requests."""
        return True

    def accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        """Store a delivery, handle it, and then whatever else is due."""
        # In one commit, which is not forced to the disk: as a rule the turn's own
        # writes do that before the delivery is acknowledged.
        token = secrets.token_hex(16)
        stored: list[bool] = []

        def store(tx: Transaction, again: bool) -> Job | None:
            # After a commit without an answer, the next try finds it stored.
            stored.append(put(tx=tx))

            return self._claim(tx, token, again) if any(stored) else None

        job = self._store.database.write(store, conversation_id=event.conversation.id)
        new = any(stored)

        if job is not None:
            self._runner.run(job, event if job.payload == body else None)

        self._store.database.force()

        if new:
            self.wake()

        return new

    def _claim(self, tx: Transaction, token: str, again: bool) -> Job | None:
        try:
            return self._store.queue.claim(tx=tx, token=token, again=again)
        except DatabaseError:  # no heartbeat arrives yet: it is stored all the same
            return None

    def wake(self, conversation_id: int | None = None) -> None:
        """Handle whatever is due."""
        try:
            while self._runner.run_once():
                pass
        except DatabaseError as error:  # what was stored stays stored
            log.error("no job could be claimed: %s", error)  # noqa: TRY400

    def _see_to_stuck(self, given_up: list[Job]) -> None:
        """Handle what was given up, since no request may come that would."""
        if given_up:
            try_to_start(new_thread(self.wake, "chatwoot-given-up"))

    def stop(self) -> None:
        """Nothing runs between requests."""
