"""The interface between the stores and a database."""

import contextlib
import typing as t

Values = t.Mapping[str, t.Any]


class Rows(t.Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that were written."""

    def fetchone(self) -> t.Any:
        """The next row, or ``None``."""

    def fetchall(self) -> list[t.Any]:
        """The remaining rows."""

    def __iter__(self) -> t.Iterator[t.Any]: ...


class Transaction(t.Protocol):
    """Statements that belong together. They name their values ``:name``."""

    @property
    def now(self) -> float:
        """Unix seconds when the transaction began."""

    def execute(self, sql: str, values: Values | None = None) -> Rows:
        """Run one statement."""

    def executemany(self, sql: str, values: t.Iterable[Values]) -> None:
        """Run a statement that writes once for each of the values."""


class Database(t.Protocol):
    """Keeps the rows of one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.

    :ivar clock: The time, in Unix seconds.
    """

    account_id: int
    clock: t.Callable[[], float]

    def transaction(
        self, *, durable: bool = False
    ) -> contextlib.AbstractContextManager[Transaction]:
        """A block whose writes are committed as a whole, or rolled back.

        :param durable: What is written must survive whatever the configuration
            promises to survive. Other writes may be lost when the power fails; the
            work is then repeated.
        """

    def read(self) -> contextlib.AbstractContextManager[Transaction]:
        """A block that only reads, and does not block writers."""

    def identity(self) -> str:
        """What tells this database from a copy of it."""

    def force(self) -> None:
        """Make durable what this process has written so far."""

    def checkpoint(self) -> None:
        """Do the maintenance that a worker should do about once a second."""

    def close(self) -> None:
        """Close files and connections; the next call opens them again."""


def joined(
    database: Database, tx: Transaction | None, *, durable: bool = False
) -> contextlib.AbstractContextManager[Transaction]:
    """A transaction of the database, or the given one, which its owner commits."""
    if tx is not None:
        return contextlib.nullcontext(tx)

    return database.transaction(durable=durable)
