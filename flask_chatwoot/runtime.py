"""One app's runtime: deliveries in, suggestions out, and what answering needs."""

from __future__ import annotations

import logging
import os
import typing as t
import weakref
from dataclasses import dataclass

from flask import Flask, current_app, request_started

from .client import ChatwootClient
from .config import Config
from .errors import ConfigError, NoProviderError
from .outcomes import DeliveryOutcome, Reason
from .ownership.gate import Gate
from .ownership.mode import Mode
from .ownership.policy import Policy, default_policy
from .ownership.store import Memory, Said
from .payloads import events
from .payloads.events import ConversationEvent, MessageEvent
from .payloads.fields import as_id
from .queue.jobs import Inbox, Job
from .replies import Registry, Turn
from .turns.handoff import Handover
from .turns.history import History
from .turns.posting import Poster, is_post_of
from .turns.service import Answering, ask
from .turns.typing_indicator import Indicator

KEY: t.Final = "chatwoot"
"""Where the bot lives in ``app.extensions``."""

log = logging.getLogger(__name__)


class Receipt(t.NamedTuple):
    """What became of a delivery."""

    outcome: DeliveryOutcome
    reason: Reason | None = None


class Backend(t.Protocol):
    """Who runs the jobs of the inbox, and when."""

    def start(self, bot: Runtime) -> None:
        """Called with the first request this process serves."""

    def submit(
        self, bot: Runtime, poster: Poster, event: MessageEvent, body: bytes
    ) -> bool:
        """Store a delivery, and see to it that it is handled, now or later.

        :return: ``False`` if it was stored before.
        :raises DatabaseError: It could not be stored.
        """

    def stop(self) -> None:
        """Finish what runs, within bounds, and give the rest back."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Runtime:
    """What one app needs to answer. Threads share it.

    ``poster`` and ``answering`` are ``None`` as long as Chatwoot is not configured.
    """

    app: Flask
    config: Config
    providers: Registry
    policy: Policy
    backend: Backend
    poster: Poster | None
    answering: Answering | None

    @classmethod
    def build(
        cls,
        app: Flask,
        config: Config,
        providers: Registry,
        backend: Backend,
        policy: Policy = default_policy,
    ) -> t.Self:
        """Put a bot together. Opens no file and no connection."""
        answering = (
            None if config.missing else _answering(app, config, providers, policy)
        )

        return cls(
            app=app,
            config=config,
            providers=providers,
            policy=policy,
            backend=backend,
            poster=answering.poster if answering else None,
            answering=answering,
        )

    @property
    def configured(self) -> Answering:
        """What answers.

        :raises ConfigError: Chatwoot is not configured.
        """
        if self.answering is None:
            raise not_configured(self.config)

        return self.answering

    def await_request(self) -> None:
        """Start the backend with the next request; those after it cost nothing."""
        request_started.connect(self._start, self.app)
        _bots.add(self)

    def _start(self, app: Flask, **_: object) -> None:
        if app.extensions[KEY] is self:  # and no rehearsal is on
            request_started.disconnect(self._start)
            self.backend.start(self)

    # -- receiving -------------------------------------------------------------

    def receive(self, body: bytes) -> Receipt:
        """Take in an authentic delivery.

        :raises PayloadError: The body is not one of Chatwoot's.
        :raises DatabaseError: It could not be stored, and so must not be acknowledged.
        """
        event = events.parse(body)

        if self.answering is None:
            return Receipt(DeliveryOutcome.IGNORED, Reason.NOT_CONFIGURED)

        if isinstance(event, ConversationEvent):
            return self._receive_state(self.answering, event)

        if not isinstance(event, MessageEvent):
            return Receipt(DeliveryOutcome.IGNORED, Reason.OTHER_EVENT)

        reason = event.reason_to_ignore(self.config.account_id or 0)

        if reason is not Reason.OTHER_ACCOUNT and self._is_elsewhere(event.inbox_id):
            reason = Reason.OTHER_INBOX

        if reason is None:
            return self._submit(self.answering, event, body)

        if reason in (Reason.OUTGOING, Reason.PRIVATE) and event.type == "outgoing":
            return self._receive_outgoing(self.answering, event, body, reason)

        return Receipt(DeliveryOutcome.IGNORED, reason)

    def _is_elsewhere(self, inbox_id: int | None) -> bool:
        return bool(self.config.inboxes) and inbox_id not in self.config.inboxes

    def _submit(
        self, answering: Answering, event: MessageEvent, body: bytes
    ) -> Receipt:
        new = self.backend.submit(self, answering.poster, event, body)

        return Receipt(DeliveryOutcome.ACCEPTED if new else DeliveryOutcome.DUPLICATE)

    def _receive_outgoing(
        self, answering: Answering, event: MessageEvent, body: bytes, reason: Reason
    ) -> Receipt:
        """Our own posts come back too; the others are those of people and machines."""
        _note_echo(answering.inbox, event)

        if not event.private:
            said = Said(event.message_id, "assistant", event.text)
            answering.history.note(event.conversation_id, [said])

        taken = answering.gate.note_message(event)

        if taken and answering.gate.resolve(event.raw) is Mode.BOT:
            return self._submit(answering, event, body)

        return Receipt(DeliveryOutcome.IGNORED, reason)

    def _receive_state(self, answering: Answering, event: ConversationEvent) -> Receipt:
        inbox_id = as_id(event.raw.get("inbox_id"))

        # Before 4.14.2 Chatwoot does not say which account it is.
        if event.account_id not in (None, self.config.account_id):
            return Receipt(DeliveryOutcome.IGNORED, Reason.OTHER_ACCOUNT)

        if self._is_elsewhere(inbox_id):
            return Receipt(DeliveryOutcome.IGNORED, Reason.OTHER_INBOX)

        answering.gate.note_conversation(event)

        return Receipt(DeliveryOutcome.IGNORED, Reason.CONVERSATION)

    # -- answering -------------------------------------------------------------

    def handle(self, job: Job, event: MessageEvent | None = None) -> None:
        """Bring a claimed job one attempt further; see :meth:`Answering.handle`."""
        if self.answering is not None:
            self.answering.handle(job, event)

    def suggest(self, text: str, mode: Mode = Mode.HUMAN) -> str | None:
        """What the provider would say. Posts nothing.

        :raises ProviderError: There is no provider, or its answer is not a reply.
        :raises ProviderFailedError: The provider raised.
        """
        turn = Turn(text=text, mode=mode)
        provider = self.providers.find(turn.mode, None)

        if provider is None:
            raise NoProviderError(f"No reply provider is registered for mode {mode}.")

        answer = ask(self.app, provider, turn)
        said = [reply.content for reply in answer.replies] if answer else []

        return "\n\n".join(text for text in said if text.strip()) or None


_bots: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _after_fork() -> None:
    for bot in list(_bots):
        bot.await_request()  # the backend's threads did not come along


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def current_runtime(*, keep_errors: bool = False) -> Runtime:
    """The runtime of the current app.

    :param keep_errors: The caller needs no configuration.
    :raises ConfigError: The app was never given to the extension, or has wrong
        settings, which the ``flask`` command line keeps until here.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    try:
        runtime: Runtime = app.extensions[KEY]
    except KeyError:
        raise ConfigError(
            f"The app {app.name!r} has no Chatwoot; call "
            "Chatwoot(app), or init_app(app), where the app is made."
        ) from None

    # In front of a simulator the app has another configuration, which is whole.
    if runtime.answering is None and runtime.config.errors and not keep_errors:
        raise ConfigError("\n".join(runtime.config.errors))

    return runtime


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


def _answering(
    app: Flask, config: Config, providers: Registry, policy: Policy
) -> Answering:
    """All that works together on the jobs of a configured app."""
    client = client_of(config)
    user = config.user_access_token
    reader = client_of(config, user) if user else client
    inbox = Inbox(
        config.database_path,
        account_id=client.account_id,
        sync=config.database_sync,
        lease=config.lease,
        window=config.burst_window,
        longest=config.burst_max,
    )
    memory = Memory(inbox)
    gate = Gate(config=config, policy=policy, reader=reader, inbox=inbox, memory=memory)

    return Answering(
        app=app,
        config=config,
        providers=providers,
        poster=Poster(
            app=app,
            client=client,
            reader=reader,
            inbox=inbox,
            settle_time=config.settle_time,
        ),
        gate=gate,
        memory=memory,
        history=History(reader=reader, memory=memory),
        handover=Handover(config=config, client=client, gate=gate, memory=memory),
        indicator=Indicator(client, wanted=config.typing),
    )


def _note_echo(inbox: Inbox, event: MessageEvent) -> None:
    """Chatwoot tells us of our own posts too: proof that they arrived."""
    candidates = inbox.under_way(event.conversation_id, message_id=event.message_id)

    for draft in candidates:
        if is_post_of(draft, event.raw):
            inbox.posted(draft, event.message_id)
            return
