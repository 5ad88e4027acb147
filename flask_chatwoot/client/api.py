"""The client of one account's API."""

from __future__ import annotations

import json
import threading
import typing as t

from urllib3 import exceptions as urllib3_errors

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.payloads.conversation import (
    ChatwootMessage,
    Conversation,
    conversation_from,
    message_from,
)
from flask_chatwoot.payloads.fields import (
    MARKER,
    Object,
    Upload,
    as_id,
    as_object,
    as_seconds,
)
from flask_chatwoot.payloads.liquid import escape

from .answers import Request, no_answer, not_chatwoot, read
from .connections import LONGEST_ANSWER, Session, call_within


class ChatwootClient(Forkable):
    """Calls the API of one Chatwoot account with one token.

    Threads may share it; each has its own pooled connections. Every method blocks
    until Chatwoot answers and raises an :class:`~flask_chatwoot.errors.APIError`:
    transient, permanent or unknown. The client follows no redirect, so it sends the
    token to ``base_url`` only. It repeats nothing but a read on a kept connection that
    turns out to be cut; whatever changes something gets a new one, or one that was in
    use a moment ago.

    What it posts with a user's token is an operator's for apps that get the delivery,
    and takes a conversation over. What ``chatwoot.client`` posts is not: that client
    marks its messages, and records them in the database of its app.

    :param base_url: ``https://chatwoot.example.com``.
    :param api_access_token: The token of a user or an agent bot.
    :param timeout: Seconds that one request may take in all, its answer included.
    :param token_key: The setting that the token is from, which errors name.
    """

    def __init__(
        self,
        base_url: str,
        account_id: int,
        api_access_token: str,
        timeout: float = 10.0,
        *,
        token_key: str = "CHATWOOT_API_ACCESS_TOKEN",  # noqa: S107 - a setting's name
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.account_id = account_id
        self.timeout = timeout
        self._token = api_access_token
        self._token_key = token_key
        self._local = threading.local()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """Open new connections; those in use are the parent's."""
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"<ChatwootClient {self.base_url} account {self.account_id}>"

    # -- messages --------------------------------------------------------------

    def create_message(
        self,
        conversation_id: int,
        content: str,
        *,
        marker: str | None = None,
        choices: t.Sequence[tuple[str, str]] = (),
        files: t.Sequence[Upload] = (),
    ) -> int:
        """Create a message to the customer; return its id.

        :param conversation_id: The number in the conversation's URL.
        :param content: The text. Liquid in it is escaped, so that Chatwoot shows it
            unchanged. Chatwoot refuses a text that is too long; see :func:`split`.
        :param marker: Stored with the message by Chatwoot 4.9 and later. A message with
            one is not taken for an operator's.
        :param choices: Titles and values that the customer can select.
        """
        return self._create(conversation_id, content, marker, files, choices=choices)

    def create_note(
        self,
        conversation_id: int,
        content: str,
        *,
        marker: str | None = None,
        files: t.Sequence[Upload] = (),
    ) -> int:
        """Create a note, like :meth:`create_message`. Only operators see it.

        ``[@Ada](mention://user/7/Ada)`` in it notifies that operator. Pass no text of a
        customer on without removing such links: the notes of turns have none.
        """
        return self._create(conversation_id, content, marker, files, private=True)

    def messages(
        self,
        conversation_id: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> list[ChatwootMessage]:
        """Return messages of a conversation, oldest first. Needs a user's token.

        Without bounds these are the last 20; with ``before``, the 20 messages before
        that id; with ``after``, the next 100; with both, up to 1000 from ``after`` on,
        that one included (Chatwoot's ``app/finders/message_finder.rb``).
        """
        request = Request("GET", self._path(conversation_id) + "/messages")
        bounds = {"after": after, "before": before}
        listed = self._request(request, params=bounds).get("payload")

        if not isinstance(listed, list):
            raise not_chatwoot(request)

        return [message for each in listed if (message := message_from(each))]

    def conversation(self, conversation_id: int) -> Conversation:
        """Return a conversation. A bot's token needs Chatwoot 4.14.2 or later."""
        request = Request("GET", self._path(conversation_id))
        found = conversation_from(self._request(request))

        if not found.id:
            raise not_chatwoot(request)

        return found

    def profile(self) -> dict[str, t.Any]:
        """Return the profile of the token's user, without the secrets in it.

        Chatwoot answers 401 to a bot's token.
        """
        profile = self._request(Request("GET", "/api/v1/profile"))

        return {k: v for k, v in profile.items() if k not in _PROFILE_SECRETS}

    def server_version(self) -> str:
        """Return Chatwoot's version, such as ``"4.16.2"``. Needs no token."""
        request = Request("GET", "/api")
        version = self._request(request).get("version")

        if not isinstance(version, str):
            raise not_chatwoot(request)

        return version

    def server_time(self) -> float | None:
        """Return Chatwoot's time, Unix seconds; ``None`` if it does not say."""
        return as_seconds(self._request(Request("GET", "/api")).get("timestamp"))

    # -- the state of a conversation ----------------------------------------------

    def set_custom_attributes(
        self, conversation_id: int, values: Object, *, merge: bool = False
    ) -> Object:
        """Write a conversation's custom attributes; return the resulting ones.

        :param values: All attributes, because Chatwoot replaces the whole object.
        :param merge: Replace only the given keys. Chatwoot ignores this parameter
            before pull request 15119 (after 4.16.2).
        """
        body: dict[str, t.Any] = {"custom_attributes": dict(values)}
        body |= {"merge": True} if merge else {}
        answer = self._change(conversation_id, "custom_attributes", body)
        written: Object = answer["custom_attributes"]

        return written

    def toggle_status(self, conversation_id: int, status: str) -> None:
        """Set the status: ``open``, ``pending``, ``resolved`` or ``snoozed``."""
        body = {"status": status}
        self._change(conversation_id, "toggle_status", body, answer="payload")

    def toggle_typing_status(self, conversation_id: int, *, on: bool) -> None:
        """Show the customer a typing indicator for at most 30 s, or remove it.

        A bot's token needs Chatwoot 4.12 or later.
        """
        status = {"typing_status": "on" if on else "off"}
        request = Request("POST", f"{self._path(conversation_id)}/toggle_typing_status")
        self._request(request, status, anything=True)

    def assign(
        self,
        conversation_id: int,
        *,
        assignee_id: int | None = None,
        team_id: int | None = None,
    ) -> None:
        """Assign an operator or a team. An unknown id removes the assignment."""
        team = assignee_id is None
        who = {"team_id": team_id} if team else {"assignee_id": assignee_id}
        request = Request("POST", f"{self._path(conversation_id)}/assignments")
        assigned = self._request(request, who, anything=True)

        # Chatwoot shows who it is, and null for nobody.
        if assigned is not None and as_id(as_object(assigned).get("id")) is None:
            raise not_chatwoot(request)

    def _change(
        self, conversation_id: int, name: str, body: Object, *, answer: str = ""
    ) -> Object:
        """Change something, which Chatwoot confirms with an object of some name.

        A page of a proxy must not pass for that.
        """
        request = Request("POST", f"{self._path(conversation_id)}/{name}")
        found: Object = self._request(request, body)

        if not isinstance(found.get(answer or name), dict):
            raise not_chatwoot(request)

        return found

    def call(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        params: t.Mapping[str, t.Any] | None = None,
        timeout: float | None = None,
        limit: int = LONGEST_ANSWER,
    ) -> t.Any:
        """Call any other endpoint of the account.

        :param path: What follows ``/api/v1/accounts/<id>``; begins with a slash.
        :param body: Sent as JSON.
        :param params: Query parameters; those with the value ``None`` are not sent.
        :param timeout: Seconds in all; ``None`` means those of the client.
        :param limit: Bytes of the answer.
        :return: The decoded JSON, or ``None`` if the answer is empty.
        """
        path = f"/api/v1/accounts/{self.account_id}{path}"

        return self._request(
            Request(method, path, creates=method != "GET"),
            body,
            params=params,
            anything=True,
            timeout=timeout,
            limit=limit,
        )

    def _create(
        self,
        conversation_id: int,
        content: str,
        marker: str | None,
        files: t.Sequence[Upload],
        *,
        choices: t.Sequence[tuple[str, str]] = (),
        private: bool = False,
    ) -> int:
        message: dict[str, t.Any] = {"content": escape(content), "private": private}
        attributes: dict[str, t.Any] = {} if marker is None else {MARKER: marker}

        if choices:
            message["content_type"] = "input_select"
            attributes["items"] = [{"title": a, "value": b} for a, b in choices]

        if attributes:
            message["content_attributes"] = attributes

        path = self._path(conversation_id) + "/messages"
        request = Request("POST", path, creates=True)
        message_id = as_id(self._request(request, message, files=files).get("id"))

        if message_id is None:
            raise not_chatwoot(request)

        return message_id

    def _path(self, conversation_id: int) -> str:
        return f"/api/v1/accounts/{self.account_id}/conversations/{conversation_id}"

    def _request(
        self,
        request: Request,
        body: Object | None = None,
        *,
        params: t.Mapping[str, t.Any] | None = None,
        files: t.Sequence[Upload] = (),
        anything: bool = False,
        timeout: float | None = None,
        limit: int = LONGEST_ANSWER,
    ) -> t.Any:
        headers, content = _encoded(body, form=bool(files))

        with call_within(self.timeout if timeout is None else timeout) as call:
            try:
                answer = self._session().fetch(
                    call,
                    request.method,
                    self.base_url + request.path,
                    limit=limit,
                    params=params,
                    data=content,
                    headers=headers,
                    files=[("attachments[]", file) for file in files] or None,
                )
            except (OSError, ValueError, urllib3_errors.HTTPError) as error:
                raise no_answer(error, request, call, self.base_url) from None

        return read(answer, request, anything=anything, token_key=self._token_key)

    def _session(self) -> Session:
        """Return the connections of this thread."""
        session: Session | None = getattr(self._local, "session", None)

        if session is None:
            session = self._local.session = Session(self.base_url)
            # Chatwoot documents the name with underscores, which nginx drops.
            session.headers["Api-Access-Token"] = self._token
            session.headers["Accept"] = "application/json"
            session.headers["User-Agent"] = "Flask-Chatwoot"

        return session


_PROFILE_SECRETS: t.Final = ("access_token", "pubsub_token", "hmac_identifier")


def _encoded(body: Object | None, *, form: bool) -> tuple[dict[str, str], t.Any]:
    """Return headers and content. In a form, objects are encoded as JSON."""
    if body is None:
        return {}, None

    if not form:
        return {"Content-Type": "application/json"}, json.dumps(body).encode()

    return {}, {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in body.items()
    }
