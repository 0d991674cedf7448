"""Small reads for somebody who explores a collection, as the page does: completions, vectors, the recall curve."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from index.searching.calibration import Point
from lsr.documents import DEFAULT_VECTOR
from lsr.reading import Reader
from lsr.results import MatchedTerm
from lsr.search.matched_words import words_of
from service.auth import requires
from service.http.strict_route import StrictRoute
from service.messages.exploring import CurveModel, DocumentVectorModel, SlowModel, SuggestModel
from service.messages.rendering import json_response
from service.messages.strict_model import Text
from service.routes.collections import CollectionName
from service.runtime.state import Service, service_of
from service.runtime.writes import document_not_found

router = APIRouter(prefix="/v1/collections/{collection}", route_class=StrictRoute, tags=["exploring"])
ServiceOf = Annotated[Service, Depends(service_of)]
Using = Annotated[Text, Query(max_length=64, description="The named vector")]
Prefix = Annotated[Text, Query(max_length=200, description="What was typed; empty: example queries")]
Size = Annotated[int, Query(ge=1, le=50)]
DocumentId = Annotated[Text, Path(min_length=1, max_length=512, alias="id", description="The document's id")]
VectorName = Annotated[Text, Path(max_length=64, description="The named vector")]


@router.get("/suggest", response_model=SuggestModel)
@requires("read", bound=True)
async def suggest(collection: CollectionName, service: ServiceOf, prefix: Prefix = "", size: Size = 8) -> Response:
    """Complete what was typed with titles and words of the collection. Without a prefix: titles as example queries."""
    found = await service.chores.run(lambda: service.store.get(collection).suggest(prefix, size))
    words = [{"word": word, "documents": count} for word, count in found.words]
    return json_response({"titles": list(found.titles), "words": words})


@router.get("/vectors/{vector}/{id:path}", response_model=DocumentVectorModel)
@requires("read", bound=True)
async def show_vector(
    collection: CollectionName, vector: VectorName, identifier: DocumentId, service: ServiceOf
) -> Response:
    """Show a document's whole vector: the terms of a sparse one by descending weight, the numbers of a dense one."""
    shown = await service.chores.run(lambda: _vector(service.store.get(collection), vector, identifier))
    return json_response(shown)


@router.get("/curve", response_model=CurveModel)
@requires("read", bound=True)
async def show_curve(collection: CollectionName, service: ServiceOf, using: Using = DEFAULT_VECTOR) -> Response:
    """Show the recall that the approximate search reached when the largest segment was built, and at what cost.

    `curves` is empty where nothing is measured: small collections and BM25 are searched exactly. `usual` is the setting
    of a search without `params`; a recall target uses the first point whose `floor` reaches it.
    """
    found = await service.chores.run(lambda: service.store.get(collection).recall_curve(using))
    curves, usual = ({}, {}) if found is None else (found.curves, found.usual)
    shown: dict[str, Any] = {
        "using": using,
        "source": found.source if found else None,
        "curves": {str(k): [_point(one) for one in points] for k, points in curves.items()},
        "usual": {str(k): _point(one) for k, one in usual.items()},
    }
    return json_response(shown)


def _point(point: Point) -> dict[str, float]:
    return {"recall": point.recall, "floor": point.floor, "cost_us": point.cost / 1e3}


@router.get("/slow", response_model=SlowModel)
@requires("read")
async def show_slow(collection: CollectionName, service: ServiceOf) -> Response:
    """Show the last searches that were slow, the newest first. What was asked is not kept."""
    name = service.store.get(collection).name
    names = {collection, name}
    found = [one for known in names for one in service.slow.of(known)]
    found.sort(key=lambda one: one["at"], reverse=True)
    return json_response({"slower_than_ms": service.settings.slow_query_ms, "searches": found})


def _vector(collection: Reader, vector: str, identifier: str) -> dict[str, Any]:
    document = collection.get(identifier)
    if document is None:
        raise document_not_found(collection.name, identifier)
    shown: dict[str, Any] = {"id": identifier, "using": vector, "dense": False}
    if vector in collection.dense_names:
        values = collection.dense_vector(identifier, vector)
        return shown | {"dense": True, "values": [] if values is None else values.tolist()}
    weights = collection.vector(identifier, vector) or {}
    terms = [MatchedTerm(token, 1.0, weight, weight) for token, weight in weights.items()]
    terms.sort(key=lambda term: (-term.contribution, term.token))
    words = words_of(collection.find_encoder(vector), document, terms)
    return shown | {
        "terms": [{"token": term.token, "weight": term.doc_weight} for term in terms],
        "words": [
            {"word": one.word, "weight": one.contribution, "tokens": [term.token for term in one.terms]}
            for one in words
        ],
    }
