"""The relay through which processes of the chaos program reach their database."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import typing as t

import pytest
from support.relay import HOST, Relay
from support.waiting import wait_until

from flask_chatwoot.simulator.server import shut_down


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(1000):
                self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def server() -> t.Iterator[Server]:
    with Server((HOST, 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        shut_down(server)
        thread.join()


@pytest.fixture
def relay(server: Server) -> t.Iterator[Relay]:
    with Relay(server.server_address[1]) as relay:
        yield relay


@pytest.fixture
def client(relay: Relay) -> t.Iterator[socket.socket]:
    with connected(relay) as client:
        assert said(client, b"Hello") == b"Hello"
        yield client


def connected(relay: Relay) -> socket.socket:
    return socket.create_connection((HOST, relay.port), timeout=10)


def read(relay: Relay) -> bytes:
    """What a new connection reads."""
    with connected(relay) as client:
        return client.recv(1000)


def said(client: socket.socket, data: bytes) -> bytes:
    """What comes back."""
    client.sendall(data)
    return client.recv(1000)


def is_open(client: socket.socket) -> bool:
    """Whether its peer has not ended the connection, and has sent nothing."""
    client.setblocking(False)

    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(10)

    return False


def test_a_connection_ends_when_its_client_ends_it(
    relay: Relay, client: socket.socket
) -> None:
    client.shutdown(socket.SHUT_WR)

    assert client.recv(1000) == b""
    wait_until(lambda: relay.connections == 0)


def test_nothing_passes_a_stalled_relay_and_no_connection_ends(
    relay: Relay, client: socket.socket
) -> None:
    relay.stall()

    with connected(relay) as another:
        client.sendall(b"one")
        another.sendall(b"two")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1000)
        assert is_open(client)
        assert is_open(another)

        relay.join()
        assert client.recv(1000) == b"one"
        assert another.recv(1000) == b"two"


def test_the_server_hears_no_sooner_of_a_client_that_ended_while_stalled(
    relay: Relay, client: socket.socket
) -> None:
    relay.stall()
    client.close()
    assert relay.connections == 1

    relay.join()
    wait_until(lambda: relay.connections == 0)


@pytest.mark.parametrize("stalled", [False, True])
def test_connections_that_are_reset_can_be_made_again(
    relay: Relay, client: socket.socket, *, stalled: bool
) -> None:
    if stalled:
        relay.stall()

    assert relay.reset() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1000)

    relay.join()

    with connected(relay) as another:
        assert said(another, b"again") == b"again"


def test_new_connections_are_reset_until_a_cut_relay_is_joined(
    relay: Relay, client: socket.socket
) -> None:
    relay.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)

    with pytest.raises(ConnectionResetError):
        read(relay)

    relay.join()

    with connected(relay) as another:
        assert said(another, b"again") == b"again"


def test_connections_are_reset_where_no_server_listens() -> None:
    with socket.create_server((HOST, 0)) as gone:
        port = gone.getsockname()[1]

    with Relay(port) as relay, pytest.raises(ConnectionResetError):
        read(relay)


def test_a_relay_that_is_closed_leaves_no_thread_and_no_connection(
    server: Server,
) -> None:
    before = threading.active_count()

    with Relay(server.server_address[1]) as relay, connected(relay) as client:
        assert said(client, b"Hello") == b"Hello"

    wait_until(lambda: relay.connections == 0)
    wait_until(lambda: threading.active_count() <= before)
