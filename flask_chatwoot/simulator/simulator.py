"""A simulated Chatwoot on this machine, with real HTTP in both directions.

::

    with Simulator(version="4.16.2") as sim:
        app.config.update(sim.settings())
        sim.connect("http://127.0.0.1:5000/chatwoot/webhook")

        talk = sim.conversation(custom_attributes={"support_mode": "bot"})
        talk.customer_says("Where is my order?")
        sim.wait_until(lambda: talk.replies)

It makes the deliveries that a given version of Chatwoot makes, signed where that
version signs, and answers the part of the Application API that bots use. Faults can be
injected. It listens on loopback, delivers to loopback, keeps everything in memory and
logs nothing. Any thread may use all of it.
"""

from __future__ import annotations

import time
import typing as t
from collections import Counter

from . import payloads
from .api import API, Call, Fault, PlannedFault
from .composer import Completion, Composer, Suggestion
from .deliveries import Delivery, Kind, Signing, WebhookSender, signs
from .kept import Kept
from .payloads import ContactRecord, MessageRecord
from .routes import ENDPOINTS
from .server import Server
from .state import Role, State, StoredConversation, Token
from .talk import Talk

T = t.TypeVar("T")

USER: t.Final = "user"


class Simulator:
    """A Chatwoot installation with one account, on a free port of 127.0.0.1.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    :param delivery_timeout: Seconds to connect, and again to wait for an answer.
    :param retry_pause: Seconds before the retry of a bot's delivery.
    :param message_limit: Messages of a conversation in one minute, after which the API
        refuses another. It does not apply to a :class:`Talk`.
    :param clock: Unix seconds, for messages and for timestamps of deliveries.
    :param suggestion_timeout: Seconds an operator waits for a suggestion.
    :param role: Of the user of the token. An agent who opens a conversation
        through the API gets it assigned, an administrator does not.
    :param kept: What another simulator left, whose place this one takes.
    :ivar user_token: Token of the user.
    :ivar bot_token: Token of the agent bot.
    :ivar secret: The secret with which deliveries are signed.
    :ivar user: The user of ``user_token``.
    :ivar operator: The author of :meth:`Talk.operator_says`.
    :ivar bot: The bot of ``bot_token``.
    :ivar team: The only team.
    :ivar admin: The inboxes, webhooks and bots that were set up through the API.
    """

    def __init__(
        self,
        *,
        version: str = "4.16.2",
        account_id: int = 1,
        delivery_timeout: float = 5.0,
        retry_pause: float = 3.0,
        suggestion_timeout: float = 15.0,
        message_limit: int = 200,
        clock: t.Callable[[], float] = time.time,
        role: Role = "administrator",
        kept: Kept | None = None,
    ) -> None:
        self._state = State(
            version=version, account_id=account_id, clock=clock, role=role
        )
        self._sender = WebhookSender(
            self._state, timeout=delivery_timeout, pause=retry_pause
        )
        self._state.on_event = self._sender.send
        self._api = API(self._state, self._sender, message_limit=message_limit)
        self._server: Server | None = None

        self.admin = self._api.admin
        self._composer = Composer(
            self._state, self.admin.attributes, timeout=suggestion_timeout, pause=0.1
        )
        self._port = self._restore(kept) if kept else 0

        self.version = version
        self.account_id = account_id
        self.user_token = self._state.user_token
        self.bot_token = self._state.bot_token
        self.secret = self._state.secret
        self.user = self._state.user
        self.operator = self._state.operator
        self.bot = self._state.bot
        self.team = self._state.team

    def __repr__(self) -> str:
        where = self.url if self._server else "not started"

        return f"<Simulator of Chatwoot {self.version}, {where}>"

    # Start and stop

    def __enter__(self) -> t.Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start to listen, without blocking. May be repeated."""
        self._server = self._server or Server(self._api.take, self._port)
        self._state.files.base_url = self.url

    def stop(self) -> None:
        """Close all connections, and drop what is not delivered. May be repeated.

        Calls that hang are closed. A delivery under way is not: its thread ends with
        the answer or the timeout.
        """
        server, self._server = self._server, None
        self._state.files.base_url = None
        self._sender.stop()

        if server:
            server.stop()

    def kept(self) -> Kept:
        """What a simulator needs to take the place of this one, which is started."""
        state = self._state

        with state.lock:
            return Kept(
                port=t.cast(Server, self._server).server_port,
                tokens=(state.user_token, state.bot_token, state.secret),
                conversations=dict(state.conversations),
                files=dict(state.files.kept),
                deliveries=self.deliveries,
                calls=self.calls,
                completions=self.completions,
            )

    def _restore(self, kept: Kept) -> int:
        """Take over what was left; the port of the API."""
        self._state.restore(kept.conversations, kept.tokens)
        self._state.files.kept.update(kept.files)
        self._sender.done.extend(kept.deliveries)
        self._api.calls.extend(kept.calls)
        self._composer.done.extend(kept.completions)

        return kept.port

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end.

        :raises RuntimeError: It is not started.
        """
        if self._server is None:
            raise RuntimeError("The simulator is not started.")

        return f"http://127.0.0.1:{self._server.server_port}"

    def settings(self, token: Token = USER) -> dict[str, t.Any]:
        """The settings that connect an app to this simulator, for ``app.config``.

        :param token: ``"user"`` with account webhooks, ``"bot"`` with an agent bot. The
            secret is left out if this version does not sign their deliveries.
        """
        bot = token != USER
        values: dict[str, t.Any] = {
            "CHATWOOT_BASE_URL": self.url,
            "CHATWOOT_ACCOUNT_ID": self.account_id,
            "CHATWOOT_API_ACCESS_TOKEN": self.bot_token if bot else self.user_token,
        }

        if signs("bot" if bot else "account", self._state.version):
            values["CHATWOOT_WEBHOOK_SECRET"] = self.secret

        return values

    @property
    def locale(self) -> str:
        """The account's language, in which operators read, such as ``"pt_BR"``."""
        return self._state.locale

    @locale.setter
    def locale(self, locale: str) -> None:
        with self._state.changing():
            self._state.locale = locale

    # Conversations

    def connect(
        self,
        url: str,
        *,
        kind: Kind = "account",
        events: t.Iterable[str] = ("message_created",),
    ) -> None:
        """Make deliveries to this URL from now on. Can be called for several.

        :param kind: An account webhook; or the outgoing URL of an agent bot, with which
            new conversations start as *pending*.
        :param events: What the account webhook subscribes to, such as
            ``message_updated``, ``conversation_updated`` or
            ``conversation_typing_on``. It does not apply to bots.
        :raises ValueError: The URL is not on this machine, or Chatwoot has no such
            event for account webhooks.
        """
        self._sender.connect(url, kind, events)

    def conversation(
        self,
        *,
        id: int | None = None,
        contact: ContactRecord | None = None,
        inbox_id: int = 3,
        channel: str = "Channel::WebWidget",
        status: str | None = None,
        **fields: t.Any,
    ) -> Talk:
        """Begin a conversation.

        :param id: The display id; ``None``: the next one.
        :param contact: ``None``: a new one.
        :param status: ``None``: ``"resolved"`` if the contact is blocked, else
            ``"pending"`` if a bot is connected, else ``"open"``.
        :param fields: Further fields of :class:`payloads.ConversationRecord`, such as
            ``custom_attributes``.
        :raises ValueError: There is a conversation with this id.
        """
        if status is not None:
            fields["status"] = status

        inbox = payloads.Inbox(id=inbox_id, channel=channel)

        stored = self._state.new_conversation(
            id=id, contact=contact, inbox=inbox, **fields
        )

        return Talk(self._state, stored)

    @property
    def conversations(self) -> list[Talk]:
        """All conversations, in the order in which they began."""
        with self._state.lock:
            return [Talk(self._state, x) for x in self._state.conversations.values()]

    # Deliveries

    @property
    def deliveries(self) -> list[Delivery]:
        """The finished ones, in the order in which they ended; each attempt is one."""
        with self._state.lock:
            return list(self._sender.done)

    def deliver(
        self,
        message: MessageRecord,
        *,
        times: int = 1,
        signing: Signing = "valid",
        age: float = 0.0,
        delivery_id: str | None = None,
    ) -> None:
        """Make the delivery of a stored message again, to all URLs, as it is now.

        :param signing: ``"wrong"``: with another secret; ``"absent"``: not at all.
        :param age: Seconds by which the timestamp is in the past, or if negative
            in the future.
        :param delivery_id: ``None``: a new one each time.
        """
        with self._state.lock:
            stored = self._state.conversation_of[message.id]
            event = self._state.message_event(stored, message)

            for _ in range(times):
                self._sender.send(
                    event, signing=signing, age=age, delivery_id=delivery_id
                )

    def repeat(self, delivery: Delivery) -> None:
        """Make a delivery again, to all URLs: the same body, under the same id.

        It is signed again, in the same way.
        """
        self._sender.repeat(delivery)

    def holding(self) -> t.ContextManager[None]:
        """Hold deliveries until the block ends, then make them in reverse order."""
        return self._sender.holding()

    def losing(
        self, share: float = 1.0, *, seed: int | None = None
    ) -> t.ContextManager[None]:
        """Lose deliveries until the block ends, as if the app were down.

        Chatwoot tries an account webhook once; nothing is delivered later.

        :param share: Which part of them is lost, by chance; 1: all.
        :param seed: For the same choice in each run; ``None``: another one.
        """
        return self._sender.losing(share, seed)

    @property
    def lost(self) -> list[tuple[str, int | None]]:
        """The events that :meth:`losing` kept from the app, with their message ids."""
        with self._state.lock:
            return [(event.name, event.message_id) for event in self._sender.lost]

    def drain(self, timeout: float = 10.0) -> None:
        """Block until no delivery is queued or under way, retries included.

        :param timeout: Seconds.
        :raises TimeoutError: There still is one.
        """
        self.wait_until(lambda: self._sender.under_way == 0, timeout=timeout)

    # The AI buttons of the composer. Each blocks until the operator has an answer.

    def connect_copilot(self, endpoint: str, key: str) -> None:
        """Set what the Super Admin console asks for: the endpoint and its key.

        :param endpoint: The URL before ``/v1/chat/completions``.
        :raises ValueError: It is not on this machine.
        """
        self._composer.connect(endpoint, key)

    def suggest_reply(self, conversation: Talk) -> Suggestion:
        """Press *Suggest a reply*.

        :raises ValueError: There is no endpoint, or this version has no such buttons.
        """
        return self._composer.suggest_reply(self._stored(conversation))

    def summarize(self, conversation: Talk) -> Suggestion:
        """Ask for a summary. Raises what :meth:`suggest_reply` does."""
        return self._composer.summarize(self._stored(conversation))

    def rewrite(
        self,
        text: str,
        operation: str = "improve",
        *,
        conversation: Talk | None = None,
    ) -> Suggestion:
        """Let a text of the operator be written anew.

        :param operation: One of :data:`composer.OPERATIONS`.
        :param conversation: Where it is written; only ``"improve"`` tells its content.
        :raises ValueError: There is no such operation; or as :meth:`suggest_reply`.
        """
        stored = self._stored(conversation) if conversation else None

        return self._composer.rewrite(text, operation, stored)

    def suggest_labels(self, conversation: Talk, labels: t.Iterable[str]) -> Suggestion:
        """Ask which labels fit. Raises what :meth:`suggest_reply` does.

        :param labels: All labels of the account. Without any, and before the third
            message of the customer, Chatwoot does not ask, and the text is ``None``.
        """
        return self._composer.suggest_labels(self._stored(conversation), labels)

    def follow_up(
        self, suggestion: Suggestion, text: str, *, conversation: Talk | None = None
    ) -> Suggestion:
        """Say what is to be changed in a suggestion, as ``"Shorter, please"``.

        Raises what :meth:`suggest_reply` does.
        """
        stored = self._stored(conversation) if conversation else None

        return self._composer.follow_up(suggestion.context, text, stored)

    @property
    def completions(self) -> list[Completion]:
        """The requests of these buttons, in the order in which they ended."""
        with self._state.lock:
            return list(self._composer.done)

    def _stored(self, conversation: Talk) -> StoredConversation:
        with self._state.lock:
            return self._state.conversations[conversation.id]

    # The API

    @property
    def calls(self) -> list[Call]:
        """Requests to the API, in the order they were answered."""
        with self._state.lock:
            return list(self._api.calls)

    def inject(
        self,
        fault: Fault,
        *,
        times: int | None = 1,
        endpoint: str = "create_message",
    ) -> None:
        """Make the next calls of an endpoint fail. Faults queue up.

        :param times: ``None``: until :meth:`clear_faults`.
        :param endpoint: One of :data:`ENDPOINTS`.
        :raises ValueError: There is no such endpoint, or ``times`` is below one.
        """
        if endpoint not in ENDPOINTS:
            raise ValueError(
                f"There is no endpoint {endpoint!r}; use one of {', '.join(ENDPOINTS)}."
            )

        if times is not None and times < 1:
            raise ValueError(f"times must be 1 or more, not {times}.")

        with self._state.lock:
            self._api.faults.append(PlannedFault(Fault(fault), endpoint, times))

    def clear_faults(self) -> None:
        """Inject no further faults. Calls that hang already do not end."""
        with self._state.lock:
            self._api.faults.clear()

    # Waiting

    def wait_until(self, predicate: t.Callable[[], T], timeout: float = 10.0) -> T:
        """Block until the predicate is true; return its value.

        It is called after each change in the simulator, and 20 times a second because
        it may depend on something else. It is called in this thread, without locks.

        :param timeout: Seconds.
        :raises TimeoutError: It did not become true. The message counts
            deliveries, calls and conversations, without their content.
        """
        deadline = time.monotonic() + timeout

        while True:
            seen = self._state.changes

            if result := predicate():
                return result

            left = deadline - time.monotonic()

            if left <= 0:
                raise TimeoutError(f"Not within {timeout:g} s. {self._summary()}")

            self._state.wait(seen, min(left, 0.05))

    def wait_for_change(self, seen: int = -1, timeout: float = 10.0) -> int:
        """Block until something has changed since a number, and return the next number.

        Messages, changes of a conversation, calls and finished deliveries all count.
        No change between two calls is lost if each gets the number of the one before.

        :param seen: The number the last call returned; the default returns at once.
        :param timeout: Seconds.
        :return: The number for the next call; ``seen`` itself when the time was up.
        """
        return self._state.wait(seen, timeout)

    def wake(self) -> None:
        """Let :meth:`wait_for_change` return everywhere, as after a change."""
        with self._state.changing():
            pass

    def _summary(self) -> str:
        with self._state.lock:
            deliveries = _counted(
                f"{d.event} {d.status or d.error}" for d in self.deliveries
            )
            calls = _counted(f"{c.endpoint} {c.status or c.fault}" for c in self.calls)
            talks = ", ".join(
                f"{stored.id} {stored.status} with {len(stored.messages)} messages"
                for stored in self._state.conversations.values()
            )

            return (
                f"Deliveries: {deliveries}; under way: {self._sender.under_way}. "
                f"Calls: {calls}. Conversations: {talks or 'none'}."
            )


def _counted(names: t.Iterable[str]) -> str:
    counts = sorted(Counter(names).items())

    return ", ".join(f"{count} x {name}" for name, count in counts) or "none"
