"""Connections between a router and the replicas: one request at a time on each, authenticated by the replica's secret.

The replica listens (`Listener`), the router keeps connections open (`Connections`). Frames, their limit and the
challenge are those of `multiprocessing.connection`; what is in a frame is wire.py's. A search takes several requests
to each shard, so what one costs decides: on two cores a request through a Ray Serve handle took milliseconds, one
through a connection that is open already a fraction of one (benchmarks/shard_hop.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge, wait
from typing import Any, Final, NamedTuple

from service.cluster.wire import MalformedMessage, from_bytes, to_bytes

_logger = logging.getLogger("lsr.cluster")
_BACKLOG: Final = 128
_MOST_BYTES: Final = 1 << 30  # of one message
_CONNECT_SECONDS: Final = 2.0
_IDLE_SECONDS: Final = 2  # until the other machine is asked whether it is there
_GONE_SECONDS: Final = 5  # without a word of the other machine's network; its process may be busy for longer
_MOST_IDLE: Final = 32  # connections that are kept open to one replica


class Address(NamedTuple):
    """Where a replica listens, and what a router must know to be let in."""

    host: str
    port: int
    secret: bytes

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"


class Listener:
    """Answers requests on a port, each connection in a thread of its own, from `start` to `close`."""

    def __init__(self, host: str, answer: Callable[[Any], Any]) -> None:
        """`answer` gets a request's value and returns the answer's; it must not raise. Raises OSError."""
        self._socket = socket.create_server((host, 0), backlog=_BACKLOG)
        self._answer = answer
        self._connections: set[Connection] = set()
        self._busy = 0
        self._changed = threading.Condition()
        self._closed = False
        self.address = Address(host, self._socket.getsockname()[1], secrets.token_bytes(32))

    def start(self) -> None:
        """Begin to accept connections."""
        threading.Thread(target=self._accept, name="shard-accept", daemon=True).start()

    def close(self, seconds: float = 0.0) -> None:
        """Accept nothing new, wait up to `seconds` for requests in flight, and close all connections."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._busy, seconds)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._socket.close()
        for connection in list(self._connections):
            _end(connection)

    def _accept(self) -> None:
        while not self._closed:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                continue  # the client left, or `close` was called
            connection = _connection(accepted)
            threading.Thread(target=self._serve, args=(connection,), name="shard-connection", daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            deliver_challenge(connection, self.address.secret)
            answer_challenge(connection, self.address.secret)
            while not self._closed:
                request = connection.recv_bytes(_MOST_BYTES)
                with self._changed:
                    self._busy += 1
                try:
                    connection.send_bytes(to_bytes(self._answer(from_bytes(request))))
                finally:
                    with self._changed:
                        self._busy -= 1
                        self._changed.notify_all()
        except (EOFError, OSError, MalformedMessage, AuthenticationError) as error:
            if not isinstance(error, (EOFError, ConnectionError)):
                _logger.warning("a connection to a shard ended: %s", error)
        finally:
            self._connections.discard(connection)
            with contextlib.suppress(OSError):
                connection.close()


class Call:
    """A request that was sent; `connection` becomes readable with its answer."""

    def __init__(self, connections: Connections, connection: Connection) -> None:
        self._connections = connections
        self.connection = connection

    def receive(self) -> Any:
        """Return the answer; raises OSError, EOFError where the replica is gone, MalformedMessage."""
        try:
            answer = from_bytes(self.connection.recv_bytes(_MOST_BYTES))
        except BaseException:
            self.abandon()
            raise
        self._connections.put_back(self.connection)
        return answer

    def abandon(self) -> None:
        """Give the answer up: the connection is closed, since the answer would come on it."""
        with contextlib.suppress(OSError):
            self.connection.close()


class Connections:
    """The open connections to one replica. Safe to use from many threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def send(self, request: Any) -> Call:
        """Send a request; raises OSError, EOFError where the replica does not accept it."""
        content = to_bytes(request)
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        try:
            connection.send_bytes(content)
        except BaseException:
            with contextlib.suppress(OSError):
                connection.close()
            raise
        return Call(self, connection)

    def put_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            if not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close those that are idle; others close when their answer was read."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(OSError):
                connection.close()

    def _connect(self) -> Connection:
        connection = _connection(socket.create_connection(self.address[:2], _CONNECT_SECONDS))
        try:
            if not connection.poll(_CONNECT_SECONDS):
                raise ConnectionRefusedError(f"{self.address} accepts no connection")
            answer_challenge(connection, self.address.secret)
            deliver_challenge(connection, self.address.secret)
        except AuthenticationError as error:
            connection.close()
            raise ConnectionRefusedError(f"{self.address} has another secret") from error
        except BaseException:
            connection.close()
            raise
        return connection


def wait_for(calls: Sequence[Call], seconds: float) -> list[Call]:
    """Return the calls whose answer is there, or whose replica is gone; empty after `seconds`."""
    ready = wait([call.connection for call in calls], max(seconds, 0.0))
    return [call for call in calls if call.connection in ready]


def _connection(opened: socket.socket) -> Connection:
    """Prepare a connection, which ends with an OSError soon after the other machine is gone without a word."""
    opened.setblocking(True)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_SECONDS * 1000)
    return Connection(opened.detach())


def _end(connection: Connection) -> None:
    """Shut a connection down, so that a thread which reads it returns."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
