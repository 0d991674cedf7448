"""One trace id for a request and everything that it asks of other machines: W3C Trace Context.

A valid `traceparent` of the caller is continued, otherwise a new trace begins. Where the package OpenTelemetry is
installed and configured (its environment variables, `opentelemetry-instrument`), spans are exported, too.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


def trace_of(offered: str | None) -> str:
    """Return the `traceparent` of a request: the caller's if it is valid, otherwise a new one."""
    if offered is not None and _TRACEPARENT.fullmatch(offered):
        return offered
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def trace_id(traceparent: str) -> str:
    """Return the trace's id, 32 hexadecimal digits; empty without a trace."""
    return traceparent[3:35]


@contextlib.contextmanager
def span(name: str, traceparent: str, **attributes: str | int | float) -> Iterator[str]:
    """Surround a piece of work; yields the `traceparent` for what it asks of others."""
    api = _opentelemetry() if traceparent else None
    if api is None or isinstance(api[0].get_tracer_provider(), api[0].ProxyTracerProvider):  # nothing is configured
        yield traceparent
        return
    trace, propagator = api
    parent = propagator.extract({"traceparent": traceparent})
    with trace.get_tracer("lsr").start_as_current_span(name, context=parent, attributes=attributes):
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        yield carrier.get("traceparent", traceparent)


@cache
def _opentelemetry() -> tuple[Any, Any] | None:
    try:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    return trace, TraceContextTextMapPropagator()
