"""Problems that the server's protocol answers itself: the application has not seen the request, or waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

import orjson

from service.http.context import choose_request_id
from service.http.named_origins import NamedOrigins
from service.problems import MEDIA_TYPE


class Refusal(NamedTuple):
    """A problem of the protocol; the connection is closed after it."""

    status: int
    slug: str
    detail: str


INVALID_HTTP = Refusal(400, "bad-request", "Invalid HTTP request received.")
TOO_SLOW = Refusal(408, "request-timeout", "the request's body did not arrive in time")
TOO_MANY_WAIT = Refusal(429, "overloaded", "too many requests wait on this connection")


def as_bytes(refusal: Refusal, url: bytes, headers: Sequence[tuple[bytes, bytes]], origins: NamedOrigins) -> bytes:
    """Return the whole answer, as bytes to send before the connection is closed; pages of `origins` may read it."""
    offered = next((value for name, value in headers if name == b"x-request-id"), b"")
    request_id = choose_request_id(offered.decode("latin-1"))
    phrase = HTTPStatus(refusal.status).phrase
    body = orjson.dumps(
        {
            "type": f"/problems/{refusal.slug}",
            "title": phrase,
            "status": refusal.status,
            "detail": refusal.detail,
            "instance": url.partition(b"?")[0][:500].decode("ascii", "replace"),
            "request_id": request_id,
        }
    )
    head = (
        f"HTTP/1.1 {refusal.status} {phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        f"cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: {request_id}\r\n"
        "connection: close\r\n"
    )
    return b"".join((head.encode(), origins.lines(headers), b"\r\n", body))
