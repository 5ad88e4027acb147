"""What running servers of Chatwoot sent and answered, and a replay of what they sent.

The people and texts in it were invented and the servers are gone, so the secrets in it
open nothing. Tokens of the API were left out; what is signed is as it came.
"""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

import pytest

from flask_chatwoot import Chatwoot, Turn
from flask_chatwoot.outcomes import TurnOutcome
from flask_chatwoot.payloads import signature
from flask_chatwoot.payloads.fields import Object

from .apps import AppFactory, jobs_of
from .chatwoot import ChatwootStub

RECORDED: t.Final = Path(__file__).parent.parent / "recorded"

Answer = dict[str, t.Any]
"""A request of a client, with ``status``, ``content_type`` and ``answer``."""


def lines(name: str) -> list[dict[str, t.Any]]:
    text = (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8")

    return [json.loads(line) for line in text.splitlines()]


class Recorded(t.NamedTuple):
    """A delivery.

    :ivar action: What was done right before.
    """

    action: str
    path: str
    headers: dict[str, str]
    secret: str | None
    body: str

    @property
    def payload(self) -> dict[str, t.Any]:
        decoded: dict[str, t.Any] = json.loads(self.body)

        return decoded

    @property
    def at(self) -> float:
        """When it came, Unix seconds; before 4.12 about when."""
        payload = self.payload
        changed = payload.get("conversation", payload)["updated_at"]

        return float(self.headers.get(signature.TIMESTAMP_HEADER, changed))


def deliveries(name: str) -> list[Recorded]:
    """In the order of their arrival."""
    return [Recorded(**line) for line in lines(f"deliveries-{name}")]


# -- the replay --------------------------------------------------------------------


class Step(t.NamedTuple):
    """What became of a delivery.

    :ivar outcome: And its reason, if it was ignored.
    :ivar said: What the customer wrote or picked; ``None``: nothing.
    :ivar heard: Who got the answer, and the reason if it was not the customer.
    """

    delivery: Recorded
    conversation_id: int
    outcome: str
    said: str | None
    heard: str


class ChatwootOfRecording(ChatwootStub):
    """The Chatwoot of a recording, as of the delivery that is replayed.

    What the app changes in a conversation is there as well, until the recording itself
    changes it.

    :param looks: Whether the token may read conversations.
    """

    def __init__(self, *, looks: bool) -> None:
        super().__init__()
        self._looks = looks
        self._made: dict[str, tuple[t.Any, t.Any]] = {}
        """What the app has changed: before and after."""
        self._now: dict[str, t.Any] = {}

    def take(self, payload: dict[str, t.Any]) -> bool:
        """Let a delivery's state be the current one.

        :return: Whether it differs from the delivery, which is changed accordingly.
        """
        within = payload.get("conversation", payload)
        same = within["id"] == self._now.get("id")
        self._made = {
            key: made
            for key, made in self._made.items()
            if same and within[key] == made[0]
        }
        within |= {key: after for key, (_, after) in self._made.items()}

        if "message_type" in payload:
            self._keep(payload | {"conversation_id": within["id"]})

        self._now = {**within}
        self.live = self._now if self._looks else None

        return bool(self._made)

    def _show(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        of_this = [m for m in self.messages if m["conversation_id"] == self._now["id"]]
        self._now["last_non_activity_message"] = of_this[-1] if of_this else None

        return super()._show(request)

    def _keep(self, message: dict[str, t.Any]) -> None:
        before = [each["id"] for each in self.messages]

        if message["id"] in before:
            self.messages[before.index(message["id"])] = message
        else:
            self.messages.append(message)

    def _change(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        known = len(self.changes)
        answer = super()._change(request)

        for name, given in self.changes[known:]:
            key = {"toggle_status": "status"}.get(name, name)
            after = given[key]
            before = self._made.get(key, (self._now[key], None))[0]
            self._made[key] = before, after
            self._now[key] = after

        return answer


class Replay:
    """Delivers a recording to an app, which answers every customer.

    :ivar steps: What became of each delivery, in their order.
    """

    def __init__(
        self,
        recording: t.Sequence[Recorded],
        make_app: AppFactory,
        stub: ChatwootOfRecording,
    ) -> None:
        chatwoot = Chatwoot()
        chatwoot.reply_provider(_answer)
        first = recording[0]
        self._app = make_app(
            chatwoot,
            webhook_secret=first.secret,
            webhook_token=None if first.secret else "left-out",
        )
        self._client = self._app.test_client()
        self._stub = stub
        self._texts: dict[int, str] = {}
        self.steps = [self._take(delivery) for delivery in recording]

    def _take(self, delivery: Recorded) -> Step:
        payload, sent = delivery.payload, delivery

        if self._stub.take(payload):
            sent = _signed_anew(delivery, payload)

        known = len(self._stub.attempts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: delivery.at)
            response = self._client.post(
                sent.path, data=sent.body, headers=sent.headers
            )

        answer = response.get_json()
        said = _said(payload)
        posts = self._stub.attempts[known:]

        return Step(
            delivery,
            payload.get("conversation", payload)["id"],
            " ".join(filter(None, [answer["status"], answer.get("reason")])),
            said,
            self._heard(answer, payload["id"], posts) if said else "",
        )

    def _heard(self, answer: Object, message_id: int, posts: list[t.Any]) -> str:
        """Who heard the answer to a message, by its job and by Chatwoot alike."""
        if answer["status"] == "ignored":
            assert posts == []
            return f"nobody: {answer['reason']}"

        job = next(job for job in jobs_of(self._app) if job.message_id == message_id)
        heard = _HEARD.get(job.outcome, "nobody")
        answers = [post for post in posts if f"to {message_id}" in post["content"]]
        assert ["note" if post["private"] else "customer" for post in answers] == (
            [] if heard == "nobody" else [heard]
        )

        return ": ".join(filter(None, [heard, job.reason]))


_HEARD: t.Final[t.Mapping[str | None, str]] = {
    TurnOutcome.REPLIED: "customer",
    TurnOutcome.NOTED: "note",
}


def _answer(text: str, turn: Turn) -> str:
    return f"Answer to {turn.message_id}"


def _said(payload: dict[str, t.Any]) -> str | None:
    if "message_type" not in payload:
        return None

    picked = payload["content_attributes"].get("submitted_values")

    if picked:
        return f"[{picked[0]['title']}]"

    if payload["message_type"] != "incoming":
        return None

    files = payload.get("attachments", ())

    return payload["content"] or " ".join(f"[{file['file_type']}]" for file in files)


def _signed_anew(delivery: Recorded, payload: dict[str, t.Any]) -> Recorded:
    """The delivery as this Chatwoot would have sent it after what the app did."""
    body = json.dumps(payload)
    headers = dict(delivery.headers)

    if delivery.secret:
        headers[signature.SIGNATURE_HEADER] = signature.sign(
            body.encode(),
            secret=delivery.secret,
            timestamp=headers[signature.TIMESTAMP_HEADER],
        )

    return delivery._replace(body=body, headers=headers)
