"""PostgreSQL servers and PgBouncers that belong to one test, and can be broken."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import typing as t
from pathlib import Path

import psycopg
import pytest

from .waiting import wait_until

HOST: t.Final = "127.0.0.1"
USER: t.Final = "postgres"
DATABASE: t.Final = "postgres"

_SETTINGS: t.Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "timezone": "UTC",
}


class Program:
    """A server of this machine, which listens on one port for as long as it runs.

    :ivar pid: Of its first process.
    :ivar url: For psycopg and for ``CHATWOOT_DATABASE_URL``.
    :param end: The signal that ends it at once.
    """

    def __init__(
        self, command: list[str], port: int, log: Path, *, end: int = signal.SIGQUIT
    ) -> None:
        self.port = port
        self.url = f"postgresql://{USER}@{HOST}:{port}/{DATABASE}"
        self._command = command
        self._log = log
        self._end = end
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "It does not run."
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A break of the test run at the keyboard is no signal for it.
                start_new_session=True,
                **_as_owner(),
            )

        wait_until(self._answers)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            pytest.fail(f"It did not start:\n{self._log.read_text()[-2000:]}")

        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True

        return False

    def stop(self) -> None:
        """End it at once, with all of its connections. It can be started again."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(self._end)
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        """Cut all connections, and be back within some tenths of a second."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop all of its processes. Connections stay open; nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)  # first: it starts no more processes then
        self._signal_children(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_children(signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self) -> t.Iterator[None]:
        """Frozen for a block."""
        self.freeze()

        try:
            yield
        finally:
            self.thaw()

    def _signal_children(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")

        for pid in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def connect(self, **options: t.Any) -> psycopg.Connection:
        """A connection of the test's own, in autocommit mode."""
        options = {"connect_timeout": 5, "autocommit": True, **options}

        return psycopg.connect(self.url, **options)

    def execute(self, sql: str, *values: t.Any) -> list[tuple[t.Any, ...]]:
        """Run one statement on a connection of its own; its rows."""
        with self.connect() as connection:
            cursor = connection.execute(sql, values or None)

            return cursor.fetchall() if cursor.description else []

    def cut(self, like: str = "%") -> int:
        """Cut the connections whose ``application_name`` is like that; how many.

        It cuts connections to the server, which PgBouncer keeps for its clients.
        """
        rows = self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND application_name LIKE %s",
            like,
        )

        return len(rows)


@contextlib.contextmanager
def postgresql(**settings: str) -> t.Iterator[Program]:
    """A server with an empty database, for a block. Takes about a second.

    Skips the test where PostgreSQL is not installed.

    :param settings: Of ``postgresql.conf``, besides those for speed.
    """
    bin_folder = _bin_folder()

    with _folder() as folder:
        subprocess.run(
            [
                *(bin_folder / "initdb", "--pgdata", folder / "data"),
                *("--auth", "trust", "--username", USER, "--encoding", "UTF8"),
                *("--locale", "C", "--no-sync", "--no-instructions"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **_as_owner(),
        )
        port = free_port()
        command = _postgres(folder, port, **settings)

        with _running(Program(command, port, folder / "log")) as server:
            yield server


@contextlib.contextmanager
def standby(primary: Program) -> t.Iterator[Program]:
    """A server that follows another one, for a block. Takes some seconds.

    ``SELECT pg_promote()`` lets it take over.
    """
    bin_folder = _bin_folder()

    with _folder() as folder:
        subprocess.run(
            [
                *(bin_folder / "pg_basebackup", "--pgdata", folder / "data"),
                *("--dbname", primary.url, "--wal-method", "stream"),
                *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
            ],
            check=True,
            **_as_owner(),
        )
        port = free_port()

        with _running(Program(_postgres(folder, port), port, folder / "log")) as server:
            yield server


def _postgres(folder: Path, port: int, **settings: str) -> list[str]:
    """The command of a server with its data in a folder."""
    named = {**_SETTINGS, "listen_addresses": HOST, **settings}

    return [
        *(str(_bin_folder() / "postgres"), "-D", str(folder / "data")),
        *("-k", str(folder), "-p", str(port)),
        *(part for name, value in named.items() for part in ("-c", f"{name}={value}")),
    ]


@contextlib.contextmanager
def pgbouncer(
    server: Program, mode: str = "transaction", **settings: str
) -> t.Iterator[Program]:
    """A PgBouncer before a server, for a block. Skips where it is not installed.

    :param settings: Of the section ``[pgbouncer]``.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

    if program is None:
        pytest.skip("PgBouncer is not installed.")

    with _folder() as folder:
        port = free_port()
        named = {
            "listen_addr": HOST,
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(folder / "users"),
            "pool_mode": mode,
            "default_pool_size": "20",
            "max_client_conn": "200",
            **settings,
        }
        lines = [
            *("[databases]", f"* = host={HOST} port={server.port}", "[pgbouncer]"),
            *(f"{name} = {value}" for name, value in named.items()),
        ]
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        (folder / "users").write_text(f'"{USER}" ""\n')
        command = [program, str(folder / "pgbouncer.ini")]

        # It has nothing to lose, and versions differ in which signal ends it at once.
        end = signal.SIGKILL

        with _running(Program(command, port, folder / "log", end=end)) as bouncer:
            yield bouncer


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(program: Program) -> t.Iterator[Program]:
    try:
        program.start()
        yield program
    finally:
        program.stop()


@contextlib.contextmanager
def _folder() -> t.Iterator[Path]:
    """Pytest's own folders are closed to other users, and too long for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="fc-"))

    try:
        if _is_root():
            shutil.chown(folder, USER)

        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bin_folder() -> Path:
    """Debian keeps the server's programs out of the path."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parts[-3]),
    )
    program = str(found[-1]) if found else shutil.which("initdb")

    if program is None:
        pytest.skip("PostgreSQL's server is not installed.")

    return Path(program).parent


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_owner() -> dict[str, t.Any]:
    """Neither program runs as root."""
    if not _is_root():
        return {}

    return {"user": USER, "group": USER, "extra_groups": []}
