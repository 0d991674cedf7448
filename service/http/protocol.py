"""uvicorn's HTTP protocol with a time limit on what a client sends and on what it reads, and with admission.

uvicorn waits for ever for a request's headers and body, so a few hundred clients that send a byte a second would hold
their connections, memory and descriptors as long as they like. Here a connection is dropped when the headers of a
request are not complete `header_timeout` seconds after the connection was made or the request began, when its body is
not complete `body_timeout` seconds after its headers, or when it does not read its answer for `body_timeout` seconds.

Which requests are refused before the application sees them is decided in admission.py.
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
    """One connection. Subclasses made by `timed_protocol` carry the limits."""

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
        self._requests = 0  # that have begun on this connection
        self._awaited: Awaited | None = (0, "headers")  # what is still to come of the request that is received
        self._timed: Awaited | None = None  # what the timer runs for
        self._reading_timer: asyncio.TimerHandle | None = None
        self._kind: Kind | None = None  # of the request that is received; None: it is not counted
        self._refused = False  # the request that is received has its answer already
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
        """Parse what came in; a request that is here as a whole needs no timer."""
        super().data_received(data)
        if self._awaited != self._timed:
            self._set_receipt_timer()

    def on_message_begin(self) -> None:
        """Wait for the request's headers; for the first one's since the connection was made."""
        super().on_message_begin()
        self._awaited = (self._requests, "headers")
        self._requests += 1

    def on_headers_complete(self) -> None:
        """Wait for the body, and refuse the request if there are too many."""
        self._awaited = (self._requests, "body")
        self._kind = self.admission.kind(self.url)
        # A pipelined request is not refused here: its answer would overtake the one before.
        waits_for_another = self.cycle is not None and not self.cycle.response_complete
        if self._kind is not None and self.admission.is_full(self._kind) and not waits_for_another:
            self._refused = True
            self.transport.write(self.admission.refusal(self.url, self.headers))
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; a refused request's is dropped."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here and counts from now on."""
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

            def leave_and_go_on() -> None:
                self._leave(cycle)
                answered()

            cycle.on_response = leave_and_go_on
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start to wait for the client to read."""
        super().pause_writing()
        self._client_reads()
        self._reading_timer = self.loop.call_later(self.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        self._client_reads()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP at all with a problem too, and close."""
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
        """Have the timer run for what is awaited now."""
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
    """Return the protocol class with these limits, in seconds, as uvicorn wants it: a class."""
    shared = {"header_timeout": header_timeout, "body_timeout": body_timeout, "admission": admission}
    return type("TimedHttpProtocol", (TimedHttpProtocol,), shared)
