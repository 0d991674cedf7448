"""The outermost layer of every request: request id, body limit, safe headers, metrics, and no tracebacks.

A plain ASGI middleware. The id is the caller's `X-Request-ID` if it is short and plain, otherwise a new one; it is in
the answer's header, in every problem and in the log. bodies.py counts and expands the body.
"""

from __future__ import annotations

import re
from itertools import count
from time import perf_counter
from typing import Final
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lsr.sharding.asking import TRACE
from service.http.bodies import CLIENT_CLOSED, Bodies
from service.http.named_origins import Header, NamedOrigins
from service.http.tracing import span, trace_id, trace_of
from service.logs import log_access
from service.metrics import ServiceMetrics
from service.problems import internal_error, problem_response
from service.settings import ServiceSettings

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROCESS: Final = uuid4().hex[:16]
_numbers: Final = count(1)
_SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_API_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class RequestContext:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._origins = NamedOrigins(settings.cors_origins)
        self._bodies = Bodies(settings.max_body, settings.max_bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        headers = Headers(scope=scope)
        request_id = scope["lsr.request_id"] = choose_request_id(headers.get("x-request-id"))
        shared = self._origins.headers(headers.get("origin", "").encode("latin-1"))
        trace = trace_of(headers.get("traceparent"))
        answer = _Answer(send, request_id, shared, without_body=scope["method"] == "HEAD")
        seen = self._as_routed(scope)
        body = self._bodies.begin(scope, headers, receive, answer)
        try:
            refusal = self._refuse(seen, headers)
            if refusal is not None:
                await refusal(seen, receive, answer.send)
            else:
                with span(f"{scope['method']} request", trace, path=scope["path"]) as inner:
                    TRACE.set(inner)
                    await self._app(seen, body.receive, answer.send)
        except ClientDisconnect:
            scope.setdefault("lsr.ended", CLIENT_CLOSED)
        except Exception as error:
            if answer.status:  # the answer has started: the server drops the connection
                raise
            await internal_error(seen, error)(seen, receive, answer.send)
        finally:
            body.release()
            status = scope.get("lsr.ended") or answer.status
            route = getattr(seen.get("route"), "path", "none").replace(":name}", "}")
            seconds = perf_counter() - started
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(seconds)
            if self._settings.access_log:
                log_access(
                    method=scope["method"],
                    target=scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace"),
                    status=status,
                    seconds=seconds,
                    received=body.received,
                    request_id=request_id,
                    trace_id=trace_id(trace),
                    client=(scope.get("client") or ("",))[0],
                    route=route,
                )

    def _as_routed(self, scope: Scope) -> Scope:
        """Return the scope as the routes see it: with the proxy's prefix, and HEAD as a GET (its body is not sent)."""
        if scope["method"] != "HEAD" and not self._settings.root_path:
            return scope
        head = scope["method"] == "HEAD"
        method = "GET" if head else scope["method"]
        return {**scope, "method": method, "root_path": self._settings.root_path, "lsr.head": head}

    def _refuse(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        hosts = self._settings.allowed_hosts
        if hosts is not None and _host_name(headers.get("host", "")) not in hosts:
            detail = "this service has no API key and answers only requests addressed to localhost"
            return problem_response(scope, 403, "wrong-host", "Host not allowed", detail)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._bodies.limit:
            problem = self._bodies.too_large()
            return problem_response(scope, 413, problem.slug, problem.title, problem.detail)
        for name, part in (("raw_path", "path"), ("query_string", "query")):
            if not _is_utf8(scope.get(name) or b""):
                detail = f"the {part} of the address is not valid UTF-8 after percent-decoding"
                return problem_response(scope, 400, "bad-request", "Bad Request", detail)
        return None


class _Answer:
    """Passes an answer on with the headers that every answer has; `status` is 0 until it starts."""

    def __init__(self, send: Send, request_id: str, shared: tuple[Header, ...], *, without_body: bool) -> None:
        """`shared` are for a page of a named origin, where the application does not set them."""
        self._send = send
        self._shared = shared
        self._request_id = request_id
        self._without_body = without_body
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = _extended(message["headers"], self._request_id, self._shared)
        elif self._without_body and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _is_utf8(percent_encoded: bytes) -> bool:
    if b"%" not in percent_encoded:
        return True
    try:
        unquote_to_bytes(percent_encoded).decode()
    except UnicodeDecodeError:
        return False
    return True


def choose_request_id(offered: str | None) -> str:
    """Return the caller's id if it is short and plain, otherwise a new one."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else f"{_PROCESS}-{next(_numbers):x}"


def _extended(headers: list[Header], request_id: str, shared: tuple[Header, ...]) -> list[Header]:
    result = [*headers, (b"x-request-id", request_id.encode()), *_SAFE_HEADERS]
    present = {name for name, _ in headers}
    result += [header for header in _API_HEADERS if header[0] not in present]
    if shared and b"access-control-allow-origin" not in present:
        result += shared
    return result


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
