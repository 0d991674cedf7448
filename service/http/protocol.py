"""uvicorn's HTTP protocol with limits: time for sending and reading, size of headers, requests in flight.

uvicorn has no time limit for a request's headers and body, so a few hundred clients that send one byte per second could
hold connections, memory and descriptors without end. Here a connection is dropped in three cases: the headers are not
complete `header_timeout` seconds after the connection or the request started; the body is not complete `body_timeout`
seconds after the headers (408); or the client does not read its answer for `body_timeout` seconds.

header_limits.py limits the headers and trailers (431), and how many requests may wait on one connection is limited
too. admission.py decides which requests are refused before the application sees them.

A request that ends without its answer has the reason in its ASGI scope as `lsr.ended`, a status for the metrics: 499 if
the client went away, else that of the problem that the protocol sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.admission import Admission, Kind
from service.http.bodies import CLIENT_CLOSED
from service.http.header_limits import HeaderBudget, HeaderLimits, repeated_or_missing
from service.http.named_origins import NamedOrigins
from service.http.refusals import INVALID_HTTP, TOO_MANY_WAIT, TOO_SLOW, Refusal, as_bytes

Awaited = tuple[int, Literal["headers", "body"]]  # the number of a request on its connection, and a part of it

MAX_PIPELINED: Final = 64  # requests that wait on one connection for the answers before theirs
_LINGER_SECONDS: Final = 1.0  # a refused client may still be sending: closed at once, it would not see the answer
_LINGER_BYTES: Final = 1 << 20
LogRefusal = Callable[[int, str, bytes], None]  # with the status, the method and the URL


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of one connection; times in seconds."""

    header_timeout: float
    body_timeout: float
    headers: HeaderLimits


class _Refused(Exception):
    """Stops the parser: the connection cannot continue."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. `limited_protocol` returns a subclass with the limits."""

    limits: ConnectionLimits
    admission: Admission
    origins: NamedOrigins
    count_refusal: Callable[[int], None]
    log_refusal: LogRefusal

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
        self._budget = HeaderBudget(self.limits.headers)
        self._progress = False  # the data being parsed completed a head or brought a piece of a body
        self._refusal: Refusal | None = None  # why the parser was stopped
        self._lingers = 0  # bytes that are still read and dropped before the connection is closed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request's headers."""
        super().connection_made(transport)
        self._set_receipt_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers and counts; requests without their answer end here."""
        for cycle in [*self._entered, self.cycle]:
            if cycle is not None and not cycle.response_complete:
                _end(cycle, CLIENT_CLOSED)
        for cycle in list(self._entered):
            self._leave(cycle)
        self._awaited = None
        self._set_receipt_timer()
        self._client_reads()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data; a request that has arrived completely needs no timer."""
        if self._lingers:
            self._drop(len(data))
            return
        self._progress = False
        super().data_received(data)
        if self._lingers or self.transport.is_closing():
            return
        if self._awaited is None and self._nothing_due() and self.timeout_keep_alive_task is None:
            self._awaited = (self._requests, "headers")  # line ends before a request: it has begun
        if not self._budget.accepts_data(len(data), progress=self._progress):
            self._refuse(self._too_large())
        elif self._awaited != self._timed:
            self._set_receipt_timer()

    def on_message_begin(self) -> None:
        """Wait for the request's headers; the first request's timer runs since the connection."""
        super().on_message_begin()
        self._awaited = (self._requests, "headers")
        self._requests += 1
        self._budget.restart()

    def on_url(self, url: bytes) -> None:
        """Accept a piece of the request line."""
        if not self._budget.accepts(len(url)):
            self._stop_parsing(self._too_large())
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Accept a header; drop a trailer."""
        if not self._budget.accepts_header(name, value):
            self._stop_parsing(self._too_large())
        if self._awaited is not None and self._awaited[1] == "headers":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait for the body; refuse the request if there are too many."""
        wrong = repeated_or_missing(self.headers, self.parser.get_http_version())
        if wrong is not None:
            self._stop_parsing(INVALID_HTTP._replace(detail=wrong))
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(TOO_MANY_WAIT)
        self._budget.restart()
        self._progress = True
        self._awaited = (self._requests, "body")
        self._kind = self.admission.kind(self.parser.get_method(), self.url, self.headers)
        # A pipelined request is not refused here: its answer would be sent before the previous one.
        waits_for_another = self.cycle is not None and not self.cycle.response_complete
        if self._kind is not None and self.admission.is_full(self._kind) and not waits_for_another:
            self._refused = True
            self.transport.write(self.admission.refusal(self.url, self.headers))
            self.log_refusal(429, self.parser.get_method().decode(), self.url)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Accept a piece of the body; drop it if the request is refused."""
        self._progress = True
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete and counts from now on."""
        self._awaited = None
        self._progress = True
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
        self._reading_timer = self.loop.call_later(self.limits.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._client_reads()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser stopped at; uvicorn calls this for every error of the parser."""
        self._refuse(self._refusal or INVALID_HTTP._replace(detail=msg))

    def _stop_parsing(self, refusal: Refusal) -> None:
        """Raise an error in the parser, which then calls `send_400_response`."""
        self._refusal = refusal
        raise _Refused

    def _too_large(self) -> Refusal:
        return Refusal(431, "headers-too-large", f"a request may have {self._budget.description}")

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with the problem if it is this request's turn, and close the connection.

        Where answers to earlier requests are due, these are sent, and the connection is closed after the last one.
        """
        unanswered = self._awaited is not None and self._awaited[1] == "body" and not self._refused
        url = self.url if self._requests else b""
        self._awaited = None
        self._set_receipt_timer()
        self._lingers = _LINGER_BYTES
        if unanswered:  # the application waits for the body
            _end(self.cycle, refusal.status)
        else:
            self.count_refusal(refusal.status)
            self.log_refusal(refusal.status, self.parser.get_method().decode() if url else "-", url or b"-")
        if self._refused or (unanswered and (self.pipeline or self.cycle.response_started)):
            self.transport.close()
            return
        if unanswered:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        elif not self._nothing_due():
            self.cycle.keep_alive = False
            return
        self.transport.write(as_bytes(refusal, url, self.headers or (), self.origins))
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _nothing_due(self) -> bool:
        """Whether every request of this connection has its answer."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.disconnected

    def _drop(self, size: int) -> None:
        self._lingers = max(1, self._lingers - size)
        if self._lingers == 1 and self._nothing_due():
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
            seconds = self.limits.header_timeout if self._awaited[1] == "headers" else self.limits.body_timeout
            self._receipt_timer = self.loop.call_later(seconds, self._too_slow)

    def _client_reads(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _too_slow(self) -> None:
        self._receipt_timer = None
        if self.transport.is_closing():
            return
        if self._awaited is not None and self._awaited[1] == "body" and not self._refused:
            self._refuse(TOO_SLOW)
        else:
            self.transport.close()


def _end(cycle: RequestResponseCycle, status: int) -> None:
    """Note why a request ends without its answer, for RequestContext."""
    cast(dict[str, Any], cycle.scope).setdefault("lsr.ended", status)


def limited_protocol(
    limits: ConnectionLimits,
    admission: Admission,
    origins: NamedOrigins,
    count_refusal: Callable[[int], None],
    log_refusal: LogRefusal,
) -> type[LimitedHttpProtocol]:
    """Return a protocol class with these limits; uvicorn needs a class.

    `count_refusal` is called with the status of every request that is refused here and not by `admission`,
    `log_refusal` for both.
    """
    shared = {
        "limits": limits,
        "admission": admission,
        "origins": origins,
        "count_refusal": staticmethod(count_refusal),
        "log_refusal": staticmethod(log_refusal),
    }
    return type("LimitedHttpProtocol", (LimitedHttpProtocol,), shared)
