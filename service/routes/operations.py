"""Health, readiness and metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service.auth import granted, requires, sent_key
from service.http.strict_route import UnguardedRoute
from service.messages.rendering import json_response, render_damage
from service.messages.responses import HealthModel, ReadyModel
from service.runtime.state import Service, service_of

router = APIRouter(route_class=UnguardedRoute, tags=["operations"])
ServiceOf = Annotated[Service, Depends(service_of)]


@router.get("/healthz", response_model=HealthModel)
async def health() -> Response:
    """Report that the process is alive. Works under any load, without a key."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=ReadyModel)
async def readiness(request: Request, service: ServiceOf) -> Response:
    """Report whether the service is ready to search: collections open, encoders loaded, kernels compiled.

    Broken collections, damaged files of others, and collections that are served for reading only are listed; they do
    not make the service unready, unless every collection is broken. If API keys are configured, only a caller with the
    scope `read` sees them.
    """
    service.readiness.require_usable(service.store)
    broken = service.readiness.broken(service.store)
    served = sorted(set(service.store.names()) - set(broken))
    shown: dict[str, Any] = {"status": "ready", "collections": len(served), "broken": [], "damaged": []}
    shown["read_only"] = []
    keys = service.settings.api_keys
    key = granted(keys, sent_key(request))
    if not keys or (key is not None and key.allows("read") and not key.is_bound):
        shown["broken"] = [{"name": name, "reason": reason} for name, reason in sorted(broken.items())]
        shown["damaged"] = [
            {"name": name, **damage} for name in served for damage in render_damage(service.store.damage(name))
        ]
        shown["read_only"] = [
            {"name": name, "reason": reason} for name, reason in sorted(service.store.read_only.items())
        ]
    return json_response(shown)


@router.get("/metrics", response_class=PlainTextResponse)
@requires("read")
async def metrics(service: ServiceOf) -> Response:
    """Return the metrics in Prometheus's text format."""
    text = await service.chores.run(service.metrics.exposition)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
