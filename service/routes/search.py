"""Search."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.auth import READ
from service.rendering import to_json
from service.requests import SearchRequest
from service.responses import SearchModel
from service.routes.collections import CollectionName
from service.searching import search
from service.state import Service, service_of
from service.strict_route import StrictRoute

router = APIRouter(prefix="/v1/collections/{collection}", route_class=StrictRoute, tags=["search"])


@router.post("/search", dependencies=[READ], response_model=SearchModel)
async def search_collection(
    collection: CollectionName,
    body: SearchRequest,
    request: Request,
    service: Annotated[Service, Depends(service_of)],
) -> Response:
    """Find the best documents for a text or for a sparse vector."""
    arrived = perf_counter()
    timeout_ms = body.timeout_ms or service.settings.default_timeout_ms
    request_id: str = request.scope["lsr.request_id"]
    answer = await service.searches.run(
        lambda: to_json(search(service, collection, body, arrived, request_id)), timeout_ms=timeout_ms
    )
    return Response(answer, media_type="application/json")
