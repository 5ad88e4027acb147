"""The interface between the stores and a database."""

import contextlib
import time
import typing as t

from .liveness import Processes

Values = t.Mapping[str, t.Any]

_STEP: t.Final = 50
"""Rows that are deleted in one transaction. A delivery waits for it."""

_FOUND: t.Final = 5000
"""Rows that are looked for at once."""


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

    def first_free(self, sql: str, values: Values) -> t.Any:
        """The first row whose conversation no other transaction changes, or ``None``.

        None changes it until this one ends.

        :param sql: Selects ``id, conversation_id`` and more, in order.
        """


Result = t.TypeVar("Result")

Work = t.Callable[[Transaction, bool], Result]
"""Gets whether it was called before, so that what it wrote may be there already."""


class Database(t.Protocol):
    """Keeps the rows of one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.

    :ivar clock: The time, in Unix seconds.
    :ivar processes: Those that share it.
    :ivar floor_for: Seconds for which :class:`~.due.Due` passes over dead rows; 0 where
        there are none.
    """

    account_id: int
    clock: t.Callable[[], float]
    processes: Processes
    floor_for: float

    @property
    def poll(self) -> float:
        """Seconds between looks for what other processes have stored, or what became
        due."""

    def ahead(self) -> float:
        """Seconds by which ``clock`` is ahead of the machine's clock."""

    def transaction(
        self, *, durable: bool = False, conversation_id: int | None = None
    ) -> contextlib.AbstractContextManager[Transaction]:
        """A block whose writes are committed as a whole, or rolled back.

        :param conversation_id: Whose rows no other block with this number changes
            meanwhile; 0: those of the account; ``None``: each statement is right by
            itself.
        :param durable: What is written must survive whatever the configuration
            promises to survive. Other writes may be lost when the power fails; the
            work is then repeated.
        """

    def write(
        self,
        work: Work[Result],
        *,
        durable: bool = False,
        conversation_id: int | None = None,
    ) -> Result:
        """The result of a function that is called in a :meth:`transaction`.

        It is called once more if the connection to the database broke, which may have
        been after the commit.
        """

    def read(self) -> contextlib.AbstractContextManager[Transaction]:
        """A block that reads little, and does not block writers of other processes."""

    def inspect(self) -> contextlib.AbstractContextManager[Transaction]:
        """A block that reads for long. It waits for no writer, and none for it."""

    def identity(self) -> str:
        """What tells this database from a copy of it."""

    def notify(self) -> None:
        """Tell workers of other processes that something was stored. Does not block."""

    def listen(self, callback: t.Callable[[], object]) -> None:
        """Call a function when other processes :meth:`notify`, until :meth:`close`.

        Where nothing tells, workers poll.
        """

    def failover_age(self) -> float | None:
        """Seconds since another server took over, without what was stored last.

        ``None`` if that is not known to have happened.
        """

    def force(self) -> None:
        """Make durable what this process has written so far."""

    def checkpoint(self) -> None:
        """Do the maintenance that a worker should do about once a second."""

    def close(self) -> None:
        """Close files and connections; the next call opens them again."""


def joined(
    database: Database,
    tx: Transaction | None,
    *,
    durable: bool = False,
    conversation_id: int | None = None,
) -> contextlib.AbstractContextManager[Transaction]:
    """A transaction of the database, or the given one, which its owner commits."""
    if tx is not None:
        return contextlib.nullcontext(tx)

    return database.transaction(durable=durable, conversation_id=conversation_id)


def passed(database: Database, since: float) -> float:
    """Seconds that have surely passed since a time that was stored.

    If the clock was set forward, those since then.
    """
    now = database.clock()

    return min(now - since, database.processes.since_set_forward(now))


def execute(
    database: Database,
    sql: str,
    values: Values,
    *,
    durable: bool = False,
    conversation_id: int | None = None,
) -> int:
    """Run a statement that may be repeated, by itself; the number of rows it wrote.

    If the connection broke, those that it wrote when it was repeated.

    :param values: Besides ``now``.
    """
    return database.write(
        lambda tx, _: tx.execute(sql, {**values, "now": tx.now}).rowcount,
        durable=durable,
        conversation_id=conversation_id,
    )


class Deletion(t.NamedTuple):
    """Two statements that delete rows, many or few, without making others wait.

    :ivar find: Selects the columns that ``delete`` needs, of at most ``:limit`` rows.
    :ivar columns: Their names.
    :ivar delete: Deletes one row, if that is still right.
    """

    find: str
    columns: tuple[str, ...]
    delete: str

    def run(
        self, database: Database, values: Values, *, at_most: int | None = None
    ) -> int:
        """Delete what is found; return the number of rows.

        Blocks for long if there are many. Other writers come in between: after each
        step it leaves them as much time as the step took.

        :param values: Of both statements, besides ``now`` and ``account``.
        :param at_most: Rows to delete; ``None``: all.
        """
        total = 0

        while at_most is None or total < at_most:
            limit = _FOUND if at_most is None else min(_FOUND, at_most - total)
            found = self._find(database, {**values, "limit": limit})

            for rows in _in_steps(found):
                started = time.monotonic()
                total += self._delete(database, values, rows)
                time.sleep(time.monotonic() - started)

            if len(found) < limit:
                break

        return total

    def _find(self, database: Database, values: Values) -> list[dict[str, t.Any]]:
        with database.inspect() as tx:
            named = {"account": database.account_id, "now": tx.now, **values}
            rows = tx.execute(self.find, named).fetchall()

        return [dict(zip(self.columns, row, strict=True)) for row in rows]

    def _delete(
        self, database: Database, values: Values, rows: t.Iterable[Values]
    ) -> int:
        with database.transaction() as tx:
            named = {"account": database.account_id, "now": tx.now, **values}

            return sum(
                tx.execute(self.delete, {**named, **row}).rowcount for row in rows
            )


def _in_steps(rows: list[dict[str, t.Any]]) -> t.Iterator[list[dict[str, t.Any]]]:
    for start in range(0, len(rows), _STEP):
        yield rows[start : start + _STEP]
