"""Search, single or in batches, and encoding without searching."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.auth import requires
from service.http.strict_route import DirectRoute
from service.messages.rendering import to_json
from service.messages.requests import EmbedRequest
from service.messages.responses import BatchModel, SearchModel, SparseValueModel
from service.messages.search_requests import BatchRequest, SearchRequest
from service.routes.collections import CollectionName
from service.runtime.embeddings import embed
from service.runtime.searches import search, search_batch
from service.runtime.state import Service, service_of

router = APIRouter(route_class=DirectRoute, tags=["search"])
ServiceOf = Annotated[Service, Depends(service_of)]

_SEARCH = "/v1/collections/{collection}/search"


@router.post(_SEARCH, response_model=SearchModel)
@requires("read", bound=True)
async def search_collection(
    collection: CollectionName,
    body: SearchRequest,
    request: Request,
    service: ServiceOf,
) -> Response:
    """Find the best documents for a text or for a sparse vector."""
    arrived = perf_counter()
    timeout_ms = body.timeout_ms or service.settings.default_timeout_ms
    request_id: str = request.scope["lsr.request_id"]
    answer = await service.search_turns.run(
        service.store.get(collection),
        body,
        lambda turn_ms: to_json(search(service, collection, body, arrived, request_id, turn_ms=turn_ms)),
        timeout_ms,
    )
    return Response(answer, media_type="application/json")


@router.post(_SEARCH + ":batch", response_model=BatchModel)
@requires("read", bound=True)
async def search_many(collection: CollectionName, body: BatchRequest, request: Request, service: ServiceOf) -> Response:
    """Answer several searches in one request. If one fails, the request fails."""
    arrived = perf_counter()
    request_id: str = request.scope["lsr.request_id"]
    answer = await service.searches.run(
        lambda: to_json(search_batch(service, collection, body.searches, arrived, request_id)),
        timeout_ms=service.settings.default_timeout_ms,
    )
    return Response(answer, media_type="application/json")


@router.post("/embed_sparse", response_model=list[list[SparseValueModel]])
@requires("read", bound=True)
async def embed_sparse(body: EmbedRequest, service: ServiceOf) -> Response:
    """Encode texts as sparse vectors, in the wire format of text-embeddings-inference."""
    return Response(
        await service.encodings.run(lambda: to_json(embed(service.store, body))), media_type="application/json"
    )
