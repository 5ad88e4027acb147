"""What an app has of this package: its configuration and, with that, its objects."""

from __future__ import annotations

import typing as t

from flask import Flask, current_app, request_started

from . import servers
from .background import Forkable, register_for_forks
from .config import Config
from .errors import ConfigError, DatabaseError
from .logs import about, logger
from .outcomes import DeliveryOutcome, Reason, Receipt
from .ownership.policy import default_policy
from .payloads import events
from .payloads.events import Event, MessageEvent
from .replies import Registry

if t.TYPE_CHECKING:
    from .components import Components, PolicyFinder

CompletionFunction = t.Callable[[list[t.Any]], t.Any]
"""A function of the host: messages of a conversation with a language model to text.

Each is a dictionary. It may be declared as what the host's library for models takes.
"""
log = logger(__name__)

KEY: t.Final = "chatwoot"
"""The key of the runtime in ``app.extensions``."""


class _NoIngest:
    def take(self, event: Event, body: bytes) -> Receipt:
        """Ignore an event."""
        return Receipt(DeliveryOutcome.IGNORED, Reason.NOT_CONFIGURED)


class NotConfigured:
    """In place of the components, as long as a setting that they need is missing."""

    ingest: t.Final = _NoIngest()

    def health(self, max_age: float) -> dict[str, t.Any]:
        """There are no figures."""
        return {"status": "not_configured"}

    def start(self, *, late: bool = False) -> bool:
        """There is nothing to start."""
        return True

    def close(self) -> None:
        """There is nothing to close."""


class Runtime(Forkable):
    """One app's runtime. Threads share it.

    :ivar find_policy: Returns the policy, which may be registered after ``init_app``.
    :ivar find_completion: Returns the completion provider, likewise; ``None`` if there
        is none.
    """

    def __init__(
        self,
        app: Flask,
        config: Config,
        providers: Registry,
        find_policy: PolicyFinder = lambda: default_policy,
        find_completion: t.Callable[[], CompletionFunction | None] = lambda: None,
    ) -> None:
        """Put a runtime together. Opens no file and no connection."""
        self.app = app
        self.config = config
        self.providers = providers
        self.find_policy = find_policy
        self.find_completion = find_completion
        self.components = self._build()

    def _build(self) -> Components | NotConfigured:
        if self.config.missing:
            return NotConfigured()

        # Half of the package, which a program that only imports it does not need.
        from . import components

        return components.build(self.app, self.config, self.providers, self.find_policy)

    @property
    def configured(self) -> Components:
        """The components of a configured app.

        :raises ConfigError: The app is not configured. Names the missing settings.
        """
        if isinstance(self.components, NotConfigured):
            raise self.config.incomplete()

        return self.components

    def receive(self, body: bytes) -> Receipt:
        """Take in an authentic delivery.

        :raises PayloadError: The body is not a delivery of Chatwoot.
        :raises DatabaseError: It could not be stored, and must not be acknowledged.
        """
        event = events.parse(body)

        try:
            return self.components.ingest.take(event, body)
        except DatabaseError as error:
            stored = t.cast(MessageEvent, event)  # or another with a conversation

            with about(stored.conversation.id):
                log.error("a delivery was not stored: %s", error)  # noqa: TRY400

            raise

    # -- starting the backend ----------------------------------------------------

    def await_server(self) -> None:
        """Start the backend when the server is ready, where it says so.

        Elsewhere with the next request. Running turns get their grace on SIGTERM where
        the server would end the process at once.
        """
        self.await_request()
        servers.call_when_ready(self.start)

        if not isinstance(self.components, NotConfigured):
            servers.call_before_sigterm(self.components.stop_all)

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
        if servers.is_importing() or isinstance(self.components, NotConfigured):
            return

        servers.call_here(self.start)
        servers.call_before_sigterm(self.components.stop_all, always=True)


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
    incomplete = isinstance(runtime.components, NotConfigured)

    if incomplete and runtime.config.errors and not keep_errors:
        raise ConfigError("\n".join(runtime.config.errors))

    return runtime
