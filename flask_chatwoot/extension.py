"""``Chatwoot``: registers functions, and connects an app."""

from __future__ import annotations

import gc
import inspect
import os
import typing as t
import weakref

from flask import Blueprint, Flask

from . import cli, config, servers, views
from .config import Config
from .config.loading import misspelled
from .copilot.completions import checked
from .errors import ConfigError, ProviderError, name_of
from .logs import logger
from .ownership.policy import Policy, default_policy
from .replies import F, ProviderFunction, Registry
from .runtime import KEY, CompletionFunction, Runtime, current_runtime

if t.TYPE_CHECKING:
    from .client import ChatwootClient

log = logger(__name__)


C = t.TypeVar("C", bound=CompletionFunction)
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

    It holds registered functions only, so several apps may share one object.
    """

    blueprint: t.ClassVar[Blueprint] = views.blueprint
    """All endpoints; for ``csrf.exempt(chatwoot.blueprint)`` and the like."""

    def __init__(self, app: Flask | None = None) -> None:
        self._providers = Registry()
        self._policy: Policy | None = None
        self._completion: CompletionFunction | None = None

        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the configuration and connect the app. Opens no file.

        The workers start when the server is ready, under gunicorn and ``flask run``;
        elsewhere with :meth:`start` or the first request. What merely imports the app
        starts none.

        Later changes of ``app.config`` and of ``app.testing`` have no effect. Under the
        ``flask`` command line, except ``flask run``, wrong settings do not raise here:
        the commands of this package that need them report them, and the app is treated
        as not configured.

        :raises ConfigError: Settings are wrong, with a line for each; or the app has
            a Chatwoot extension already.
        """
        if KEY in app.extensions:
            raise ConfigError(f"The app {app.name!r} has a Chatwoot extension already.")

        commanded = cli.is_under_command()

        with cli.printed_by_run():
            settings = config.load(
                app.config,
                instance_path=app.instance_path,
                testing=app.testing,
                keep_errors=commanded,
            )

        if not commanded:
            _reserve_database(settings, app)

        runtime = Runtime(
            app,
            settings,
            self._providers,
            lambda: self._policy or default_policy,
            lambda: self._completion,
        )
        app.extensions[KEY] = runtime
        app.register_blueprint(views.blueprint, url_prefix=settings.url_prefix)
        app.cli.add_command(cli.chatwoot)
        runtime.await_server()

        # Commands name what they lack. Of the host's own, none needs our settings. The
        # reloader's child loads the app as well, and warns.
        if not (commanded or servers.is_watching()):
            _warn(settings, app)

    def start(self, app: Flask) -> None:
        """Start the workers of an app in this process, without waiting for a request.

        For servers that do not say when they are ready: call it once, at the end of the
        module that the server imports, or in a server's hook that is called in each
        process after it was forked. Until then no threads run and nothing is claimed.
        gunicorn and ``flask run`` need no call; there it has no effect before they are
        ready. Nor has it any under the other commands of ``flask``, under Celery's, and
        in children that a provider starts with :mod:`multiprocessing`. A process that
        is forked later does not work before its first request.

        Does not block. A second call does nothing. In the main thread, and where the
        server leaves SIGTERM to the system, running turns then get eight seconds after
        a SIGTERM, and the process ends as it would have before.

        :raises ConfigError: ``init_app`` was not called for the app.
        """
        with app.app_context():
            runtime = current_runtime(keep_errors=True)

        if not (cli.is_under_command() or servers.never_serves()):
            runtime.start_here()

    def work(self, account_id: int, conversation_id: int) -> bool:
        """Handle at most one turn of a conversation, here and now.

        It needs an app context, and blocks for as long as the turn takes, and before
        that until ``CHATWOOT_BURST_WINDOW`` is over. It does nothing if none is due, or
        another worker has it: to call it too often does no harm, and threads and
        processes may call it at the same time.

        With ``CHATWOOT_WORKERS=0``, another engine can run the turns, here RQ; with
        Dramatiq, ``work`` is an actor, and its ``send`` takes the ids::

            queue = rq.Queue(connection=redis.Redis())

            @turn_due.connect_via(app)
            def wake(sender, account_id, conversation_id):
                queue.enqueue(work, account_id, conversation_id)

            def work(account_id, conversation_id):
                with app.app_context():
                    if chatwoot.work(account_id, conversation_id):
                        queue.enqueue(work, account_id, conversation_id)

        Run ``flask chatwoot work`` beside it: that one makes retries when they are due,
        finds what was not delivered, and takes over what a killed worker has left.

        :return: Whether another turn of the conversation is due now.
        :raises ConfigError: The app is not configured, or for another account.
        :raises DatabaseError: No job could be claimed.
        """
        runtime = current_runtime()
        components = runtime.configured

        if account_id != runtime.config.account_id:
            raise ConfigError(
                f"CHATWOOT_ACCOUNT_ID is {runtime.config.account_id}; the work is for "
                f"account {account_id}. Call work() in the context of its app."
            )

        return components.work(conversation_id)

    @property
    def client(self) -> ChatwootClient:
        """The client for Chatwoot's API, as the current app is configured.

        Threads may share it. Needs an app context. What it posts is this app's, with a
        user's token as well: it is no takeover, and it is recorded in the database
        before it is sent. If that fails, a :class:`.DatabaseError` is raised and
        nothing is sent. A :class:`.ChatwootClient` that the host makes itself has no
        database: what that one posts with a user's token is an operator's.

        :raises ConfigError: The app is not configured. Names the keys to set.
        """
        return current_runtime().configured.host_client

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
        :class:`~flask_chatwoot.Reply`, ``None`` if it has no answer, or
        :class:`~flask_chatwoot.NoReply` if there is to be none. It may be
        ``async``. It runs in an app context, and in several threads at once.

        :param mode: Answer only in this mode, ``"bot"`` or ``"human"``.
        :param inbox_id: Answer only in this Chatwoot inbox. The narrowest match
            answers; an inbox counts as narrower than a mode.
        :raises ProviderError: A wrong signature, another function is registered for
            this mode and inbox, or it is ``async``, and the extra ``async`` is missing.
        """

        def register(function: F) -> F:
            self._providers.add(function, mode=mode, inbox_id=inbox_id)
            return function

        return register if function is None else register(function)

    def completion_provider(self, function: C) -> C:
        """Register the function behind the composer's other AI buttons; returned
        unchanged.

        Chatwoot asks for summaries, for another tone, for labels and the like. The
        function takes the messages of that, Chatwoot's prompt first, and returns text.
        They are what a language model takes, dictionaries with ``role`` and
        ``content``; for type checkers, ``list[ChatCompletionMessageParam]`` of the
        package openai, or ``list[dict[str, typing.Any]]``::

            @chatwoot.completion_provider
            def complete(messages):
                answer = openai.OpenAI().chat.completions.create(
                    model="gpt-4.1-mini", messages=messages, timeout=10
                )
                return answer.choices[0].message.content

        It has 12 seconds; what it returns later is dropped. It may be ``async``. It
        runs in an app context, and in several threads at once.

        :raises ProviderError: It is not a function of one parameter, or one is
            registered already.
        """
        if self._completion is not None:
            raise ProviderError("A completion provider is registered already.")

        completion = checked(function)

        if not _takes_one(function):
            raise ProviderError(
                f"The completion provider {name_of(function)} must take the messages, "
                "and nothing else."
            )

        self._completion = completion

        return function

    def policy(self, function: P) -> P:
        """Register the function that decides who gets an answer; returned unchanged.

        It takes the :class:`~flask_chatwoot.PolicyContext` and returns a
        :class:`~flask_chatwoot.Decision`; a :class:`~flask_chatwoot.Mode` (bot: the
        customer gets it, human: operators); or ``"customer"``, ``"operators"`` or
        ``"nobody"``. It is called before the provider, and again right before each
        post, in several threads at once, so it must be quick. It may call the built-in
        one, :func:`flask_chatwoot.default_policy`. If it raises or returns anything
        else, the answer becomes a note, with the reason ``policy_failed``.

        :raises ConfigError: It is not a function of one parameter, it is ``async``, or
            a policy is registered already.
        """
        if not callable(function):
            raise ConfigError(f"A policy must be a function, not {function!r}.")

        if inspect.iscoroutinefunction(function):
            raise ConfigError(f"The policy {name_of(function)} must not be async.")

        if not _takes_one(function):
            raise ConfigError(
                f"The policy {name_of(function)} must take the context, and nothing "
                "else."
            )

        if self._policy is not None:
            raise ConfigError("A policy is registered already.")

        self._policy = function

        return function


def _takes_one(function: t.Callable[..., t.Any]) -> bool:
    """Whether a function can be called with one argument, as far as it shows that."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one that is written in C
        return True

    try:
        signature.bind(None)
    except TypeError:
        return False

    return True


_databases: weakref.WeakValueDictionary[str, Flask] = weakref.WeakValueDictionary()
"""The databases in use in this process, by the path of the file, or by the address and
the schema."""


def _reserve_database(settings: Config, app: Flask) -> None:
    """Raise if another app of this process uses the database.

    The workers of each would answer the customers of the other.
    """
    if settings.missing:
        return

    place = os.path.realpath(settings.database_path)
    remedy = "file"

    if settings.database_address:
        place = f"{settings.database_url} {settings.database_schema}"
        remedy = "CHATWOOT_DATABASE_SCHEMA"

    if place in _databases:
        gc.collect()  # apps are part of reference cycles

    if place in _databases:
        raise ConfigError(
            f"CHATWOOT_DATABASE_URL names {place!r}, which another app in this process "
            f"uses; give each app a {remedy} of its own."
        )

    _databases[place] = app


_logged: set[str] = set()
"""Sentences about settings that this process has logged."""


def _warn(settings: Config, app: Flask) -> None:
    """Log, once per process, what is missing, unprotected or misspelled."""
    sentences = [*_about_setup(settings), *misspelled([*app.config, *os.environ])]
    new = [each for each in sentences if each not in _logged]
    _logged.update(new)

    if new:
        log.warning("%s", " ".join(new))


def _about_setup(settings: Config) -> t.Iterator[str]:
    unprotected = settings.unprotected

    if settings.missing:
        unprotected = [each for each in unprotected if "/copilot" in each]
        yield (
            f"Chatwoot is not configured: {', '.join(settings.missing)} missing. "
            "Deliveries are acknowledged and ignored (not_configured)."
        )

    if unprotected:
        yield f"Anybody may call {' and '.join(unprotected)}. Set the key."

    if any("/webhook" in each for each in unprotected):
        yield "For Chatwoot before 4.12, which cannot sign, set CHATWOOT_WEBHOOK_TOKEN."
