"""PostgreSQL as the database of the stores.

Transactions run in ``READ COMMITTED``. One that changes what belongs to a conversation
holds the lock of that conversation from its first statement on; what it then reads was
committed before. All that a transaction needs is set in it, so nothing depends on a
session, and a pooler such as PgBouncer may give each transaction another one.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
import typing as t

import psycopg
from psycopg import sql

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.queue import deadline
from flask_chatwoot.queue.database import Result, Rows, Values, Work
from flask_chatwoot.queue.deadline import LONGEST

from . import beats, failover, migration, set_clock
from .connections import OPTIONS, Connections, LateError
from .failures import failed
from .listener import Listener, Notifier
from .schema import prepared
from .url import Address

_BEGIN: t.Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '3s';
SET LOCAL idle_in_transaction_session_timeout = '5s';
SET LOCAL synchronous_commit = {commit};
SELECT current_setting('transaction_read_only'), {timeline};
"""

_LOCK: t.Final = "SELECT pg_advisory_xact_lock(hashtextextended({key}, 0));"

_NOW: t.Final = f"SELECT {beats.NOW}"

_RECORD: t.Final = "SELECT pg_logical_emit_message(true, 'flask_chatwoot', '')"
"""A record in the server's log, in which it comes after all that was committed before.
The commit of a transaction without any record waits for nothing."""

_IS_FREE: t.Final = f"""EXISTS (
    SELECT 1 FROM job WHERE job.id = candidate.id
    AND (job.claim IS NULL OR (:steady AND NOT {beats.IS_KEPT}))
)"""  # noqa: S608 - from constants
"""Whether a due job may be claimed. While this process is not steady, it cannot know
which of the others are alive."""

_FIRST_FREE: t.Final = f"""
WITH free AS MATERIALIZED (
    SELECT * FROM ({{statement}}) AS candidate WHERE {_IS_FREE} LIMIT {{most}}
)
SELECT * FROM free
WHERE pg_try_advisory_xact_lock(hashtextextended(:line || conversation_id, 0)) LIMIT 1
"""  # noqa: S608 - from constants
# In one scan, in order, until the first lock that is free. Jobs that beats keep are no
# candidates: they may be many, and are the first by their due time.

_AGAIN: t.Final = f"""
SELECT * FROM ({{statement}}) AS candidate WHERE id = :candidate AND {_IS_FREE}
"""  # noqa: S608 - from constants

_CANDIDATES: t.Final = 100
"""Due jobs among which one is looked for that no other transaction has."""

_TRANSIENT: t.Final = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25006")
"""SQLSTATEs after which a transaction is begun once more, on a fresh connection."""


class PostgreSQLTransaction:
    """A :class:`~flask_chatwoot.queue.database.Transaction` of PostgreSQL."""

    def __init__(
        self,
        database: PostgreSQLDatabase,
        connection: psycopg.Connection[t.Any],
        now: float | None = None,
    ) -> None:
        self._database = database
        self._connection = connection
        self._now = now

    @property
    def now(self) -> float:
        """Unix seconds by the database's clock, after the lock was taken."""
        if self._now is None:
            (read,) = self._connection.execute(_NOW).fetchone() or (0.0,)
            self._now = self._database.read_clock(read)

        return self._now

    def execute(self, sql: str, values: Values | None = None) -> Rows:
        """Run one statement."""
        statement = prepared(sql, self._database.schema)

        return t.cast(
            Rows, self._connection.execute(statement, _storable(values or {}))
        )

    def executemany(self, sql: str, values: t.Iterable[Values]) -> None:
        """Run a statement that writes once for each of the values."""
        for each in values:
            self.execute(sql, each)

    def first_free(self, sql: str, values: Values) -> t.Any:
        """The first row whose conversation no other transaction has; locks that."""
        names = {
            **values,
            "line": self._database.line_key(""),
            "steady": self._database.processes.is_steady(self.now),
        }
        first = _filled(_FIRST_FREE, sql)
        again = _filled(_AGAIN, sql)

        while (row := self.execute(first, names).fetchone()) is not None:
            # The look before the lock may have seen the job as it was.
            names["candidate"] = row[0]

            if (row := self.execute(again, names).fetchone()) is not None:
                return row

        return None


class PostgreSQLDatabase(Forkable):
    """The schema of one Chatwoot account; a :class:`~.database.Database`.

    Threads and processes of any number of machines may share it. No call lasts longer
    than three seconds.

    :param threads: Of this process, at most; each may need a connection.
    :param lease: Seconds after the last beat of a worker for which it keeps its jobs.
    :param base_url: The Chatwoot server; a schema is for one server and account.
    :param sync: ``"full"``: a commit is on the server's disk; ``"normal"``: as soon as
        the server gets to it.
    :param clock: Unix seconds, for tests; ``None``: the database's clock.
    :param processes: Those that share it, for tests; ``None``: as they beat.
    :ivar most_connections: For transactions of this process, at a time.
    """

    floor_for = 1.0

    def __init__(
        self,
        address: Address,
        *,
        schema: str,
        account_id: int,
        base_url: str = "",
        threads: int = 4,
        lease: float = 30.0,
        sync: str = "full",
        clock: t.Callable[[], float] | None = None,
        processes: beats.Beats | None = None,
    ) -> None:
        self.address = address
        self.schema = schema
        self.account_id = account_id
        self.base_url = base_url
        self._own_clock = self._time
        self.clock: t.Callable[[], float] = clock or self._own_clock
        self._ahead = 0.0
        self._adapted_at = -math.inf
        self._sync = sync
        self.most_connections = threads + 1
        self._connections = Connections(address, most=self.most_connections)
        self._notifier = Notifier(self.connect, schema)
        self.listener: Listener | None = None
        self._migrating = threading.Lock()
        self._ready = False
        self._timeline: str | None = None
        self._identity = ""
        self.processes: t.Any = processes or beats.Beats(
            self.connect, schema=schema, account_id=account_id, lease=lease
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """A thread of the parent may have been making the tables."""
        self._migrating = threading.Lock()

    def connect(self) -> psycopg.Connection[t.Any]:
        """A connection besides those of the pool, to tables that are there."""
        options: dict[str, t.Any] = {
            **self.address.connect_options(),
            **OPTIONS,
        }

        with self._translated():
            if not self._ready:
                with self._connection():
                    pass

            return psycopg.connect(**options)

    # -- time ------------------------------------------------------------------------

    def _time(self) -> float:
        return time.time() + self._ahead

    def read_clock(self, seconds: float) -> float:
        """What the database's clock shows; learns how far it is ahead of this one."""
        if self.clock is not self._own_clock:
            return self.clock()

        self._ahead = seconds - time.time()

        return seconds

    def ahead(self) -> float:
        """Seconds by which ``clock`` is ahead of the machine's clock."""
        return self._ahead

    # -- transactions ----------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(
        self, *, durable: bool = False, conversation_id: int | None = None
    ) -> t.Iterator[PostgreSQLTransaction]:
        """A block whose writes are committed as a whole, or rolled back.

        One that is about no conversation does not make the schema this account's.
        """
        until = time.monotonic() + LONGEST
        stores = conversation_id is not None

        with (
            self._translated(),
            self._begun(durable, conversation_id, until, stores=stores) as tx,
        ):
            yield tx

    def write(
        self,
        work: Work[Result],
        *,
        durable: bool = False,
        conversation_id: int | None = None,
    ) -> Result:
        """The result of a function that is called in a :meth:`transaction`.

        It is called once more, on another connection, if the first one broke.
        """
        until = time.monotonic() + LONGEST

        with self._translated():
            try:
                with self._begun(durable, conversation_id, until) as tx:
                    return work(tx, False)
            except psycopg.Error as error:
                if not is_transient(error):
                    raise

            with self._begun(durable, conversation_id, until) as tx:
                return work(tx, True)

    @contextlib.contextmanager
    def _begun(
        self,
        durable: bool,
        conversation_id: int | None,
        until: float,
        *,
        stores: bool = True,
    ) -> t.Iterator[PostgreSQLTransaction]:
        statement = self._begin_statement(durable, conversation_id)

        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(self._connection(until, stores=stores))
                now = self._begin(connection, statement)
            except psycopg.Error as error:
                if not is_transient(error):
                    raise

                stack.close()
                connection = stack.enter_context(self._connection(until, stores=stores))
                now = self._begin(connection, statement)

            with _ended(connection):
                yield PostgreSQLTransaction(self, connection, self.read_clock(now))

    def _begin(self, connection: psycopg.Connection[t.Any], statement: str) -> float:
        cursor = connection.execute(statement)
        values: list[t.Any] = []

        while True:
            if cursor.description is not None:
                values += cursor.fetchone() or ()

            if not cursor.nextset():
                break

        if values[0] == "on":
            raise psycopg.errors.ReadOnlySqlTransaction("the server is read-only")

        if values[1] and values[1] != self._timeline:
            connection.execute("ROLLBACK")
            self._timeline = failover.noticed(connection, self.schema) or values[1]

            return self._begin(connection, statement)

        return float(values[-1])

    def _begin_statement(self, durable: bool, conversation_id: int | None) -> str:
        is_forced = durable and self._sync == "full"
        statement = _BEGIN.format(
            commit="on" if is_forced else "off",
            timeline="''" if self._timeline is None else failover.TIMELINE,
        )

        if conversation_id is not None:
            key = sql.Literal(self.line_key(conversation_id)).as_string(None)
            statement += _LOCK.format(key=key)

        return f"{statement}\n{_NOW}"

    def line_key(self, conversation_id: t.Any) -> str:
        """The text whose hash is the lock of a conversation; 0: of the account."""
        return f"flask_chatwoot:{self.schema}:{self.account_id}:{conversation_id}"

    @contextlib.contextmanager
    def read(self) -> t.Iterator[PostgreSQLTransaction]:
        """A block that only reads; each statement by itself."""
        with self._translated(), self._connection() as connection:
            yield PostgreSQLTransaction(self, connection)

    @contextlib.contextmanager
    def inspect(self) -> t.Iterator[PostgreSQLTransaction]:
        """A block that reads for long, and sees one state of the tables."""
        with self._translated(), self._connection() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

            with _ended(connection):
                yield PostgreSQLTransaction(self, connection)

    @contextlib.contextmanager
    def _connection(
        self, until: float | None = None, *, stores: bool = False
    ) -> t.Iterator[psycopg.Connection[t.Any]]:
        until = until or time.monotonic() + LONGEST

        with self._connections.borrow(until=until) as connection:
            if not self._ready:
                self._migrate(connection, until, stores=stores)

            yield connection

    @contextlib.contextmanager
    def _translated(self) -> t.Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise failed(error, self.address) from None

    def _migrate(
        self, connection: psycopg.Connection[t.Any], until: float, *, stores: bool
    ) -> None:
        """Check the tables, until something is stored in them."""
        # The guard ends only what waits for a socket.
        left = deadline.earliest(until) - time.monotonic()
        migrating = self._migrating

        if not migrating.acquire(timeout=max(0.0, left)):
            raise LateError("another thread makes the tables")

        try:
            if not self._ready:
                whose = connection, self.schema, self.base_url, self.account_id
                is_ours = migration.migrate(*whose)

                if stores and not is_ours:
                    migration.claim(*whose)

                self._timeline = failover.noticed(connection, self.schema)
                self._ready = is_ours or stores
        finally:
            migrating.release()

    # -- notifications ---------------------------------------------------------------

    @property
    def poll(self) -> float:
        """Not all machines at the same moment."""
        return random.uniform(0.75, 1.25)  # noqa: S311 - no secret

    def notify(self) -> None:
        """Tell workers of other processes that something was stored. Does not block."""
        self._notifier.notify()

    def listen(self, callback: t.Callable[[], object]) -> None:
        """Call a function when other processes :meth:`notify`, until :meth:`close`."""
        if self.listener is None:
            self.listener = Listener(self.connect, self.schema, callback)

        self.listener.start()

    # -- the rest --------------------------------------------------------------------

    def identity(self) -> str:
        """The numbers of the database and of the schema, which a copy does not have."""
        if not self._identity:
            with self.read() as tx:
                found = tx.execute(migration.IDENTITY, {"schema": self.schema})
                self._identity = str(found.fetchone()[0])

        return self._identity

    def failover_age(self) -> float | None:
        """Seconds since another server took over; ``None``: that is not known."""
        with self._translated(), self._connection() as connection:
            return failover.age(connection, self.schema)

    def force(self) -> None:
        """Make durable what this process has written so far."""
        if self._sync == "full":
            with self.transaction(durable=True) as tx:
                tx.execute(_RECORD)

    def checkpoint(self) -> None:
        """Adapt what was stored, if the clock of the server was set."""
        if self.clock is not self._own_clock:
            return

        set_clock.adapt(self)
        set_forward_at = self.processes.set_forward_at

        if set_forward_at > self._adapted_at:
            set_clock.settle_again(self)
            self._adapted_at = set_forward_at

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        if self.listener is not None:
            self.listener.stop()

        self.processes.leave()
        self._connections.close()


def is_transient(error: psycopg.Error) -> bool:
    """Whether what failed may succeed on a fresh connection."""
    return error.sqlstate in _TRANSIENT or (
        error.sqlstate is None and isinstance(error, psycopg.OperationalError)
    )


@contextlib.contextmanager
def _ended(connection: psycopg.Connection[t.Any]) -> t.Iterator[None]:
    """Commit the transaction of the block, or roll it back."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")

        raise

    ended = connection.execute("COMMIT")

    if ended.statusmessage != "COMMIT":  # an error was caught within the block
        raise psycopg.errors.InFailedSqlTransaction("it was rolled back")


def _filled(template: str, statement: str) -> str:
    return template.replace("{statement}", statement).replace(
        "{most}", str(_CANDIDATES)
    )


def _storable(values: Values) -> dict[str, t.Any]:
    return {
        name: storable(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def storable(value: str) -> str:
    """A text as PostgreSQL can store it: without NUL and lone surrogates."""
    if value.isascii() and "\0" not in value:
        return value

    return value.encode(errors="replace").decode().replace("\0", "\ufffd")
