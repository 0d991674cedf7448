"""Documents by id: write, read, delete, and the jobs of slow writes."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.auth import requires
from service.http.strict_route import StrictRoute, require_media_type
from service.messages.document_bodies import MEDIA_TYPES, REQUEST_BODY
from service.messages.rendering import json_response
from service.messages.requests import DeleteRequest, GetRequest, PatchRequest
from service.messages.responses import (
    DeleteModel,
    DocumentModel,
    DocumentsModel,
    FoundDocumentsModel,
    JobModel,
    PatchModel,
    WriteModel,
)
from service.messages.strict_model import Text
from service.routes.collections import CollectionName
from service.runtime.reading import list_documents, parse_condition, read_documents, render_with, vector_kinds
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
After = Annotated[Text | None, Query(min_length=1, max_length=512, description="List the ids above this one")]
PageSize = Annotated[int, Query(ge=1, le=1_000, description="How many documents")]
WithVectors = Annotated[bool, Query(description="Show the vectors, too")]
Condition = Annotated[Text | None, Query(alias="filter", description="List what matches this filter, a JSON object")]

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
@requires("write", bound=True)
async def write_documents(collection: CollectionName, request: Request, service: ServiceOf) -> Response:
    """Add documents, or replace those with the same ids. The valid ones become visible and durable together.

    An invalid document is reported with its line, and the others are kept. If all are invalid, the request fails (422).
    """
    media_type = require_media_type(request, *MEDIA_TYPES)
    target = service.store.get(collection)  # an unknown collection is refused before its documents are received
    body = await request.body()
    future = service.writes.submit(target, Upsert(body, media_type), len(body))
    return await answer_write(request, service, collection, future)


@router.get(_DOCUMENTS, response_model=DocumentsModel)
@requires("read", bound=True)
async def list_all_documents(
    collection: CollectionName,
    service: ServiceOf,
    after: After = None,
    size: PageSize = 100,
    vectors: WithVectors = False,
    condition: Condition = None,
) -> Response:
    """List the documents by ascending id, a page at a time; `next_after` of a page is the `after` of the next one."""
    matching = parse_condition(condition)
    page = partial(list_documents, service.store.get(collection), after, size, vectors=vectors, condition=matching)
    return json_response(await service.chores.run(page))


@router.post(_DOCUMENTS + ":get", response_model=FoundDocumentsModel)
@requires("read", bound=True)
async def get_many(collection: CollectionName, body: GetRequest, service: ServiceOf) -> Response:
    """Show the documents with these ids, in their order; `missing` lists the ids that do not exist."""
    read = partial(read_documents, service.store.get(collection), body.ids, vectors=body.vectors)
    return json_response(await service.chores.run(read))


@router.post(_DOCUMENTS + ":delete", response_model=DeleteModel, responses=_OR_JOB)
@requires("write", bound=True)
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
@requires("read", bound=True)
async def show_document(
    collection: CollectionName, document_id: DocumentId, service: ServiceOf, vectors: WithVectors = False
) -> Response:
    """Show a document; with `vectors`, in the form in which it can be written again."""

    def read() -> dict[str, Any]:
        target = service.store.get(collection)
        document = target.get(document_id)
        if document is None:
            raise document_not_found(collection, document_id)
        return render_with(target, document, vector_kinds(target) if vectors else None)

    return json_response(await service.searches.run(read))


@router.delete(_DOCUMENTS + "/{id:path}", response_model=DeleteModel, responses=_OR_JOB)
@requires("write", bound=True)
async def delete_one(
    collection: CollectionName, document_id: DocumentId, request: Request, service: ServiceOf
) -> Response:
    """Delete a document."""
    target = service.store.get(collection)
    change = partial(delete_document, identifier=document_id)
    return await answer_write(request, service, collection, service.writes.submit(target, change))


@router.patch(_DOCUMENTS + "/{id:path}", response_model=PatchModel, responses=_OR_JOB)
@requires("write", bound=True)
async def patch_one(
    collection: CollectionName, document_id: DocumentId, body: PatchRequest, request: Request, service: ServiceOf
) -> Response:
    """Change a document's metadata: keys are set, keys given as null are removed. It is not encoded again."""
    target = service.store.get(collection)
    change = partial(patch_document, identifier=document_id, metadata=body.metadata)
    return await answer_write(request, service, collection, service.writes.submit(target, change))


@router.get("/v1/jobs/{job}", response_model=JobModel)
@requires("write", bound=True)
async def show_job(job: str, service: ServiceOf) -> Response:
    """Show the state of a write that was answered 202."""
    return json_response(service.jobs.show(job))


async def answer_write(
    request: Request,
    service: Service,
    collection: str,
    future: Future[dict[str, Any]],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Wait for a write; create a job if it takes long or the caller prefers it. `status`, `headers`: if it is done."""
    seconds = 0.0 if "respond-async" in request.headers.get("prefer", "") else service.settings.write_wait
    waiting = asyncio.wrap_future(future)
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    if done:
        return json_response(waiting.result(), status, headers)
    waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # the job reports its error
    job = service.jobs.add(collection, future)
    return json_response(
        job, 202, {"Location": f"{service.settings.root_path}/v1/jobs/{job['job']}", "Retry-After": "1"}
    )
