"""What was said in a conversation, in the form that language models take."""

from __future__ import annotations

import typing as t

Role = t.Literal["user", "assistant"]
"""Who said it: the customer, or whoever answers."""


class HistoryEntry(dict[str, str], t.Any):  # type: ignore[misc]  # on purpose, see below
    """A message as a dictionary: ``{"role": "user" or "assistant", "content": …}``.

    For type checkers it is also a message of any library for models, such as
    ``ChatCompletionMessageParam`` of the package openai. A ``TypedDict`` would not be:
    its items are invariant, and those libraries' may be more than a text.
    """

    if t.TYPE_CHECKING:

        @t.overload
        def __getitem__(self, key: t.Literal["role"], /) -> Role: ...
        @t.overload
        def __getitem__(self, key: str, /) -> str: ...
        def __getitem__(self, key: str, /) -> t.Any: ...


HistoryReader = t.Callable[[int, int], list[HistoryEntry]]
"""Takes the most messages and the most characters wanted."""


def no_history(limit: int, characters: int) -> list[HistoryEntry]:
    """The history where there is no conversation: none."""
    return []
