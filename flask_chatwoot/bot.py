"""One app's runtime: the order of the steps from a delivery to a reply."""

from __future__ import annotations

import logging
import typing as t
from dataclasses import dataclass

from flask import Flask, current_app

from . import events, mode, signals
from .client import ChatwootClient, split
from .config import Config
from .errors import (
    APIError,
    ChatwootError,
    ConfigError,
    NoProviderError,
    PayloadError,
    ProviderError,
    ProviderFailedError,
    UnknownError,
    trace,
)
from .events import MessageEvent
from .failures import passes, pause_after, reason_of
from .inbox import Draft, Inbox, Job
from .mode import Mode
from .outcomes import Outcome, Reason
from .posting import Ending, Poster, TooSoonError, is_post_of
from .replies import Provider, Registry, Reply, Turn, as_reply

KEY: t.Final = "chatwoot"
"""Where the bot lives in ``app.extensions``."""

log = logging.getLogger(__name__)


class Receipt(t.NamedTuple):
    """What became of a delivery."""

    outcome: Outcome
    reason: Reason | None = None


class Backend(t.Protocol):
    """Who runs the jobs of the inbox, and when."""

    def start(self, bot: Bot) -> None:
        """Called with every request this process serves, so it must be cheap."""

    def submit(
        self, bot: Bot, poster: Poster, event: MessageEvent, body: bytes
    ) -> bool:
        """Store a delivery, and see to it that it is handled, now or later.

        :return: ``False`` if it was stored before.
        :raises InboxError: It could not be stored.
        """

    def stop(self) -> None:
        """Finish what runs, within bounds, and give the rest back."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Bot:
    """What one app needs to answer. Threads share it.

    ``poster`` is ``None`` as long as Chatwoot is not configured.
    """

    app: Flask
    config: Config
    providers: Registry
    backend: Backend
    poster: Poster | None

    @classmethod
    def build(
        cls, app: Flask, config: Config, providers: Registry, backend: Backend
    ) -> t.Self:
        """Put a bot together. Opens no file and no connection."""
        return cls(
            app=app,
            config=config,
            providers=providers,
            backend=backend,
            poster=_poster(app, config),
        )

    # -- receiving -------------------------------------------------------------

    def receive(self, body: bytes) -> Receipt:
        """Take in an authentic delivery.

        :raises PayloadError: The body is not one of Chatwoot's.
        :raises InboxError: It could not be stored, and so must not be acknowledged.
        """
        event = events.parse(body)

        if self.poster is None:
            return Receipt(Outcome.IGNORED, Reason.NOT_CONFIGURED)

        if not isinstance(event, MessageEvent):
            return Receipt(Outcome.IGNORED, Reason.OTHER_EVENT)

        reason = event.reason_to_ignore(self.poster.client.account_id)

        if reason is not None:
            _note_echo(self.poster.inbox, event, reason)
            return Receipt(Outcome.IGNORED, reason)

        new = self.backend.submit(self, self.poster, event, body)

        return Receipt(Outcome.ACCEPTED if new else Outcome.DUPLICATE)

    # -- answering -------------------------------------------------------------

    def suggest(self, text: str) -> str | None:
        """What the provider would tell an operator. Posts nothing.

        :raises ProviderError: There is no provider, or its answer is not a reply.
        :raises ProviderFailedError: The provider raised.
        """
        turn = Turn(text=text, mode=Mode.HUMAN)
        provider = self.providers.find(turn.mode, None)

        if provider is None:
            raise NoProviderError("No reply provider is registered for mode human.")

        reply = self._ask(provider, turn)

        return None if reply is None else reply.content

    def handle(
        self, poster: Poster, job: Job, event: MessageEvent | None = None
    ) -> None:
        """Bring a claimed job one attempt further. Blocks for as long as that takes.

        :param event: The job's payload, if it is parsed already.
        :raises InboxError: The inbox failed, or the job is another worker's now.
        """
        try:
            turn = self._turn(poster, event or _message(job))
        except PayloadError:
            poster.inbox.settle(job, Outcome.DEAD, Reason.UNREADABLE)
            log.error("job %s is dead (%s)", job.id, Reason.UNREADABLE)  # noqa: TRY400
            return

        with self.app.app_context():
            ending = self._attempt(poster, job, turn)

            if ending is None:
                return

            if not ending.settled:
                poster.inbox.settle(job, ending.outcome, ending.reason)

            signals.send(
                signals.turn_finished,
                self.app,
                turn=turn,
                outcome=ending.outcome,
                reason=ending.reason,
            )

    def _turn(self, poster: Poster, event: MessageEvent) -> Turn:
        answering = mode.resolve(
            event,
            attribute=self.config.support_mode_attr,
            words=self.config.words,
            default=self.config.default_mode,
        )

        return Turn.of(event, mode=answering, text=_text(poster.client, event))

    def _attempt(self, poster: Poster, job: Job, turn: Turn) -> Ending | None:
        """How the turn ended, or ``None`` if it is not over."""
        try:
            if job.attempts > self.config.max_attempts:
                return _last_look(poster, job)

            return self._answer(poster, job, turn)
        except TooSoonError as error:
            poster.inbox.postpone(job, error.seconds, free=True)
        except (APIError, ProviderError, ProviderFailedError) as error:
            reason = reason_of(error)

            if not self._again(job, error):
                log.error("job %s is dead (%s): %s", job.id, reason, error)  # noqa: TRY400
                return Ending(Outcome.DEAD, reason)

            pause = pause_after(error, job.attempts, self.config.retry_pause)
            poster.inbox.postpone(job, pause)
            log.warning(
                "job %s failed (%s), again in %.0f s: %s", job.id, reason, pause, error
            )

        return None

    def _again(self, job: Job, error: ChatwootError) -> bool:
        """Whether there is another attempt, or at least something left to look for."""
        left = self.config.max_attempts - job.attempts

        return passes(error) and (
            left > 0 or (left == 0 and isinstance(error, UnknownError))
        )

    def _answer(self, poster: Poster, job: Job, turn: Turn) -> Ending:
        drafts: t.Sequence[Draft] = job.drafts

        if not drafts:
            provider = self._provider(turn)

            if provider is None:
                return Ending(Outcome.DECLINED, Reason.NO_PROVIDER)

            reply = self._ask(provider, turn)

            if reply is None:
                return Ending(Outcome.DECLINED, Reason.NO_ANSWER)

            private = reply.is_private(turn.mode)
            parts = [(part, private) for part in split(reply.content)]
            drafts = poster.inbox.keep(job, parts)

        ending = _posted(drafts)

        for draft in drafts[:-1]:
            poster.post(job, turn, draft)

        settled = poster.post(job, turn, drafts[-1], ending=ending)

        return ending._replace(settled=settled)

    def _provider(self, turn: Turn) -> Provider | None:
        if not self.providers:
            raise NoProviderError(
                "No reply provider is registered; decorate a function with "
                "@chatwoot.reply_provider where the app is made."
            )

        return self.providers.find(turn.mode, turn.inbox_id)

    def _ask(self, provider: Provider, turn: Turn) -> Reply | None:
        try:
            function = self.app.ensure_sync(provider.function)
        except RuntimeError as error:  # an "async def", and Flask's extra is missing
            raise ProviderError(str(error)) from None

        try:
            answer = function(*provider.arguments(turn))
        except KeyboardInterrupt:
            raise
        # Whatever the host's code does, sys.exit() and cancelled tasks included.
        except BaseException as error:  # noqa: BLE001
            raise ProviderFailedError(
                f"The reply provider raised {trace(error)}"
            ) from None

        return as_reply(answer)


def current_bot() -> Bot:
    """The bot of the current app.

    :raises ConfigError: The app was never given to the extension.
    """
    try:
        return t.cast(Bot, current_app.extensions[KEY])
    except KeyError:
        raise ConfigError(
            f"The app {current_app.name!r} has no Chatwoot; call "
            "Chatwoot(app), or init_app(app), where the app is made."
        ) from None


def _poster(app: Flask, config: Config) -> Poster | None:
    if not (config.base_url and config.account_id and config.api_access_token):
        return None

    return Poster(
        app=app,
        client=ChatwootClient(
            config.base_url,
            config.account_id,
            config.api_access_token,
            timeout=config.timeout,
        ),
        inbox=Inbox(
            config.inbox_path,
            account_id=config.account_id,
            sync=config.inbox_sync,
            lease=config.lease,
        ),
        settle_time=config.settle_time,
    )


def _message(job: Job) -> MessageEvent:
    event = events.parse(job.payload)

    if not isinstance(event, MessageEvent):
        raise PayloadError("The stored delivery is not a message.")

    return event


def _posted(drafts: t.Sequence[Draft]) -> Ending:
    return Ending(Outcome.NOTED if drafts[0].private else Outcome.REPLIED)


def _last_look(poster: Poster, job: Job) -> Ending:
    """No attempt is left, but the last one may have been obeyed. Sends nothing."""
    missing = [draft for draft in job.drafts if not poster.arrived(job, draft)]

    if job.drafts and not missing:
        return _posted(job.drafts)

    sent = any(draft.sent_at is not None for draft in missing)
    reason = Reason.UNCONFIRMED if sent else Reason.CRASHED
    log.error("job %s is dead (%s)", job.id, reason)

    return Ending(Outcome.DEAD, reason)


def _note_echo(inbox: Inbox, event: MessageEvent, reason: Reason) -> None:
    """Chatwoot tells us of our own posts too: proof that they arrived."""
    if event.type != "outgoing" or reason is Reason.OTHER_ACCOUNT:
        return

    candidates = inbox.under_way(event.conversation_id, message_id=event.message_id)

    for draft in candidates:
        if is_post_of(draft, event.raw):
            inbox.posted(draft, event.message_id)
            return


def _text(client: ChatwootClient, event: MessageEvent) -> str:
    """What the customer typed; asks for the server's version if it must."""
    if not event.rendered:
        return event.text

    try:
        version = client.server_version()
    except APIError as error:
        log.warning("could not tell whether a text was rendered: %s", error)
        return event.text

    return (
        events.unrendered(event.text) if events.renders_content(version) else event.text
    )
