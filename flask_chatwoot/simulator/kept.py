"""What a simulator leaves to another, which goes on in its place in a new process."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .api import Call
from .composer import Completion
from .deliveries import Delivery
from .files import File
from .state import StoredConversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Records and lists, which can be pickled. Settings and webhooks are not kept.

    :ivar port: Of the API: the URLs of files stay valid.
    :ivar tokens: Of the user and of the bot, and the secret of the deliveries.
    """

    port: int
    tokens: tuple[str, str, str] = field(repr=False)
    conversations: t.Mapping[int, StoredConversation]
    files: t.Mapping[str, File] = field(repr=False)
    deliveries: t.Sequence[Delivery]
    calls: t.Sequence[Call]
    completions: t.Sequence[Completion]
