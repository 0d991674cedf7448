"""Documents by id: write, read, delete, and the jobs of slow writes."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from service.auth import requires
from service.http.strict_route import StrictRoute, require_media_type
from service.messages.document_bodies import MEDIA_TYPES, REQUEST_BODY
from service.messages.rendering import json_response, render_document
from service.messages.requests import DeleteRequest, PatchRequest
from service.messages.responses import DeleteModel, DocumentModel, JobModel, PatchModel, WriteModel
from service.routes.collections import CollectionName
from service.runtime.state import Service, service_of
from service.runtime.writes import (
    Upsert,
    delete_document,
    delete_documents,
    delete_matching,
    document_not_found,
    patch_document,
)

router = APIRouter(route_class=StrictRoute, tags=["documents"])
ServiceOf = Annotated[Service, Depends(service_of)]
DocumentId = Annotated[str, Path(alias="id", min_length=1, max_length=512, description="The document's id")]

_DOCUMENTS = "/v1/collections/{collection}/documents"
_OR_JOB: dict[int | str, dict[str, Any]] = {
    202: {"model": JobModel, "description": "It takes long: request the job later"}
}


@router.post(
    _DOCUMENTS,
    response_model=WriteModel,
    responses=_OR_JOB,
    openapi_extra={"requestBody": REQUEST_BODY},
)
@requires("write")
async def write_documents(collection: CollectionName, request: Request, service: ServiceOf) -> Response:
    """Add documents, or replace those with the same ids. The valid ones become visible and durable together.

    An invalid document is reported with its line, and the others are kept. If all are invalid, the request fails (422).
    """
    media_type = require_media_type(request, *MEDIA_TYPES)
    target = service.store.get(collection)  # an unknown collection is refused before its documents are received
    body = await request.body()
    future = service.writes.submit(target, Upsert(body, media_type), len(body))
    return await answer_write(request, service, collection, future)


@router.post(_DOCUMENTS + ":delete", response_model=DeleteModel, responses=_OR_JOB)
@requires("write")
async def delete_many(
    collection: CollectionName, body: DeleteRequest, request: Request, service: ServiceOf
) -> Response:
    """Delete documents by id or by filter, in one change; with `dry_run`, only count them."""
    target = service.store.get(collection)
    if body.filter is not None:
        change = partial(delete_matching, condition=body.filter, dry_run=body.dry_run)
    else:
        change = partial(delete_documents, ids=body.ids or [], dry_run=body.dry_run)
    return await answer_write(request, service, collection, service.writes.submit(target, change))


@router.get(_DOCUMENTS + "/{id:path}", response_model=DocumentModel)
@requires("read")
async def show_document(collection: CollectionName, document_id: DocumentId, service: ServiceOf) -> Response:
    """Show a document."""
    document = await service.searches.run(lambda: service.store.get(collection).get(document_id))
    if document is None:
        raise document_not_found(collection, document_id)
    return json_response(render_document(document))


@router.delete(_DOCUMENTS + "/{id:path}", response_model=DeleteModel, responses=_OR_JOB)
@requires("write")
async def delete_one(
    collection: CollectionName, document_id: DocumentId, request: Request, service: ServiceOf
) -> Response:
    """Delete a document."""
    target = service.store.get(collection)
    change = partial(delete_document, identifier=document_id)
    return await answer_write(request, service, collection, service.writes.submit(target, change))


@router.patch(_DOCUMENTS + "/{id:path}", response_model=PatchModel, responses=_OR_JOB)
@requires("write")
async def patch_one(
    collection: CollectionName, document_id: DocumentId, body: PatchRequest, request: Request, service: ServiceOf
) -> Response:
    """Change a document's metadata: keys are set, keys given as null are removed. It is not encoded again."""
    target = service.store.get(collection)
    change = partial(patch_document, identifier=document_id, metadata=body.metadata)
    return await answer_write(request, service, collection, service.writes.submit(target, change))


@router.get("/v1/jobs/{job}", response_model=JobModel)
@requires("write")
async def show_job(job: str, service: ServiceOf) -> Response:
    """Show the state of a write that was answered 202."""
    return json_response(service.jobs.show(job))


async def answer_write(request: Request, service: Service, collection: str, future: Future[dict[str, Any]]) -> Response:
    """Wait for a write; create a job if it takes long or the caller prefers it."""
    seconds = 0.0 if "respond-async" in request.headers.get("prefer", "") else service.settings.write_wait
    waiting = asyncio.wrap_future(future)
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    if done:
        return json_response(waiting.result())
    waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # the job reports its error
    job = service.jobs.add(collection, future)
    return json_response(
        job, 202, {"Location": f"{service.settings.root_path}/v1/jobs/{job['job']}", "Retry-After": "1"}
    )
