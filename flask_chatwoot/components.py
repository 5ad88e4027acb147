"""The objects of a configured app: put together here and nowhere else."""

from __future__ import annotations

import functools
import time
import typing as t
from dataclasses import dataclass, replace

from flask import Flask

from . import signals, workers
from .catch_up.sweep import CatchUp
from .catch_up.thread import CatchUpThread
from .client import ChatwootClient
from .config import Config
from .ingest import Backend, Ingest, OnlyStore
from .ownership.attributes import ToldAttributes
from .ownership.gate import Gate
from .ownership.identity import Identity
from .ownership.live import LiveState
from .ownership.mode import ModeAttribute
from .ownership.policy import Policy
from .ownership.search import OperatorSearch
from .ownership.store import OwnershipStore
from .queue.database import Database, passed
from .queue.inspection import Health
from .queue.reviews import rates
from .queue.sqlite import SQLiteDatabase
from .queue.store import Store
from .replies import Registry
from .turns.calls import Calls
from .turns.feedback import DraftFeedback
from .turns.handoff import ConversationChanges
from .turns.history import History
from .turns.host_client import HostClient
from .turns.language import OperatorsLanguage
from .turns.left import LeftUnanswered
from .turns.parts import TurnParts
from .turns.posting import Poster
from .turns.service import Service
from .turns.typing_indicator import TypingIndicator
from .upkeep import Upkeep
from .workers import InlineBackend, JobRunner, ThreadBackend

_OVERDUE: t.Final = 60.0
"""Seconds after which a job that is due is late, where no worker is known to run."""

_RATED: t.Final = 30
"""Days whose drafts the health figures are about."""

_WEB_THREADS: t.Final = 4
"""Threads of a web server that may need a connection at the same moment."""

PolicyFinder = t.Callable[[], Policy]
"""Returns the policy, which may be registered after ``init_app``."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Components:
    """The objects of a configured app. Threads share them."""

    store: Store
    ownership: OwnershipStore
    client: ChatwootClient
    host_client: HostClient
    turns: TurnParts
    ingest: Ingest
    service: Service
    runner: JobRunner
    upkeep: Upkeep
    backend: Backend
    catch_up: CatchUp
    by_celery: bool

    stop_all = staticmethod(workers.stop_all)

    def health(self, max_age: float) -> dict[str, t.Any]:
        """The figures of the queue; ``late`` if a job waits for more seconds.

        Where no worker runs, one that has been due for a minute is late.
        ``failover``, if there was one, is the number of seconds since then; ``stuck``,
        if there are any, of threads whose providers do not come to an end.
        """
        seen = self.store.inspection.health()
        late = (seen.oldest or 0.0) > max_age or self._is_overdue(seen)
        figures = {"status": "late" if late else "ok", **seen._asdict()}

        if not seen.stuck:
            del figures["stuck"]

        failover = self.store.database.failover_age()

        if self.turns.feedback.wanted:
            figures["drafts"] = rates(self.store.reviews.counts(_RATED))

        return figures if failover is None else {**figures, "failover": failover}

    def _is_overdue(self, seen: Health) -> bool:
        """Whether nobody handles what is due. Nobody knows how many Celery's are."""
        no_worker = not seen.workers and isinstance(self.backend, ThreadBackend)

        return (self.by_celery or no_worker) and self.store.wakes.overdue() > _OVERDUE

    def work(self, conversation_id: int) -> bool:
        """Handle at most one job of a conversation; whether another is due.

        Waits until its debounce window is over.
        """
        while not self.runner.run_once(conversation_id):
            pause = self.store.wakes.pause_of(conversation_id)

            if pause is None or not 0 < pause <= self.turns.config.burst_window:
                return False

            time.sleep(pause)

        pause = self.store.wakes.pause_of(conversation_id)

        return pause is not None and pause <= 0

    def start(self, *, late: bool = False) -> bool:
        """Start the backend; ``False`` if that must be tried again."""
        return self.backend.start(late=late)

    def close(self) -> None:
        """Stop the backend, which may block for its grace, and close the database."""
        self.backend.stop()
        self.store.database.close()


OWN_TOKEN: t.Final = "CHATWOOT_API_ACCESS_TOKEN"  # noqa: S105 - the name of a setting

ADMIN_TOKEN: t.Final = "CHATWOOT_ADMIN_TOKEN"  # noqa: S105 - the name of a setting
"""It is looked up by the commands that read or change the settings of the account."""


def client_of(
    config: Config, token: str | None = None, token_key: str = OWN_TOKEN
) -> ChatwootClient:
    """A client for the configured account.

    :param token: In place of the app's own, from the setting ``token_key``.
    :raises ConfigError: A setting that the client needs is missing.
    """
    token_key = token_key if token else OWN_TOKEN
    token = token or config.api_access_token

    if config.base_url is None or config.account_id is None or token is None:
        raise config.incomplete(token)

    return ChatwootClient(
        config.base_url,
        config.account_id,
        token,
        timeout=config.timeout,
        token_key=token_key,
    )


def build(
    app: Flask, config: Config, providers: Registry, find_policy: PolicyFinder
) -> Components:
    """Put them together. Opens no file and no connection."""
    client = client_of(config)
    store = _store(config, client.account_id)
    ownership = OwnershipStore(store.database)
    turns = _turns(app, config, providers, find_policy, client, store, ownership)
    service = Service(turns)
    reviews = (turns.feedback.review_one,) if turns.feedback.wanted else ()
    runner = JobRunner(store.queue, service, turns.calls, *reviews)
    taking = _ingest(app, config, turns, store)
    catch_up = CatchUp(
        config=config,
        client=turns.poster.reader,
        ingest=taking,
        store=store,
        ownership=ownership,
    )
    thread = CatchUpThread(catch_up)
    upkeep = Upkeep(store, ownership, turns.changes.told, thread, turns.left)
    backend = _backend(app, config, runner, store, upkeep, thread)

    return Components(
        store=store,
        ownership=ownership,
        client=client,
        host_client=HostClient(client, store.outbox.by_host, turns.changes.told),
        turns=turns,
        ingest=replace(taking, backend=backend),
        service=service,
        runner=runner,
        upkeep=upkeep,
        backend=backend,
        catch_up=catch_up,
        by_celery=config.backend == "celery",
    )


def _backend(
    app: Flask,
    config: Config,
    runner: JobRunner,
    store: Store,
    upkeep: Upkeep,
    catch_up: CatchUpThread,
) -> Backend:
    """The configured backend. Starts nothing."""
    if config.backend == "inline":
        return InlineBackend(runner, store)

    if config.backend == "celery":
        from .celery import CeleryBackend  # needs an extra

        return CeleryBackend(app, config, runner, store, upkeep, catch_up)

    return ThreadBackend(runner, upkeep, threads=config.workers)


def _ingest(app: Flask, config: Config, turns: TurnParts, store: Store) -> Ingest:
    return Ingest(
        config=config,
        queue=store.queue,
        outbox=store.outbox,
        revisions=store.revisions,
        transcript=store.transcript,
        ownership=turns.ownership,
        told=turns.changes.told,
        modes=turns.gate.modes,
        history=turns.history,
        backend=OnlyStore(),
        sweeps=store.sweeps,
        age_of=turns.gate.age_now,
        left=turns.left,
        feedback=turns.feedback,
        notify=functools.partial(
            signals.send, signals.turn_due, app, account_id=config.account_id
        ),
    )


def _store(config: Config, account_id: int) -> Store:
    return Store.of(
        _database(config, account_id),
        lease=config.lease,
        window=config.burst_window,
        longest=config.burst_max,
    )


def _database(config: Config, account_id: int) -> Database:
    if config.database_address is None:
        return SQLiteDatabase(
            config.database_path, account_id=account_id, sync=config.database_sync
        )

    # Needs an extra.
    from .queue.postgresql.database import PostgreSQLDatabase

    return PostgreSQLDatabase(
        config.database_address,
        schema=config.database_schema,
        account_id=account_id,
        base_url=config.base_url or "",
        threads=max(config.workers, _WEB_THREADS),
        lease=config.lease,
        sync=config.database_sync,
    )


def _turns(
    app: Flask,
    config: Config,
    providers: Registry,
    find_policy: PolicyFinder,
    client: ChatwootClient,
    store: Store,
    ownership: OwnershipStore,
) -> TurnParts:
    reader = _reader(config, client)
    live = LiveState(client=reader)
    identity = Identity(client=client, store=ownership)
    gate = _gate(app, config, find_policy, live, identity, store, ownership)
    changes = ConversationChanges(
        client=client, gate=gate, told=ToldAttributes(store.database)
    )

    return TurnParts(
        app=app,
        clock=gate.clock,
        config=config,
        providers=providers,
        queue=store.queue,
        outbox=store.outbox,
        revisions=store.revisions,
        ownership=ownership,
        gate=gate,
        poster=_poster(app, config, client, reader, store),
        changes=changes,
        language=OperatorsLanguage(reader, locale=config.locale, own=config.texts),
        history=History(
            reader=reader, ownership=ownership, transcript=store.transcript
        ),
        typing=TypingIndicator(client, wanted=config.typing),
        calls=Calls(config.provider_timeout),
        left=LeftUnanswered(),
        feedback=_feedback(app, config, store),
    )


def _feedback(app: Flask, config: Config, store: Store) -> DraftFeedback:
    return DraftFeedback(
        app=app,
        account_id=store.database.account_id,
        reviews=store.reviews,
        wanted=config.draft_feedback,
    )


def _poster(
    app: Flask,
    config: Config,
    client: ChatwootClient,
    reader: ChatwootClient,
    store: Store,
) -> Poster:
    return Poster(
        app=app,
        client=client,
        reader=reader,
        outbox=store.outbox,
        passed=functools.partial(passed, store.database),
        settle_time=config.settle_time,
    )


def _reader(config: Config, client: ChatwootClient) -> ChatwootClient:
    """The client that reads: a bot's token may not list messages, a user's may."""
    if config.user_access_token:
        key = "CHATWOOT_USER_ACCESS_TOKEN"
        return client_of(config, config.user_access_token, key)

    return client


def _gate(
    app: Flask,
    config: Config,
    find_policy: PolicyFinder,
    live: LiveState,
    identity: Identity,
    store: Store,
    ownership: OwnershipStore,
) -> Gate:
    return Gate(
        find_policy=find_policy,
        settings=config.policy,
        modes=ModeAttribute(
            name=config.support_mode_attr,
            words=config.words,
            default=config.default_mode,
            human_values=config.human_values,
        ),
        live=live,
        identity=identity,
        search=OperatorSearch(live=live, store=ownership, outbox=store.outbox),
        store=ownership,
        outbox=store.outbox,
        clock=lambda: store.database.clock(),
        ahead=store.database.ahead,
        on_policy_error=functools.partial(signals.report, app, "policy"),
    )
