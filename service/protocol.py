"""uvicorn's HTTP protocol with a time limit on what a client sends and on what it reads.

uvicorn waits for ever for a request's headers and body, so a few hundred clients that send a byte a second would hold
their connections, memory and descriptors as long as they like. Here a connection is dropped when the headers of a
request are not complete `header_timeout` seconds after the connection was made or the request began, when its body is
not complete `body_timeout` seconds after its headers, or when it does not read its answer for `body_timeout` seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


class TimedHttpProtocol(HttpToolsProtocol):
    """One connection. Subclasses made by `timed_protocol` carry the limits."""

    header_timeout = 10.0
    body_timeout = 60.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._receipt_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request's headers."""
        super().connection_made(transport)
        self._expect_within(self.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._received()
        self._client_reads()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start to wait for a further request's headers."""
        super().on_message_begin()
        if self._receipt_timer is None:
            self._expect_within(self.header_timeout)

    def on_headers_complete(self) -> None:
        """Start to wait for the body."""
        self._received()
        self._expect_within(self.body_timeout)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop to wait: the request is here."""
        self._received()
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

    def _expect_within(self, seconds: float) -> None:
        self._receipt_timer = self.loop.call_later(seconds, self._too_slow)

    def _received(self) -> None:
        if self._receipt_timer is not None:
            self._receipt_timer.cancel()
            self._receipt_timer = None

    def _client_reads(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _too_slow(self) -> None:
        self._receipt_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def timed_protocol(header_timeout: float, body_timeout: float) -> type[TimedHttpProtocol]:
    """Return the protocol class with these limits, in seconds, as uvicorn wants it: a class."""
    limits = {"header_timeout": header_timeout, "body_timeout": body_timeout}
    return type("TimedHttpProtocol", (TimedHttpProtocol,), limits)
