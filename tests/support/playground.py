"""A client of the playground's server, and of the Chatwoot that it simulates."""

from __future__ import annotations

import json
import time
import typing as t

import requests
from flask import Flask

from .apps import runtime_of

JSON = dict[str, t.Any]

QUESTION: t.Final = "Where is my order?"
OFF: t.Final = {"api": "none", "slow": False, "duplicate": False, "forged": False}
BUTTONS: t.Final = [{"title": "Yes", "value": "yes"}, {"title": "No", "value": "no"}]
ASKED: t.Final[JSON] = {
    "content": "Did that help?",
    "content_type": "input_select",
    "content_attributes": {"items": BUTTONS},
}
"""A message with buttons."""


def call_chatwoot(app: Flask, path: str, **body: t.Any) -> JSON:
    """Call the simulated Chatwoot as the app does."""
    config = runtime_of(app).config
    response = requests.post(
        f"{config.base_url}/api/v1/accounts/{config.account_id}/conversations/{path}",
        json=body,
        headers={"Api-Access-Token": config.api_access_token or ""},
        timeout=10,
    )
    assert response.status_code == 200, response.text

    return t.cast(JSON, response.json() if response.content else {})


def post_picture(app: Flask, content: bytes) -> None:
    """Send a picture in conversation 1, as the app does."""
    config = runtime_of(app).config
    response = requests.post(
        f"{config.base_url}/api/v1/accounts/{config.account_id}/conversations/1/messages",
        files=[("attachments[]", ("lamp.png", content, "image/png"))],
        headers={"Api-Access-Token": config.api_access_token or ""},
        timeout=10,
    )
    assert response.status_code == 200, response.text


class Page:
    """Makes the requests of a browser.

    :ivar known: What the server has sent so far, by name.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.known: JSON = {}
        self._session = requests.Session()
        self._session.trust_env = False
        self._events = self._session.get(f"{address}events", stream=True, timeout=20)
        self._lines = self._events.iter_lines()

    def close(self) -> None:
        self._events.close()
        self._session.close()

    def request(self, method: str, path: str, **how: t.Any) -> requests.Response:
        return self._session.request(method, self.address + path, timeout=10, **how)

    def get(self, path: str) -> JSON:
        return t.cast(JSON, self.request("GET", path).json())

    def post(self, path: str, **body: t.Any) -> JSON:
        response = self.request("POST", path, json=body)
        assert response.status_code == 200, response.text
        return t.cast(JSON, response.json())

    def begin(self, choice: str = "AI agent", *, language: str = "en") -> int:
        """Send the pre-chat form; the id of the conversation."""
        form = {"name": "Ada", "choice": choice, "text": QUESTION, "language": language}
        return t.cast(int, self.post("conversations", **form)["id"])

    def begin_and_wait(self, choice: str = "AI agent") -> int:
        """Send the pre-chat form, and wait for the reply."""
        number = self.begin(choice)
        self.wait_until(lambda: self.replies(number))
        return number

    def talk(self, number: int, path: str, **body: t.Any) -> None:
        self.post(f"conversations/{number}/{path}", **body)

    def faults(self, **switches: t.Any) -> None:
        self.post("faults", **{**OFF, **switches})

    def conversation(self, number: int = 1) -> JSON:
        return t.cast(JSON, self.known.get(f"conversation {number}", {}))

    def messages(self, number: int = 1) -> list[JSON]:
        return t.cast("list[JSON]", self.conversation(number).get("messages", []))

    def replies(self, number: int = 1) -> list[str]:
        messages = self.messages(number)
        return [m["text"] for m in messages if (m["author"], m["private"]) == _REPLY]

    def traffic(self, kind: str | None = None, what: str | None = None) -> list[JSON]:
        """The deliveries and calls in the order in which they began."""
        lines = [self.known[name] for name in self.known if name.startswith("traffic ")]
        lines.sort(key=lambda line: t.cast(float, line["began"]))

        return [
            e for e in lines if kind in (None, e["kind"]) if what in (None, e["what"])
        ]

    def deliveries(self) -> list[JSON]:
        """Those about new messages."""
        return self.traffic("delivery", "message_created")

    def posts(self) -> list[int | None]:
        """The statuses of the attempts to create a message."""
        return [call["status"] for call in self.traffic("call", "create_message")]

    def wait_until(self, predicate: t.Callable[[], t.Any]) -> None:
        """Read the stream until the predicate is true. The stream must not end."""
        deadline = time.monotonic() + 20

        while not predicate():
            # The stream sends an empty update now and then, so this is reached.
            assert time.monotonic() < deadline, self.known
            line = next(self._lines).decode()

            if line.startswith("data: "):
                self.known.update(json.loads(line.removeprefix("data: ")))


_REPLY: t.Final = ("bot", False)
