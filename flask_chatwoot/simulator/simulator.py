"""A local stand-in for Chatwoot that speaks real HTTP both ways.

::

    with Simulator(version="4.16.2") as sim:
        app.config.update(sim.settings())
        sim.connect("http://127.0.0.1:5000/chatwoot/webhook")

        talk = sim.conversation(custom_attributes={"support_mode": "bot"})
        talk.customer_says("Where is my order?")
        sim.wait_until(lambda: talk.replies)

It makes the deliveries a given version of Chatwoot would make, signed where that
version signs, and answers the part of the Application API that bots use. It can be told
to fail. It listens on loopback, delivers to loopback, keeps everything in memory and
logs nothing. All of it may be used from any thread.
"""

from __future__ import annotations

import time
import typing as t
from collections import Counter

from . import payloads
from .api import API, ENDPOINTS, Call, Fault, Plan
from .deliveries import Delivery, Kind, Post, Signing, signs
from .payloads import Contact, Message
from .server import Server
from .state import Role, State, Talk, Token

T = t.TypeVar("T")

USER: t.Final = "user"


class Simulator:
    """A Chatwoot installation with one account, on a free port of 127.0.0.1.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    :param delivery_timeout: Seconds to connect, and again to wait for an answer.
    :param retry_pause: Seconds before a bot's delivery is repeated.
    :param message_limit: Messages a conversation may have had in the last minute for
        the API to take another. Does not bind a :class:`Talk`.
    :param clock: Unix seconds, for messages and for timestamps of deliveries.
    :param role: Of the user whose token there is. An agent who opens a conversation
        through the API gets it assigned, an administrator does not.
    :ivar user_token: Token of the user, an administrator unless told.
    :ivar bot_token: Token of the agent bot.
    :ivar secret: What deliveries are signed with.
    :ivar user: Whom the user token belongs to.
    :ivar operator: The person who writes in :meth:`Talk.operator_says`.
    :ivar bot: Whom the bot token belongs to.
    :ivar team: The only team.
    :ivar office: What was set up through the API: inboxes, webhooks, bots.
    """

    def __init__(
        self,
        *,
        version: str = "4.16.2",
        account_id: int = 1,
        delivery_timeout: float = 5.0,
        retry_pause: float = 3.0,
        message_limit: int = 200,
        clock: t.Callable[[], float] = time.time,
        role: Role = "administrator",
    ) -> None:
        self._state = State(
            version=version, account_id=account_id, clock=clock, role=role
        )
        self._post = Post(self._state, timeout=delivery_timeout, pause=retry_pause)
        self._state.on_notice = self._post.send
        self._api = API(self._state, self._post, message_limit=message_limit)
        self._server: Server | None = None

        self.office = self._api.office
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

    # Coming and going

    def __enter__(self) -> t.Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, without blocking. Safe to repeat."""
        self._server = self._server or Server(self._api.take)
        self._state.files.base_url = self.url

    def stop(self) -> None:
        """Close all connections and drop what was not delivered. Safe to repeat.

        Calls that hang are cut off. A delivery under way is left to itself: its thread
        ends with the answer or the timeout.
        """
        server, self._server = self._server, None
        self._state.files.base_url = None
        self._post.stop()

        if server:
            server.stop()

    @property
    def url(self) -> str:
        """Without a slash at the end.

        :raises RuntimeError: It is not started.
        """
        if self._server is None:
            raise RuntimeError("The simulator is not started.")

        return f"http://127.0.0.1:{self._server.server_port}"

    def settings(self, token: Token = USER) -> dict[str, t.Any]:
        """What ``app.config`` needs to work with this simulator.

        :param token: Whose. It also says which deliveries are meant, account webhooks
            or those of bots: the secret is left out where this version does not sign.
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

    # Conversations

    def connect(
        self,
        url: str,
        *,
        kind: Kind = "account",
        events: t.Iterable[str] = ("message_created",),
    ) -> None:
        """Make deliveries to this URL from now on. May be called for several.

        :param kind: An account webhook; or the outgoing URL of an agent bot, with which
            new conversations start as *pending*.
        :param events: What the account webhook subscribes to, such as
            ``message_updated``, ``conversation_updated`` or
            ``conversation_typing_on``. Bots can not choose.
        :raises ValueError: The URL does not lead to this machine, or Chatwoot has no
            such event for account webhooks.
        """
        self._post.connect(url, kind, events)

    def conversation(
        self,
        *,
        id: int | None = None,
        contact: Contact | None = None,
        inbox_id: int = 3,
        channel: str = "Channel::WebWidget",
        status: str | None = None,
        **fields: t.Any,
    ) -> Talk:
        """Begin a conversation.

        :param id: The display id; ``None``: the next one.
        :param contact: ``None``: somebody new.
        :param status: ``None``: ``"resolved"`` if the contact is blocked, else
            ``"pending"`` if a bot is connected, else ``"open"``.
        :param fields: Further fields of :class:`payloads.Conversation`, such as
            ``custom_attributes``.
        :raises ValueError: There is a conversation with this id.
        """
        if status is not None:
            fields["status"] = status

        inbox = payloads.Inbox(id=inbox_id, channel=channel)

        return self._state.new_talk(id=id, contact=contact, inbox=inbox, **fields)

    # Deliveries

    @property
    def deliveries(self) -> list[Delivery]:
        """Those that are finished, in that order; each attempt on its own."""
        with self._state.lock:
            return list(self._post.done)

    def deliver(
        self,
        message: Message,
        *,
        times: int = 1,
        signing: Signing = "valid",
        age: float = 0.0,
        delivery_id: str | None = None,
    ) -> None:
        """Make the delivery of a stored message again, to all URLs, as it is now.

        :param signing: ``"wrong"``: with another secret; ``"absent"``: not at all.
        :param age: Seconds the timestamp lies back; below zero, ahead.
        :param delivery_id: ``None``: a new one each time.
        """
        with self._state.lock:
            talk = self._state.talk_of[message.id]
            notice = self._state.message_notice(talk, message)

            for _ in range(times):
                self._post.send(
                    notice, signing=signing, age=age, delivery_id=delivery_id
                )

    def repeat(self, delivery: Delivery) -> None:
        """Make a delivery again, to all URLs: the same body, under the same id.

        It is signed anew, but no better than it was.
        """
        self._post.repeat(delivery)

    def holding(self) -> t.ContextManager[None]:
        """Hold deliveries back inside; on leaving they go out in reverse order."""
        return self._post.holding()

    def drain(self, timeout: float = 10.0) -> None:
        """Block until no delivery is queued or under way, repeats included.

        :raises TimeoutError: There still is.
        """
        self.wait_until(lambda: self._post.under_way == 0, timeout=timeout)

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
        """Let the next calls of an endpoint go wrong. Faults queue up.

        :param times: ``None``: until :meth:`clear_faults`.
        :param endpoint: One of :data:`ENDPOINTS`.
        :raises ValueError: There is no such endpoint, or ``times`` is below one.
        """
        if endpoint not in ENDPOINTS:
            raise ValueError(f"{endpoint!r} is none of {', '.join(ENDPOINTS)}.")

        if times is not None and times < 1:
            raise ValueError(f"times must be 1 or more, not {times}.")

        with self._state.lock:
            self._api.plans.append(Plan(Fault(fault), endpoint, times))

    def clear_faults(self) -> None:
        """Do everything right again. Calls that hang go on hanging."""
        with self._state.lock:
            self._api.plans.clear()

    # Waiting

    def wait_until(self, predicate: t.Callable[[], T], timeout: float = 10.0) -> T:
        """Block until the predicate is true; return what it said.

        It is asked again whenever something changes here, and 20 times a second in case
        it looks at something else. It runs in this thread, without locks.

        :raises TimeoutError: It was not. The text says what there is, without content.
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
        """Block until something has happened here since a number, and return the next.

        Messages, changes of a conversation, calls and finished deliveries all count.
        Nothing is lost between two waits, as long as what came back is handed in.

        :param seen: What the last call returned; unless told, it returns at once.
        :return: To be handed in next time; ``seen`` itself when the time was up.
        """
        return self._state.wait(seen, timeout)

    def _summary(self) -> str:
        with self._state.lock:
            deliveries = _counted(
                f"{d.event} {d.status or d.error}" for d in self.deliveries
            )
            calls = _counted(f"{c.endpoint} {c.status or c.fault}" for c in self.calls)
            talks = ", ".join(
                f"{talk.id} {talk.status} with {len(talk.messages)} messages"
                for talk in self._state.talks.values()
            )

            return (
                f"Deliveries: {deliveries}; under way: {self._post.under_way}. "
                f"Calls: {calls}. Conversations: {talks or 'none'}."
            )


def _counted(names: t.Iterable[str]) -> str:
    counts = sorted(Counter(names).items())

    return ", ".join(f"{count} x {name}" for name, count in counts) or "none"
