"""What a client may send as the head of a request: number of headers, bytes, headers that occur once.

uvicorn and llhttp have no such limits, and a request's headers are read before its key is checked. So whoever reaches
the port could fill the memory: a short header costs about 30 times its bytes. The protocol asks a `HeaderBudget` for
every header, and for data in which no header and no body ends (a header without an end is kept by the parser).

Trailers (headers after a chunked body) have a budget of the same size. They are dropped: nothing here reads them, and
a header that arrives after the key was checked must not look like one that came before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# Two of one of these let two programs read one request differently.
ONCE: Final = frozenset({b"host", b"authorization", b"x-api-key", b"api-key", b"content-type"})
_SEPARATORS: Final = 4  # ": " and the line end


@dataclass(frozen=True)
class HeaderLimits:
    """The limits of a request's head; the bytes include the request line."""

    max_headers: int
    max_bytes: int


class HeaderBudget:
    """Counts one head, or the trailers of one body."""

    def __init__(self, limits: HeaderLimits) -> None:
        self._limits = limits
        self._headers = 0
        self._bytes = 0
        self._unfinished = 0

    def restart(self) -> None:
        """Begin to count the next head."""
        self._headers = self._bytes = self._unfinished = 0

    def accepts(self, size: int) -> bool:
        """Count a piece of the request line; return whether it is within the limits."""
        self._bytes += size
        return self._bytes <= self._limits.max_bytes

    def accepts_header(self, name: bytes, value: bytes) -> bool:
        """Count a header; return whether it is within the limits."""
        self._headers += 1
        return self._headers <= self._limits.max_headers and self.accepts(len(name) + len(value) + _SEPARATORS)

    def accepts_data(self, size: int, *, progress: bool) -> bool:
        """Count received bytes; `progress`: a head or a piece of a body ended in them. Return whether the bytes without
        progress are within the limits."""
        self._unfinished = 0 if progress else self._unfinished + size
        return self._unfinished <= self._limits.max_bytes

    @property
    def description(self) -> str:
        """The limits in words, for a problem."""
        return f"at most {self._limits.max_headers} headers, {self._limits.max_bytes} bytes with the request line"


def repeated_or_missing(headers: Iterable[tuple[bytes, bytes]], http_version: str) -> str | None:
    """Return what is wrong with the headers that must occur once, as RFC 9112 (3.2) asks, or None.

    `headers` have names in lower case.
    """
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in ONCE:
            if name in seen:
                return f"the header {name.decode()!r} occurs more than once"
            seen.add(name)
    if b"host" not in seen and http_version == "1.1":
        return "an HTTP/1.1 request needs a Host header"
    return None
