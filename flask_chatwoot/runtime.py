"""One app's objects: put together here and nowhere else."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from flask import Flask, current_app, request_started

from . import servers, workers
from .background import Forkable, register_for_forks
from .catch_up.sweep import CatchUp
from .catch_up.thread import CatchUpThread
from .client import ChatwootClient
from .config import Config
from .errors import ConfigError
from .ingest import Backend, Ingest, OnlyStore, Receipt
from .outcomes import DeliveryOutcome, Reason
from .ownership.gate import Gate
from .ownership.identity import Identity
from .ownership.live import LiveState
from .ownership.mode import ModeAttribute
from .ownership.policy import Policy, default_policy
from .ownership.store import OwnershipStore
from .payloads import events
from .payloads.events import Event
from .queue.sqlite import SQLiteDatabase
from .queue.store import Store
from .replies import Registry
from .turns.handoff import ConversationChanges
from .turns.history import History
from .turns.left import LeftUnanswered
from .turns.parts import TurnParts
from .turns.posting import Poster
from .turns.service import Service
from .turns.typing_indicator import TypingIndicator
from .workers import JobRunner, Upkeep

KEY: t.Final = "chatwoot"
"""The key of the runtime in ``app.extensions``."""

PolicyFinder = t.Callable[[], Policy]
"""Returns the policy, which may be registered after ``init_app``."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Components:
    """The objects of a configured app. Threads share them."""

    store: Store
    ownership: OwnershipStore
    client: ChatwootClient
    turns: TurnParts
    ingest: Ingest
    service: Service
    runner: JobRunner
    upkeep: Upkeep
    backend: Backend
    catch_up: CatchUp

    def take(self, event: Event, body: bytes) -> Receipt:
        """Take in an event."""
        return self.ingest.take(event, body)

    def health(self, max_age: float) -> dict[str, t.Any]:
        """The figures of the queue; ``late`` if a job waits for more seconds."""
        seen = self.store.inspection.health()
        late = (seen.oldest or 0.0) > max_age

        return {"status": "late" if late else "ok", **seen._asdict()}

    def start(self, *, late: bool = False) -> bool:
        """Start the backend; ``False`` if that must be tried again."""
        return self.backend.start(late=late)

    def close(self) -> None:
        """Stop the backend, which may block for its grace, and close the database."""
        self.backend.stop()
        self.store.database.close()


class NotConfigured:
    """In place of the components, as long as a setting that they need is missing."""

    def take(self, event: Event, body: bytes) -> Receipt:
        """Ignore an event."""
        return Receipt(DeliveryOutcome.IGNORED, Reason.NOT_CONFIGURED)

    def health(self, max_age: float) -> dict[str, t.Any]:
        """There are no figures."""
        return {"status": "not_configured"}

    def start(self, *, late: bool = False) -> bool:
        """There is nothing to start."""
        return True

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Runtime(Forkable):
    """One app's runtime. Threads share it."""

    app: Flask
    config: Config
    providers: Registry
    find_policy: PolicyFinder
    components: Components | NotConfigured

    @classmethod
    def build(
        cls,
        app: Flask,
        config: Config,
        providers: Registry,
        find_policy: PolicyFinder = lambda: default_policy,
    ) -> t.Self:
        """Put a runtime together. Opens no file and no connection."""
        components = (
            NotConfigured()
            if config.missing
            else _components(app, config, providers, find_policy)
        )

        return cls(
            app=app,
            config=config,
            providers=providers,
            find_policy=find_policy,
            components=components,
        )

    @property
    def configured(self) -> Components:
        """The components of a configured app.

        :raises ConfigError: The app is not configured. Names the missing settings.
        """
        if isinstance(self.components, NotConfigured):
            raise not_configured(self.config)

        return self.components

    def receive(self, body: bytes) -> Receipt:
        """Take in an authentic delivery.

        :raises PayloadError: The body is not a delivery of Chatwoot.
        :raises DatabaseError: It could not be stored, and must not be acknowledged.
        """
        return self.components.take(events.parse(body), body)

    # -- starting the backend ----------------------------------------------------

    def await_server(self) -> None:
        """Start the backend when the server is ready, where it says so.

        Elsewhere with the next request. Running turns get their grace on SIGTERM where
        the server would end the process at once.
        """
        self.await_request()
        servers.call_when_ready(self.start)
        servers.call_before_sigterm(workers.stop_all)

    def await_request(self) -> None:
        """Start the backend with the next request; later ones have no overhead."""
        request_started.connect(self._on_request, self.app)
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The child starts a backend of its own, if it serves requests."""
        request_started.connect(self._on_request, self.app)
        servers.call_when_ready_in_child(self.start)

    def _on_request(self, app: Flask, **_: object) -> None:
        self.start(late=True)

    def start(self, *, late: bool = False) -> None:
        """Start the backend, unless it runs; with the next request if that fails.

        :param late: A request is the reason.
        """
        if self.app.extensions[KEY] is not self:  # a simulator has taken its place
            return

        if self.components.start(late=late):
            request_started.disconnect(self._on_request)

    def start_here(self) -> None:
        """Start the backend in this process, or when the server is ready.

        In the main thread, SIGTERM is handled as by :meth:`await_server`.
        """
        if not servers.is_importing():
            servers.call_here(self.start)
            servers.call_before_sigterm(workers.stop_all, always=True)


def current_runtime(*, keep_errors: bool = False) -> Runtime:
    """The runtime of the current app.

    :param keep_errors: Do not raise because of wrong settings.
    :raises ConfigError: ``init_app`` was not called for the app, or its settings are
        wrong, which under the ``flask`` command line is reported here.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    try:
        runtime: Runtime = app.extensions[KEY]
    except KeyError:
        raise ConfigError(
            f"The app {app.name!r} has no Chatwoot; call "
            "Chatwoot(app), or init_app(app), where the app is made."
        ) from None

    # In front of a simulator the app has another configuration, which is complete.
    if runtime.config.missing and runtime.config.errors and not keep_errors:
        raise ConfigError("\n".join(runtime.config.errors))

    return runtime


# -- building the components -----------------------------------------------------


def client_of(config: Config, token: str | None = None) -> ChatwootClient:
    """A client for the configured account.

    :param token: In place of the app's own.
    :raises ConfigError: A setting that the client needs is missing.
    """
    token = token or config.api_access_token

    if config.base_url is None or config.account_id is None or token is None:
        raise not_configured(config, token)

    return ChatwootClient(
        config.base_url, config.account_id, token, timeout=config.timeout
    )


def not_configured(config: Config, token: str | None = None) -> ConfigError:
    """The error that names the settings without which Chatwoot cannot be reached.

    :param token: The one that is used in place of the app's own.
    """
    missing = [key for key in config.missing if not (token and "TOKEN" in key)]

    return ConfigError(f"Chatwoot is not configured; set {', '.join(missing)}.")


def _components(
    app: Flask, config: Config, providers: Registry, find_policy: PolicyFinder
) -> Components:
    client = client_of(config)
    store = _store(config, client.account_id)
    ownership = OwnershipStore(store.database)
    turns = _turns(app, config, providers, find_policy, client, store, ownership)
    service = Service(turns)
    runner = JobRunner(store.queue, service)
    taking = _ingest(config, turns, store)
    catch_up = CatchUp(
        config=config,
        client=turns.poster.reader,
        ingest=taking,
        store=store,
        ownership=ownership,
    )
    upkeep = Upkeep(store, ownership, CatchUpThread(catch_up), turns.left)
    backend = workers.create(config, runner, store, upkeep)

    return Components(
        store=store,
        ownership=ownership,
        client=client,
        turns=turns,
        ingest=replace(taking, backend=backend),
        service=service,
        runner=runner,
        upkeep=upkeep,
        backend=backend,
        catch_up=catch_up,
    )


def _ingest(config: Config, turns: TurnParts, store: Store) -> Ingest:
    return Ingest(
        config=config,
        queue=store.queue,
        outbox=store.outbox,
        revisions=store.revisions,
        transcript=store.transcript,
        ownership=turns.ownership,
        modes=turns.gate.modes,
        history=turns.history,
        backend=OnlyStore(),
        sweeps=store.sweeps,
        age_of=turns.gate.age_now,
        left=turns.left,
    )


def _store(config: Config, account_id: int) -> Store:
    database = SQLiteDatabase(
        config.database_path, account_id=account_id, sync=config.database_sync
    )

    return Store.of(
        database,
        lease=config.lease,
        window=config.burst_window,
        longest=config.burst_max,
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
    gate = _gate(config, find_policy, live, identity, store, ownership)
    poster = Poster(
        app=app,
        client=client,
        reader=reader,
        outbox=store.outbox,
        clock=gate.clock,
        settle_time=config.settle_time,
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
        poster=poster,
        changes=ConversationChanges(client=client, gate=gate),
        history=History(
            reader=reader, ownership=ownership, transcript=store.transcript
        ),
        typing=TypingIndicator(client, wanted=config.typing),
        left=LeftUnanswered(),
    )


def _reader(config: Config, client: ChatwootClient) -> ChatwootClient:
    """The client that reads: a bot's token may not list messages, a user's may."""
    if config.user_access_token:
        return client_of(config, config.user_access_token)

    return client


def _gate(
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
        store=ownership,
        outbox=store.outbox,
        clock=lambda: store.database.clock(),
        ahead=store.database.ahead,
    )
