"""The bodies of requests: counted as they arrive, one by one and together, and expanded where they are encoded.

The bytes of a body are counted whatever Content-Length says, and so is the total of all requests: many large bodies at
once must not fill the memory. What an encoded body becomes is counted instead of what was sent.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from service.http.content_encoding import encoding_of, expand
from service.problems import Overloaded, ProblemError

CLIENT_CLOSED: Final = 499  # nginx's number for a client that went away before its answer; it is never sent


class _HasStatus(Protocol):
    status: int


class Bodies:
    """Counts the bodies of all requests in flight. Used on the event loop only."""

    def __init__(self, max_body: int, max_bodies: int) -> None:
        """`max_body` bytes for one request, `max_bodies` for all together."""
        self.limit = min(max_body, max_bodies)  # a body above the total could never be accepted
        self._max_bodies = max_bodies
        self._held = 0

    def begin(self, scope: Scope, headers: Headers, receive: Receive, answer: _HasStatus) -> Body:
        """Return the body of a new request."""
        return Body(self, scope, headers, receive, answer)

    def hold(self, size: int) -> None:
        """Count bytes, negative to release them; raises Overloaded if there are too many."""
        self._held += size
        if size > 0 and self._held > self._max_bodies:
            raise Overloaded("bodies")

    def too_large(self) -> ProblemError:
        """Return the 413 problem for a body."""
        return ProblemError(
            413, "body-too-large", "Body too large", f"a request's body may have at most {self.limit} bytes"
        )


class Body:
    """The body of one request; the application gets `receive`."""

    def __init__(self, bodies: Bodies, scope: Scope, headers: Headers, receive: Receive, answer: _HasStatus) -> None:
        self._bodies = bodies
        self._scope = scope
        self._header = headers.get("content-encoding")
        self._receive = receive
        self._answer = answer
        self._held = 0
        self.received = 0  # bytes, as they were sent

    async def receive(self) -> Message:
        """Return the next piece of the body; raises ProblemError (413, 415, 429, 400 for a damaged encoding)."""
        if self._header is None:
            return await self._next()
        encoding = encoding_of(self._header)
        self._header = None
        if encoding is None:
            return await self._next()
        received = bytearray()
        while True:
            message = await self._next()
            if message["type"] != "http.request":
                return message
            received += message.get("body", b"")
            if not message.get("more_body", False):
                break
        sent = self._held
        body = await asyncio.to_thread(expand, bytes(received), encoding, self._bodies.limit, self._bodies.too_large)
        self._hold(len(body) - sent)
        return {"type": "http.request", "body": body, "more_body": False}

    def release(self) -> None:
        """Stop counting this body."""
        self._bodies.hold(-self._held)
        self._held = 0

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._answer.status:
            self._scope.setdefault("lsr.ended", CLIENT_CLOSED)
        size = len(message.get("body", b""))
        self.received += size
        self._hold(size)
        if self._held > self._bodies.limit:
            raise self._bodies.too_large()
        return message

    def _hold(self, size: int) -> None:
        self._held += size
        self._bodies.hold(size)
