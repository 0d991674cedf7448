"""A load generator that uses little of the machine: one thread, plain sockets, requests as precomputed bytes.

It spends about 30 µs per request, a tenth of an asyncio or httpx client, so that client and server can share two cores
and the figures are still the server's. Connections are reused, with at most one request in flight on each. Latencies of
an open loop count from the time when a request was due, whether or not a connection was free.
"""

from __future__ import annotations

import selectors
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

MAX_CONNECTIONS = 512
_ANSWER_SECONDS = 30.0  # requests without an answer after this time count as lost


@dataclass
class Answers:
    """The answers: the milliseconds of each, by status; "lost" if the connection broke."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0  # from the first request to the last answer

    def add(self, status: str, milliseconds: float) -> None:
        """Count one answer."""
        self.milliseconds.setdefault(status, []).append(milliseconds)

    def extend(self, other: Answers) -> None:
        """Add the answers and the seconds of another run."""
        for status, times in other.milliseconds.items():
            self.milliseconds.setdefault(status, []).extend(times)
        self.seconds += other.seconds

    @property
    def counts(self) -> Counter[str]:
        """The number of answers by status."""
        return Counter({status: len(times) for status, times in self.milliseconds.items()})

    def figures(self, seconds: float) -> dict[str, object]:
        """Return counts, successful answers per second, and the latencies of successful and refused requests."""
        shown: dict[str, object] = {"answers": dict(self.counts)}
        shown["per_second"] = round(self.counts["200"] / seconds, 1)
        for status, name in (("200", ""), ("429", "refused_")):
            times = self.milliseconds.get(status)
            if times:
                for percent in (50, 99):
                    shown[f"{name}p{percent}_ms"] = round(float(np.percentile(times, percent)), 2)
        return shown


class _Connection:
    """One socket with its request in flight, if any."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self.received = b""
        self.body = b""  # of the last answer

    def answer(self) -> str | None:
        """Read the available data; return the status of a complete answer, "lost" at the end, None if incomplete."""
        try:
            piece = self.socket.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        if not piece:
            return "lost"
        self.received = self.received + piece if self.received else piece
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.received[:end].lower()
        at = head.index(b"content-length:") + 15
        line_end = head.find(b"\r\n", at)
        length = int(head[at : line_end if line_end > 0 else end])
        if len(self.received) < end + 4 + length:
            return None
        status = self.received[9:12].decode()
        self.body = self.received[end + 4 :]
        self.received = b""
        return status


class LoadClient:
    """Sends requests to one address. `on_answer` is called with the body of every successful answer."""

    def __init__(self, host: str, port: int) -> None:
        self.on_answer: Callable[[bytes], None] | None = None
        self._address = (host, port)
        self._selector = selectors.DefaultSelector()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    def closed_loop(self, request: Callable[[], bytes], clients: int, seconds: float) -> Answers:
        """Run `clients` that each send one request after the other, for `seconds`."""
        answers = Answers()
        started = perf_counter()
        for _ in range(clients):
            self._send(request(), perf_counter())
        while self._busy:
            for status, due, now in self._answered(0.1):
                answers.add(status, (now - due) * 1e3)
                if now - started < seconds:
                    self._send(request(), now)
        answers.seconds = perf_counter() - started
        return answers

    def open_loop(self, request: Callable[[], bytes], rate: float, seconds: float) -> Answers:
        """Send `rate` requests per second for `seconds`, whether or not they are answered."""
        answers = Answers()
        started = perf_counter()
        due = started
        waiting: deque[float] = deque()
        while (now := perf_counter()) < started + seconds or waiting or self._busy:
            while due <= now and due < started + seconds:
                waiting.append(due)
                due += 1 / rate
            while waiting and (self._idle or len(self._busy) < MAX_CONNECTIONS):
                self._send(request(), waiting.popleft())
            for status, began, ended in self._answered(max(0.0, min(due - perf_counter(), 0.02))):
                answers.add(status, (ended - began) * 1e3)
            if now > started + seconds + _ANSWER_SECONDS:
                break
        for _ in range(len(waiting) + len(self._busy)):
            answers.add("lost", _ANSWER_SECONDS * 1e3)
        answers.seconds = perf_counter() - started
        return answers

    def _send(self, request: bytes, due: float) -> None:
        if self._idle:
            connection = self._idle.pop()
        else:
            connection = _Connection(self._address)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.due = due
        connection.socket.send(request)
        self._busy.add(connection)

    def _answered(self, seconds: float) -> Iterator[tuple[str, float, float]]:
        """Wait up to `seconds`, then yield (status, due, now) for each answer."""
        for key, _ in self._selector.select(seconds):
            connection: _Connection = key.data
            status = connection.answer()
            if status is None:
                continue
            if status == "lost":
                self._selector.unregister(connection.socket)
                connection.socket.close()
                if connection in self._idle:  # the server closes idle connections
                    self._idle.remove(connection)
            else:
                self._idle.append(connection)
                if status == "200" and self.on_answer is not None:
                    self.on_answer(connection.body)
            if connection in self._busy:
                self._busy.remove(connection)
                yield status, connection.due, perf_counter()


def http_request(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """Return a request as bytes to send."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
