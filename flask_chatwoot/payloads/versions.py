"""Versions of Chatwoot, and the changes in them.

The numbers in parentheses are Chatwoot's pull requests.
"""

import re
import typing as t

Version = tuple[int, int, int]

OLDEST: t.Final[Version] = (4, 2, 0)
NEWEST: t.Final[Version] = (4, 16, 2)
"""The versions whose source this package was compared with."""

BOTS_GIVE_UP: t.Final[Version] = (4, 7, 0)
"""A pending conversation is opened when its bot cannot be reached (12379)."""

KEEPS_MARKERS: t.Final[Version] = (4, 9, 0)
"""All of a message's ``content_attributes`` are stored (12782)."""

RENDERS: t.Final[Version] = (4, 9, 0)
RENDERS_NO_MORE: t.Final[Version] = (4, 12, 1)
"""From the first to before the second, deliveries contain incoming text as HTML
(12878, 13896)."""

SIGNED: t.Final[Version] = (4, 12, 0)
"""Deliveries of account webhooks are signed (13573)."""

BOTS_SIGNED: t.Final[Version] = (4, 13, 0)
"""Deliveries to agent bots and API inboxes are signed (13892)."""

GUARDED: t.Final[Version] = (4, 14, 0)
GUARD_OPENS: t.Final[Version] = (4, 14, 1)
"""Webhooks to private addresses are refused (14155), and a setting permits them
(14548)."""

BOTS_READ: t.Final[Version] = (4, 14, 2)
"""A bot's token may read conversations (14655)."""

NO_BOT_ENDPOINTS: t.Final[Version] = (4, 16, 0)
"""In this version, ``agent_bots`` answers 500 to each request with a token (15088)."""

MERGES: t.Final[Version] = (4, 17, 0)
"""Custom attributes of a conversation can be merged (15119)."""


def parse(text: str) -> Version | None:
    """Return ``"4.16.2"`` as numbers, or ``None`` if the text is no version.

    Anything after the numbers is ignored, and a missing third number is zero.
    """
    # At most four digits each, because int() refuses thousands of digits.
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text)

    if not numbers:
        return None

    major, minor, patch = numbers.groups()

    return int(major), int(minor), int(patch or 0)


def renders_content(text: str) -> bool:
    """Whether deliveries of this server version contain incoming text as HTML."""
    version = parse(text)

    return version is not None and RENDERS <= version < RENDERS_NO_MORE


def keeps_markers(text: str) -> bool:
    """Whether this server version stores the markers of messages."""
    version = parse(text)

    return version is not None and version >= KEEPS_MARKERS


def merges_attributes(text: str) -> bool:
    """Whether this server version supports ``merge`` for attributes.

    The first release with it, after 4.16.2, is not verified, so the caller must check
    the answer as well.
    """
    version = parse(text)

    return version is not None and version >= MERGES
