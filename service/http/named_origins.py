"""The headers that let pages of the named origins read an answer, for answers that the application does not give.

The application's answers have them from Starlette's middleware. Refusals of the protocol and of the outermost layer
(413, 429, 431, 408, 500 …) need them too: without them a browser hides the status and the problem from the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

EXPOSED: Final = ("Location", "Retry-After", "X-Request-ID")

Header = tuple[bytes, bytes]


class NamedOrigins:
    """The origins of `--cors-origin`; none: no answer has such headers."""

    def __init__(self, origins: Iterable[str]) -> None:
        exposed = ", ".join(EXPOSED).encode()
        self._headers: dict[bytes, tuple[Header, ...]] = {
            origin.encode(): (
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-expose-headers", exposed),
                (b"vary", b"Origin"),
            )
            for origin in origins
        }

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return the headers of an answer to a page of `origin`, the value of its request's header; names are lower
        case."""
        return () if origin is None else self._headers.get(origin, ())

    def lines(self, headers: Iterable[Header]) -> bytes:
        """Return the same as lines to send, by the headers of the request as far as they have been read.

        A head that is refused may end before its Origin. Where only one origin is named, the answer is for that one:
        a browser gives it to no page of another origin.
        """
        if not self._headers:
            return b""
        sent = next((value for name, value in headers if name == b"origin"), None)
        if sent is None and len(self._headers) == 1:
            (sent,) = self._headers
        return b"".join(b"%b: %b\r\n" % header for header in self.headers(sent))

    def is_preflight(self, method: bytes, headers: Iterable[Header]) -> bool:
        """Whether a request is a browser's question before one of these pages may call: it is never refused for load,
        since the page would not learn why."""
        return method == b"OPTIONS" and any(name == b"origin" and value in self._headers for name, value in headers)
