"""The outermost layer of every request: request id, body limit, safe headers, metrics, and no tracebacks.

A plain ASGI middleware. The id is the caller's `X-Request-ID` if it is short and plain, otherwise a new one; it is in
the answer's header, in every problem and in the log. The bytes of a body are counted as they arrive, whatever
Content-Length says, and so is the total of all requests: many large bodies at once must not fill the memory.
"""

from __future__ import annotations

import re
from itertools import count
from time import perf_counter
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import ServiceMetrics
from service.problems import Overloaded, ProblemError, internal_error, problem_response
from service.settings import ServiceSettings

CLIENT_CLOSED: Final = 499  # nginx's number for a client that went away before its answer; it is never sent
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
        self._held = 0  # bytes of the bodies of all requests in flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        headers = Headers(scope=scope)
        request_id = choose_request_id(headers.get("x-request-id"))
        scope["lsr.request_id"] = request_id
        status = 0
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.disconnect" and not status:
                scope.setdefault("lsr.ended", CLIENT_CLOSED)
            size = len(message.get("body", b""))
            received += size
            self._held += size
            if received > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            if self._held > self._settings.max_bodies:
                raise Overloaded("bodies")
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _extended(message["headers"], request_id)
            await send(message)

        try:
            refusal = self._refuse(scope, headers)
            if refusal is not None:
                await refusal(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive_counted, send_with_headers)
        except ClientDisconnect:
            scope.setdefault("lsr.ended", CLIENT_CLOSED)
        except Exception as error:
            if status:  # the answer has started: the server drops the connection
                raise
            await internal_error(scope, error)(scope, receive, send_with_headers)
        finally:
            self._held -= received
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, str(scope.get("lsr.ended", status))).inc()
            self._metrics.request_seconds.labels(route).observe(perf_counter() - started)

    def _refuse(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        hosts = self._settings.allowed_hosts
        if hosts is not None and _host_name(headers.get("host", "")) not in hosts:
            detail = "this service has no API key and answers only requests addressed to localhost"
            return problem_response(scope, 403, "wrong-host", "Host not allowed", detail)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._settings.max_body:
            problem = _too_large(self._settings.max_body)
            return problem_response(scope, 413, problem.slug, problem.title, problem.detail)
        return None


def choose_request_id(offered: str | None) -> str:
    """Return the caller's id if it is short and plain, otherwise a new one."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else f"{_PROCESS}-{next(_numbers):x}"


def _extended(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    result = [*headers, (b"x-request-id", request_id.encode()), *_SAFE_HEADERS]
    present = {name for name, _ in headers}
    result += [header for header in _API_HEADERS if header[0] not in present]
    return result


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, "body-too-large", "Body too large", f"a request's body may have at most {limit} bytes")


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
