"""Apps under test, and what became of their jobs."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass

from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient

from flask_chatwoot import Chatwoot
from flask_chatwoot.components import Components
from flask_chatwoot.ownership.state import Ownership
from flask_chatwoot.ownership.store import Change, OwnershipStore
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.queue.store import Store
from flask_chatwoot.runtime import KEY, Runtime

from .chatwoot import ChatwootStub


@dataclass(frozen=True)
class Scene:
    """An app in front of a Chatwoot in memory.

    :ivar client: Delivers to the app.
    :ivar api: Chatwoot, as the app sees it.
    :ivar chatwoot: The extension, to register providers with.
    """

    app: Flask
    client: FlaskClient
    api: ChatwootStub
    chatwoot: Chatwoot


class AppFactory(t.Protocol):
    """Makes apps; settings are the keys without ``CHATWOOT_``, in lower case."""

    def __call__(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """``None`` takes a setting away."""


def dismantle(app: Flask) -> None:
    """Stop the work of an app, and close its database."""
    runtime_of(app).components.close()


def runtime_of(app: Flask) -> Runtime:
    return t.cast(Runtime, app.extensions[KEY])


def components_of(app: Flask) -> Components:
    return runtime_of(app).configured


def store_of(app: Flask) -> Store:
    return components_of(app).store


def database_of(app: Flask) -> SQLiteDatabase:
    return t.cast(SQLiteDatabase, store_of(app).database)


def see(
    ownership: OwnershipStore,
    conversation_id: int,
    event: t.Callable[..., Ownership],
    *values: t.Any,
) -> Change:
    """Let an event of a conversation change who has it."""
    return ownership.apply(conversation_id, lambda state: event(state, *values))


def jobs_of(app: Flask) -> list[JobRow]:
    return store_of(app).inspection.jobs()


def job_of(app: Flask) -> JobRow:
    """The only one."""
    (job,) = jobs_of(app)

    return job


def ending_of(app: Flask) -> tuple[str | None, str | None]:
    """How the only job ended."""
    job = job_of(app)

    return job.outcome, job.reason


def work(app: Flask) -> None:
    """Handle everything that is due, as ``flask chatwoot work`` would."""
    while components_of(app).runner.run_once():
        pass


def handle_one(app: Flask) -> Job:
    """Make one attempt at the job that is due."""
    components = components_of(app)
    job = components.store.queue.claim()
    assert job is not None
    components.service.handle(job)

    return job


@contextlib.contextmanager
def recorded(signal: NamedSignal, app: Flask) -> t.Iterator[list[dict[str, t.Any]]]:
    """Everything a signal sends for an app."""
    seen: list[dict[str, t.Any]] = []

    def note(_: Flask, **values: t.Any) -> None:
        seen.append(values)

    with signal.connected_to(note, sender=app):
        yield seen
