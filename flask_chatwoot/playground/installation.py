"""Which Chatwoot is simulated, and how the app is connected to it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from flask_chatwoot.simulator.deliveries import Kind
from flask_chatwoot.simulator.payloads import JSON, parse_version

VERSIONS: t.Final = ("4.2.0", "4.9.0", "4.12.1", "4.16.2")
"""What the page offers: releases that differ in what they deliver and accept."""

KINDS: t.Final[t.Mapping[str, Kind]] = {"account": "account", "bot": "bot"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A version, and a way in.

    :ivar kind: ``"account"``: a webhook of the account, and a user's token; ``"bot"``:
        an agent bot with its own, whose conversations begin as *pending*.
    :raises ValueError: The version is none.
    """

    version: str = VERSIONS[-1]
    kind: Kind = "account"

    def __post_init__(self) -> None:
        parse_version(self.version)

    @classmethod
    def of(cls, given: JSON) -> t.Self:
        """Parse what the page sends.

        :raises ValueError: The version or the kind is none.
        """
        kind = KINDS.get(str(given.get("kind")))

        if kind is None:
            raise ValueError(f"kind must be {' or '.join(KINDS)}.")

        return cls(version=str(given.get("version")), kind=kind)
