"""Several machines that share nothing but a PostgreSQL, and what can happen to them."""

from __future__ import annotations

import contextlib
import functools
import json
import typing as t
from collections import Counter
from pathlib import Path

from .host import (
    BEAT,
    CELERY,
    FREEZE_IN_TRANSACTION,
    PUBLISHED,
    WORK,
    Accidents,
    Machine,
    Stop,
)
from .postgresql import DATABASE, USER, Program, pgbouncer, postgresql
from .relay import HOST, Relay

if t.TYPE_CHECKING:
    from .broker import Broker

SKEWS: t.Final = (0.0, 90.0, -90.0)
"""Seconds by which the clocks of machines are ahead of the true time."""


_PGBOUNCER: t.Final = {
    "max_client_conn": "1000",
    # The usual 15 s would be added to each restart of the server.
    "server_login_retry": "1",
}


class Machines:
    """Each has a folder, a clock and a way to the database of its own.

    :param server: The database's.
    :param port: What the relays lead to: the server, or what is in front of it.
    :param env: Settings of the app.
    :param broker: That of Celery, if it is the engine; its beat runs on machine 1.
    :ivar urls: Where their web servers listen.
    :ivar accidents: What can happen to them. A process is named by the number of its
        machine, from 1, and its own name.
    """

    def __init__(
        self,
        folder: Path,
        env: t.Mapping[str, str],
        server: Program,
        port: int,
        *,
        web: str,
        count: int,
        broker: Broker | None = None,
    ) -> None:
        self._server = server
        self._broker = broker
        self._relays = [Relay(port) for _ in range(count)]
        self._folders = [folder / f"machine-{number + 1}" for number in range(count)]
        self._machines = []

        for number, relay in enumerate(self._relays):
            self._folders[number].mkdir()
            url = f"postgresql://{USER}@{HOST}:{relay.port}/{DATABASE}"
            settings = {**env, "CHATWOOT_DATABASE_URL": url}
            machine = Machine(
                self._folders[number],
                settings,
                web,
                self._work(number),
                ahead=SKEWS[number % len(SKEWS)],
            )
            self._machines.append(machine)

        self.urls = [url for machine in self._machines for url in machine.urls]
        self.accidents: Accidents = {
            **self._accidents_of_processes(),
            **self._accidents_of_networks(),
            "freeze database": lambda _: server.freeze(),
            "thaw database": lambda _: server.thaw(),
            "stop database": lambda _: server.stop(),
            "start database": lambda _: server.start(),
            "restart database": lambda _: server.restart(),
        }

        if broker is not None:
            self.accidents = {
                **self.accidents,
                "freeze broker": lambda _: broker.freeze(),
                "thaw broker": lambda _: broker.thaw(),
            }

    def _work(self, number: int) -> list[t.Sequence[str]]:
        """The commands of the workers of a machine."""
        if self._broker is None:
            return [WORK]

        return [CELERY, *([] if number else [BEAT])]

    def _accidents_of_processes(self) -> Accidents:
        def of(act: t.Callable[..., object], who: str, **options: t.Any) -> object:
            number, _, name = who.partition(" ")
            return act(self._machines[int(number) - 1], name, **options)

        frozen = functools.partial(of, Machine.freeze)

        return {
            "kill": functools.partial(of, Machine.kill),
            "kill child": functools.partial(of, Machine.kill_child),
            "restart": lambda _: self._each(Machine.start_missing),
            "freeze": frozen,
            "freeze in transaction": functools.partial(
                frozen, how=FREEZE_IN_TRANSACTION
            ),
            "thaw": functools.partial(of, Machine.thaw),
        }

    def _accidents_of_networks(self) -> Accidents:
        def of(act: t.Callable[[Relay], object], who: int) -> object:
            return act(self._relays[who - 1])

        return {
            "reset connections": lambda _: [each.reset() for each in self._relays],
            "stall network": functools.partial(of, Relay.stall),
            "cut network": functools.partial(of, Relay.cut),
            "join network": functools.partial(of, Relay.join),
        }

    def _each(self, act: t.Callable[[Machine], object]) -> None:
        for machine in self._machines:
            act(machine)

    def recover(self) -> None:
        """Let everything run; the database does."""
        for relay in self._relays:
            relay.join()

        self._each(Machine.recover)

    def close(self) -> None:
        self._each(Machine.close)

        for relay in self._relays:
            relay.close()

    # -- what the processes recorded -------------------------------------------------

    @property
    def stops(self) -> list[Stop]:
        """When which process was frozen."""
        return [stop for machine in self._machines for stop in machine.stops]

    @property
    def seen(self) -> Counter[str]:
        """How many processes were found frozen, and what became of tasks."""
        seen = [machine.seen for machine in self._machines]
        seen += [self._broker.seen] if self._broker else []

        return sum(seen, Counter[str]())

    def questions(self) -> list[str]:
        """What providers were asked."""
        return [text for (text,) in self._records("asked")]

    def requests(self) -> list[tuple[int, float, float]]:
        """Of each request that ended, the process, and when it began and ended."""
        return [(pid, begin, end) for pid, begin, end in self._records("requests")]

    def _records(self, name: str) -> t.Iterator[t.Any]:
        for folder in self._folders:
            with contextlib.suppress(FileNotFoundError):
                for line in (folder / name).read_text().splitlines():
                    yield json.loads(line)


@contextlib.contextmanager
def machines(
    folder: Path,
    env: t.Mapping[str, str],
    *,
    web: str,
    count: int,
    through_pgbouncer: bool,
    engine: str = "thread",
) -> t.Iterator[Machines]:
    """Machines, and a database that starts and ends with the block."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgresql(max_connections="400", autovacuum="on"))
        stack.callback(keep_tables, server, folder)
        entry = server

        if through_pgbouncer:
            entry = stack.enter_context(pgbouncer(server, **_PGBOUNCER))

        broker = None
        settings = {**env, "CHATWOOT_BACKEND": engine}

        if engine == "celery":
            from .broker import Broker

            broker = stack.enter_context(contextlib.closing(Broker(folder)))
            settings["CHAOS_BROKER"] = broker.url
            settings["CHATWOOT_CELERY_QUEUE"] = PUBLISHED

        several = Machines(
            *(folder, settings, server, entry.port),
            web=web,
            count=count,
            broker=broker,
        )
        stack.callback(several.close)

        yield several


def keep_tables(server: Program, folder: Path) -> None:
    """Write down what the database holds, as CSV."""
    with server.connect() as db:
        tables = db.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname !~ '^(pg_|information_schema)'"
        ).fetchall()

        for schema, table in tables:
            query = f'COPY "{schema}"."{table}" TO STDOUT WITH (FORMAT csv, HEADER)'

            with db.cursor().copy(query) as rows:
                (folder / f"{table}.csv").write_bytes(b"".join(rows))
