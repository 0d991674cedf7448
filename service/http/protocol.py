"""uvicorn's HTTP protocol with time limits for sending and reading, and with admission.

uvicorn has no time limit for a request's headers and body, so a few hundred clients that send one byte per second could
hold connections, memory and descriptors without end. Here a connection is dropped in three cases: the headers are not
complete `header_timeout` seconds after the connection or the request started; the body is not complete `body_timeout`
seconds after the headers; or the client does not read its answer for `body_timeout` seconds.

admission.py decides which requests are refused before the application sees them.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import uuid4

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.admission import Admission, Kind

Awaited = tuple[int, Literal["headers", "body"]]  # the number of a request on its connection, and a part of it


class TimedHttpProtocol(HttpToolsProtocol):
    """One connection. `timed_protocol` returns a subclass with the limits."""

    header_timeout: float
    body_timeout: float
    admission: Admission

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._receipt_timer: asyncio.TimerHandle | None = None
        self._requests = 0  # started on this connection
        self._awaited: Awaited | None = (0, "headers")  # the next part of the request being received
        self._timed: Awaited | None = None  # the part that the timer runs for
        self._reading_timer: asyncio.TimerHandle | None = None
        self._kind: Kind | None = None  # of the request being received; None: it is not counted
        self._refused = False  # the request being received is already answered
        self._entered: dict[RequestResponseCycle, Kind] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request's headers."""
        super().connection_made(transport)
        self._set_receipt_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers and counts."""
        for cycle in list(self._entered):
            self._leave(cycle)
        self._awaited = None
        self._set_receipt_timer()
        self._client_reads()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data; a request that has arrived completely needs no timer."""
        super().data_received(data)
        if self._awaited != self._timed:
            self._set_receipt_timer()

    def on_message_begin(self) -> None:
        """Wait for the request's headers; the first request's timer runs since the connection."""
        super().on_message_begin()
        self._awaited = (self._requests, "headers")
        self._requests += 1

    def on_headers_complete(self) -> None:
        """Wait for the body; refuse the request if there are too many."""
        self._awaited = (self._requests, "body")
        self._kind = self.admission.kind(self.url)
        # A pipelined request is not refused here: its answer would be sent before the previous one.
        waits_for_another = self.cycle is not None and not self.cycle.response_complete
        if self._kind is not None and self.admission.is_full(self._kind) and not waits_for_another:
            self._refused = True
            self.transport.write(self.admission.refusal(self.url, self.headers))
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Accept a piece of the body; drop it if the request is refused."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete and counts from now on."""
        self._awaited = None
        if self._refused:
            self._refused = False
            if self.parser.should_keep_alive():
                self.on_response_complete()
            else:
                self.transport.close()
            return
        cycle = self.cycle
        if self._kind is not None and not cycle.response_complete:
            self.admission.enter(self._kind)
            self._entered[cycle] = self._kind
            answered = cycle.on_response

            def leave_and_continue() -> None:
                self._leave(cycle)
                answered()

            cycle.on_response = leave_and_continue
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start waiting for the client to read."""
        super().pause_writing()
        self._client_reads()
        self._reading_timer = self.loop.call_later(self.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._client_reads()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem, and close the connection."""
        problem = {"type": "/problems/bad-request", "title": "Bad Request", "status": 400, "detail": msg}
        content = orjson.dumps(problem | {"instance": "", "request_id": uuid4().hex})
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()

    def _leave(self, cycle: RequestResponseCycle) -> None:
        kind = self._entered.pop(cycle, None)
        if kind is not None:
            self.admission.leave(kind)

    def _set_receipt_timer(self) -> None:
        """Restart the timer for the part that is awaited now."""
        if self._receipt_timer is not None:
            self._receipt_timer.cancel()
            self._receipt_timer = None
        self._timed = self._awaited
        if self._awaited is not None and not self.transport.is_closing():
            seconds = self.header_timeout if self._awaited[1] == "headers" else self.body_timeout
            self._receipt_timer = self.loop.call_later(seconds, self._too_slow)

    def _client_reads(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _too_slow(self) -> None:
        self._receipt_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def timed_protocol(header_timeout: float, body_timeout: float, admission: Admission) -> type[TimedHttpProtocol]:
    """Return a protocol class with these limits, in seconds; uvicorn needs a class."""
    shared = {"header_timeout": header_timeout, "body_timeout": body_timeout, "admission": admission}
    return type("TimedHttpProtocol", (TimedHttpProtocol,), shared)
