"""Health, readiness and metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from lsr import __version__
from service.auth import granted, requires, sent_key
from service.http.strict_route import UnguardedRoute
from service.messages.rendering import json_response, render_damage
from service.messages.requests import MAX_INPUTS
from service.messages.responses import HealthModel, InfoModel, ReadyModel
from service.messages.search_requests import MAX_QUERY_CHARACTERS
from service.runtime.embeddings import known_encoders
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


@router.get("/health", include_in_schema=False)
async def ready_to_encode(service: ServiceOf) -> Response:
    """Answer 200 with an empty body when the service is ready, as text-embeddings-inference does."""
    service.readiness.require()
    return Response(status_code=200)


@router.get("/info", response_model=InfoModel)
@requires("read", bound=True)
async def info(service: ServiceOf) -> Response:
    """Describe the encoder of `/embed_sparse` when no `model` is given, in the form of text-embeddings-inference.

    `model_id` is empty if there is no encoder, or if there are several, of which a request must name one.
    """
    encoders, meant = await service.chores.run(lambda: known_encoders(service.store))
    settings = service.settings
    return json_response(
        {
            "model_id": meant or "",
            "served_model_name": meant or "",
            "model_sha": None,
            "model_dtype": "float32",  # of the weights that are returned
            "model_type": {"embedding": {"pooling": "splade"}},
            "models": sorted(encoders),
            "max_concurrent_requests": settings.search_threads + settings.search_queue,
            "max_client_batch_size": MAX_INPUTS,
            "max_input_characters": MAX_QUERY_CHARACTERS,
            "max_input_length": None,  # in tokens: each encoder has its own, and cuts texts to it
            "max_batch_tokens": None,
            "max_batch_requests": None,
            "tokenization_workers": None,
            "auto_truncate": True,
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
    )


@router.get("/metrics", response_class=PlainTextResponse)
@requires("read")
async def metrics(service: ServiceOf) -> Response:
    """Return the metrics in Prometheus's text format."""
    text = await service.chores.run(service.metrics.exposition)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
