"""The stores of one database."""

import typing as t
from dataclasses import dataclass

from .database import Database
from .inspection import Inspection
from .jobs import Queue
from .outbox import Outbox
from .reviews import Reviews
from .revisions import Revisions
from .suggestions import Suggestions
from .sweeps import Sweeps
from .transcript import Transcript
from .wakes import Wakes


@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """The stores of one app. Threads share them."""

    database: Database
    queue: Queue
    outbox: Outbox
    transcript: Transcript
    inspection: Inspection
    sweeps: Sweeps
    revisions: Revisions
    wakes: Wakes
    suggestions: Suggestions
    reviews: Reviews

    @classmethod
    def of(cls, database: Database, **timing: float) -> t.Self:
        """The stores of a database. Opens nothing.

        :param timing: ``lease``, ``window`` and ``longest`` of :class:`.Queue`.
        """
        return cls(
            database,
            Queue(database, **timing),
            Outbox(database),
            Transcript(database),
            Inspection(database),
            Sweeps(database),
            Revisions(database),
            Wakes(database),
            Suggestions(database),
            Reviews(database),
        )
