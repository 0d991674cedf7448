"""Creating, showing and dropping collections."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from index import IndexConfig
from index.errors import ConfigError
from lsr.default_pipeline import vectors_for
from lsr.errors import EXPECTED_ERRORS
from lsr.vectors import VectorConfig
from service.auth import requires
from service.http.strict_route import StrictRoute
from service.messages.rendering import json_response, render_collection
from service.messages.requests import COLLECTION_NAME, CollectionChanges, CollectionRequest
from service.messages.responses import CollectionModel, CollectionsModel
from service.problems import FieldProblem
from service.runtime.state import Service, service_of

router = APIRouter(prefix="/v1/collections", route_class=StrictRoute, tags=["collections"])
ServiceOf = Annotated[Service, Depends(service_of)]
CollectionName = Annotated[str, Path(pattern=COLLECTION_NAME, description="The collection's name")]


@router.get("", response_model=CollectionsModel)
@requires("read", bound=True)
async def list_collections(service: ServiceOf) -> Response:
    """List the collections, those that could not be opened, and the folders that are left out, with the reason."""

    def read() -> dict[str, Any]:
        broken = service.readiness.broken(service.store)
        shown = []
        for name in service.store.names():
            try:
                shown.append(render_collection(service.store.get(name).info(), is_bound=service.is_bound))
            except EXPECTED_ERRORS as error:
                broken.setdefault(name, str(error))
        return {
            "collections": shown,
            "broken": [{"name": name, "reason": reason} for name, reason in sorted(broken.items())],
            "left_out": [{"folder": name, "reason": why} for name, why in sorted(service.store.left_out.items())],
        }

    return json_response(await service.chores.run(read))


@router.get("/{collection}", response_model=CollectionModel)
@requires("read", bound=True)
async def show_collection(collection: CollectionName, service: ServiceOf) -> Response:
    """Show a collection: its counts and sizes, its vectors and its schema."""
    info = await service.chores.run(lambda: service.store.get(collection).info())
    return json_response(render_collection(info, is_bound=service.is_bound))


@router.put("/{collection}", status_code=201, response_model=CollectionModel)
@requires("admin")
async def create_collection(collection: CollectionName, request: CollectionRequest, service: ServiceOf) -> Response:
    """Create an empty collection. An existing collection is never replaced: that is a 409."""
    settings = service.settings
    vectors = _vectors(request, settings.encoders | {settings.default_encoder}, settings.default_encoder)
    vectors = _with_index_settings(request, vectors)

    def create() -> dict[str, Any]:
        made = service.store.create(collection, vectors=vectors, schema=request.fields, search=request.search)
        if request.query_sample:
            made.keep_query_sample(True)
        made.warm()
        return render_collection(made.info())

    shown = await service.chores.run(create)
    return json_response(shown, 201, {"Location": f"{service.settings.root_path}/v1/collections/{collection}"})


@router.patch("/{collection}", response_model=CollectionModel)
@requires("admin")
async def change_collection(collection: CollectionName, request: CollectionChanges, service: ServiceOf) -> Response:
    """Add metadata fields, change the search defaults, keep a sample of queries or stop that.

    Every document has the new fields when the answer comes: the values that its metadata already has under their names,
    or none. A field is never removed, nor its type changed.
    """

    def change() -> dict[str, Any]:
        changed = service.whole(collection)
        if request.fields is not None:
            changed.extend_schema(request.fields, search=request.search)
        elif request.search is not None:
            changed.set_search_defaults(request.search)
        if request.query_sample is not None:
            changed.keep_query_sample(request.query_sample)
        service.search_turns.forget(changed)
        return render_collection(changed.info())

    return json_response(await service.chores.run(change))


@router.delete("/{collection}", status_code=204, response_class=Response)
@requires("admin")
async def drop_collection(collection: CollectionName, service: ServiceOf) -> Response:
    """Drop a collection with all its documents."""
    await service.chores.run(lambda: service.store.drop(collection))
    service.readiness.forget(collection)
    return Response(status_code=204)


def _vectors(request: CollectionRequest, allowed: frozenset[str], default: str) -> dict[str, VectorConfig]:
    if request.vectors:
        wanted = {
            name: VectorConfig(vector.encoder, dense=vector.dense, dimensions=vector.dimensions)
            for name, vector in request.vectors.items()
        }
    else:
        wanted = vectors_for(request.encoder or default)
    for name, config in wanted.items():
        if config.encoder is not None and config.encoder not in allowed:
            raise FieldProblem(
                f"vectors.{name}.encoder" if request.vectors else "encoder",
                f"{config.encoder!r:.200} is not offered here; there are {', '.join(sorted(allowed))}. "
                "`lsr index --encoder` on the server takes any",
                slug="unknown-encoder",
                title="Unknown encoder",
            )
    return wanted


def _with_index_settings(request: CollectionRequest, vectors: dict[str, VectorConfig]) -> dict[str, VectorConfig]:
    """Return the vectors with the index settings of the request; raises a problem that names the field."""
    common = {} if request.index is None else request.index.given()
    found = {}
    for name, config in vectors.items():
        given = (request.vectors or {}).get(name)
        own = None if given is None or given.index is None else given.index.given()
        if own is not None and config.dense:
            raise FieldProblem(f"vectors.{name}.index", "a dense vector has no index")
        if config.dense:
            found[name] = config
            continue
        try:
            found[name] = replace(config, index=IndexConfig.from_json(common if own is None else own))
        except ConfigError as error:
            where = "index" if own is None else f"vectors.{name}.index"
            raise FieldProblem(f"{where}.{error.field}", str(error)) from None
    return found
