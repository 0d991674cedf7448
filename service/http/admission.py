"""Refuses requests before they cost time.

The queues behind the event loop have limits, but the loop must first parse, check and route a request. At several times
the maximum load the loop itself becomes the queue: every answer, including each 429, would be seconds late. So the
server's protocol counts, by kind, the requests that are complete and not yet answered. Above a limit it answers 429 as
soon as it has read the headers, without the application. An accepted request then waits for a limited number of others.

Requests whose body is still arriving are not counted: slow clients must not take the places of fast ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import orjson

from service.http.context import choose_request_id
from service.http.named_origins import NamedOrigins
from service.metrics import ServiceMetrics
from service.problems import MEDIA_TYPE, Overloaded

Kind = Literal["searches", "others"]

_ALWAYS: Final = (b"/healthz", b"/readyz", b"/health", b"/metrics")
_SEARCHES: Final = (b"/search", b"/search:batch", b"/embed_sparse")


class Admission:
    """Counts the requests in flight. Used on the event loop only."""

    def __init__(
        self,
        metrics: ServiceMetrics,
        *,
        searches: int,
        others: int,
        on_pressure: Callable[[bool], None] | None = None,
        root_path: str = "",
        origins: NamedOrigins | None = None,
    ) -> None:
        """`root_path` may come before a path. `on_pressure` is called with True when the first request is refused, with
        False when half the places are free again. Pages of `origins` may read a refusal."""
        self._on_pressure = on_pressure or _ignore
        self._root_path = root_path.encode()
        self._origins = origins or NamedOrigins(())
        self._pressed = False
        self._rejected = metrics.rejected.labels("in_flight")
        self._answered = metrics.requests.labels("none", "429")
        self._limits: dict[Kind, int] = {"searches": searches, "others": others}
        self._in_flight: dict[Kind, int] = {"searches": 0, "others": 0}
        metrics.watch_queue("searches_in_flight", lambda: self._in_flight["searches"])
        metrics.watch_queue("others_in_flight", lambda: self._in_flight["others"])

    def kind(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Kind | None:
        """Return the kind of a request; None: it is always accepted."""
        if self._origins.is_preflight(method, headers):
            return None
        path = url.partition(b"?")[0].removeprefix(self._root_path)
        if path in _ALWAYS:
            return None
        return "searches" if path.endswith(_SEARCHES) else "others"

    def is_full(self, kind: Kind) -> bool:
        """Whether the limit of this kind is reached."""
        return self._in_flight[kind] >= self._limits[kind]

    def enter(self, kind: Kind) -> None:
        """Count a complete request."""
        self._in_flight[kind] += 1

    def leave(self, kind: Kind) -> None:
        """Count it as answered."""
        self._in_flight[kind] -= 1
        if self._pressed and all(2 * self._in_flight[kind] <= limit for kind, limit in self._limits.items()):
            self._pressed = False
            self._on_pressure(False)

    def refusal(self, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return the whole answer to a refused request, a 429 problem, as bytes to send at once."""
        if not self._pressed:
            self._pressed = True
            self._on_pressure(True)
        self._rejected.inc()
        self._answered.inc()
        offered = next((value for name, value in headers if name == b"x-request-id"), b"")
        request_id = choose_request_id(offered.decode("latin-1")).encode()
        instance = orjson.dumps(url.partition(b"?")[0].decode("ascii", "replace"))
        problem = _EMBED_PROBLEM if instance.endswith(b'/embed_sparse"') else _PROBLEM
        body = b'%b,"instance":%b,"request_id":"%b"}' % (problem, instance, request_id)
        return _HEAD % (len(body), request_id, self._origins.lines(headers)) + body


def _ignore(_: bool) -> None:
    """Replace a callback that was not given."""


def _problem(**more: str) -> bytes:
    """Return the constant part of a refusal's body with `more` fields, without the closing brace."""
    problem = Overloaded("requests")
    fields = {"type": f"/problems/{problem.slug}", "title": problem.title, "status": 429, "detail": problem.detail}
    return orjson.dumps(fields | more).removesuffix(b"}")


_PROBLEM: Final = _problem()
_EMBED_PROBLEM: Final = _problem(error=Overloaded("requests").detail, error_type="Overloaded")
_HEAD: Final = (
    "HTTP/1.1 429 Too Many Requests\r\n"
    f"content-type: {MEDIA_TYPE}\r\ncontent-length: %d\r\nretry-after: 1\r\n"
    "cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: %b\r\n%b\r\n"
).encode()
