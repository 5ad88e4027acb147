"""What else may answer in the inboxes of a simulated Chatwoot: Dialogflow and Captain.

They only show in the settings: neither writes. An endpoint is a row in
``routes.INTEGRATIONS`` and a method of :class:`Integrations` with the same name and a
leading underscore.
"""

from __future__ import annotations

import itertools
import typing as t

from .payloads import JSON
from .refusals import RefusedError, found
from .webhooks import Answer


class Integrations:
    """Answers for one account. Called under the state's lock.

    :param inboxes: The rows of the inboxes, by id.
    :ivar dialogflow: Ids of the inboxes that Dialogflow answers in.
    :ivar captain: Name of an assistant to the ids of its inboxes; empty as in the
        community edition, which has no such endpoint.
    """

    def __init__(self, inboxes: t.Mapping[int, JSON], *, account_id: int) -> None:
        self._inboxes = inboxes
        self._account_id = account_id
        self.dialogflow: list[int] = []
        self.captain: dict[str, list[int]] = {}

    def answer(self, name: str, **ids: int) -> Answer:
        """Status and body; any member of the account may ask.

        :param name: One of ``routes.INTEGRATIONS``.
        :raises RefusedError: The answer is an error.
        """
        answer: Answer = getattr(self, f"_{name}")(**ids)

        return answer

    def _dialogflow(self) -> Answer:
        """See ``app/views/api/v1/models/_app.json.jbuilder``."""
        return 200, {
            "id": "dialogflow",
            "name": "Dialogflow",
            "enabled": True,
            "hook_type": "inbox",
            "allow_multiple_hooks": True,
            "hooks": [
                {
                    "id": number,
                    "app_id": "dialogflow",
                    "status": True,
                    "inbox": {key: self._inboxes[id][key] for key in ("id", "name")},
                    "account_id": self._account_id,
                    "hook_type": "inbox",
                }
                for number, id in enumerate(self.dialogflow, 1)
            ],
        }

    def _captain_assistants(self) -> Answer:
        """See ``enterprise/app/views/api/v1/accounts/captain/assistants``."""
        if not self.captain:
            raise RefusedError(404)

        rows = [{"id": id, "name": name} for id, (name, _) in self._assistants.items()]
        meta = {"total_count": len(rows), "page": 1}

        return 200, {"payload": rows, "meta": meta}

    def _captain_inboxes(self, id: int) -> Answer:
        assistants = {
            key: {"inboxes": ids} for key, (_, ids) in self._assistants.items()
        }
        ids = found(assistants, id)["inboxes"]

        return 200, {"payload": [self._inboxes[each] for each in ids]}

    @property
    def _assistants(self) -> dict[int, tuple[str, list[int]]]:
        return dict(zip(itertools.count(1), self.captain.items()))
