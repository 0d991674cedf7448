"""Documents by id: write, read, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from service.auth import READ, WRITE
from service.document_bodies import MEDIA_TYPES, REQUEST_BODY
from service.problems import ProblemError
from service.rendering import json_response, render_document
from service.responses import DocumentModel, WriteModel
from service.routes.collections import CollectionName
from service.state import Service, service_of
from service.strict_route import StrictRoute, require_media_type
from service.writing import write_body

router = APIRouter(prefix="/v1/collections/{collection}", route_class=StrictRoute, tags=["documents"])
ServiceOf = Annotated[Service, Depends(service_of)]
DocumentId = Annotated[str, Path(min_length=1, max_length=512, description="The document's id")]


@router.post(
    "/documents",
    dependencies=[WRITE],
    response_model=WriteModel,
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def write_documents(collection: CollectionName, request: Request, service: ServiceOf) -> Response:
    """Add documents, or replace those of the same ids. The good ones become visible and durable together.

    A document that is refused is reported with its line and the others are kept; when all are refused, so is the
    request (422).
    """
    media_type = require_media_type(request, *MEDIA_TYPES)
    body = await request.body()
    return json_response(await service.writes.run(lambda: write_body(service.store.get(collection), body, media_type)))


@router.get("/documents/{id:path}", dependencies=[READ], response_model=DocumentModel)
async def show_document(
    collection: CollectionName, document_id: Annotated[DocumentId, Path(alias="id")], service: ServiceOf
) -> Response:
    """Show a document."""
    document = await service.searches.run(lambda: service.store.get(collection).get(document_id))
    if document is None:
        raise _not_found(collection, document_id)
    return json_response(render_document(document))


def _not_found(collection: str, document_id: str) -> ProblemError:
    return ProblemError(
        404,
        "document-not-found",
        "Document not found",
        f"collection {collection!r} has no document {document_id!r:.200}",
    )
