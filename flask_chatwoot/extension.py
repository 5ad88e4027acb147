"""``Chatwoot``: registrations, and the wiring of an app."""

from __future__ import annotations

import gc
import logging
import os
import typing as t
import weakref

from flask import Blueprint, Flask

from . import cli, config, views, workers
from .config import Config
from .errors import ConfigError
from .ownership.policy import Decision, Policy, PolicyContext, default_policy
from .replies import F, ProviderFunction, Registry
from .runtime import KEY, Runtime

log = logging.getLogger(__name__)


P = t.TypeVar("P", bound=Policy)


class Decorator(t.Protocol):
    """Takes a function and returns it."""

    def __call__(self, function: F, /) -> F: ...


class Chatwoot:
    """Puts reply functions behind a Chatwoot inbox.

    ::

        chatwoot = Chatwoot(app)  # or Chatwoot(), and init_app(app) in a factory

        @chatwoot.reply_provider
        def reply(message):
            return "On its way."

    It holds registrations only, so one object may serve several apps.
    """

    blueprint: t.ClassVar[Blueprint] = views.blueprint
    """The two endpoints; for ``csrf.exempt(chatwoot.blueprint)`` and the like."""

    def __init__(self, app: Flask | None = None) -> None:
        self._providers = Registry()
        self._policy: Policy | None = None

        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the configuration and connect the app. Starts nothing, opens nothing.

        Later changes of ``app.config`` and of ``app.testing`` have no effect.

        :raises ConfigError: A setting is wrong, or the app has a Chatwoot already.
        """
        if KEY in app.extensions:
            raise ConfigError(f"The app {app.name!r} has a Chatwoot extension already.")

        settings = config.load(
            app.config, instance_path=app.instance_path, testing=app.testing
        )
        _occupy(settings, app)
        bot = Runtime.build(
            app, settings, self._providers, workers.create(settings), self._decide
        )
        app.extensions[KEY] = bot
        app.register_blueprint(views.blueprint, url_prefix=settings.url_prefix)
        app.cli.add_command(cli.chatwoot)
        bot.await_request()
        _warn(settings)

    @t.overload
    def reply_provider(self, function: F, /) -> F: ...

    @t.overload
    def reply_provider(
        self, /, *, mode: str | None = None, inbox_id: int | None = None
    ) -> Decorator: ...

    def reply_provider(
        self,
        function: ProviderFunction | None = None,
        /,
        *,
        mode: str | None = None,
        inbox_id: int | None = None,
    ) -> t.Any:
        """Register the function that answers; it is returned unchanged.

        It takes the text, and if it declares a second parameter, the
        :class:`~flask_chatwoot.Turn`. It returns text, a
        :class:`~flask_chatwoot.Reply`, or ``None`` to say nothing. It may be
        ``async``. It runs in an app context, and in several threads at once.

        :param mode: Answer only in this mode, ``"bot"`` or ``"human"``.
        :param inbox_id: Answer only in this Chatwoot inbox. The narrowest match
            answers; an inbox counts as narrower than a mode.
        :raises ProviderError: A wrong signature, or the place is taken.
        """

        def register(function: F) -> F:
            self._providers.add(function, mode=mode, inbox_id=inbox_id)
            return function

        return register if function is None else register(function)

    def policy(self, function: P) -> P:
        """Register the function that decides who is told an answer; returned unchanged.

        It takes the :class:`~flask_chatwoot.PolicyContext` and returns a
        :class:`~flask_chatwoot.Decision`. It is asked before the provider, and again
        right before each post, in several threads at once, so it must be quick. It
        may ask the built-in one, :func:`flask_chatwoot.default_policy`. If it raises,
        the answer becomes a note.

        :raises ConfigError: Not a function, or there is one already.
        """
        if not callable(function):
            raise ConfigError(f"A policy must be a function, not {function!r}.")

        if self._policy is not None:
            raise ConfigError("There is a policy already.")

        self._policy = function

        return function

    def _decide(self, facts: PolicyContext) -> Decision:
        return (self._policy or default_policy)(facts)


_inboxes: weakref.WeakValueDictionary[str, Flask] = weakref.WeakValueDictionary()
"""The inboxes in use in this process, by path."""


def _occupy(settings: Config, app: Flask) -> None:
    """Refuse an inbox that another app of this process works on.

    Either app's workers would answer the other's customers.
    """
    if settings.missing:
        return

    path = os.path.realpath(settings.inbox_path)

    if path in _inboxes:
        gc.collect()  # apps are full of cycles, and outlive their last mention

    if path in _inboxes:
        raise ConfigError(
            f"CHATWOOT_INBOX_PATH is {path!r}, which another app in this process uses; "
            "give each app a file of its own."
        )

    _inboxes[path] = app


def _warn(settings: Config) -> None:
    """One warning for all that is not as it should be in production."""
    sentences = []
    doors = settings.open_doors

    if settings.missing:
        doors = [door for door in doors if "/copilot" in door]
        sentences.append(
            f"Chatwoot is not configured: {', '.join(settings.missing)} missing. "
            "Deliveries are acknowledged and ignored (not_configured)."
        )

    if doors:
        sentences.append(
            f"Anybody may call {' and '.join(doors)}. Set the key in parentheses; for "
            "Chatwoot before 4.12, which can not sign, CHATWOOT_WEBHOOK_TOKEN."
        )

    if sentences:
        log.warning("%s", " ".join(sentences))
