"""Snapshots of a collection: take, list, restore, remove."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from lsr.collection import Collection
from service.auth import requires
from service.http.strict_route import StrictRoute
from service.messages.rendering import json_response, render_collection
from service.messages.requests import COLLECTION_NAME, SnapshotRequest
from service.messages.responses import CollectionModel, JobModel, SnapshotModel, SnapshotsModel
from service.routes.collections import CollectionName
from service.routes.documents import answer_write
from service.runtime.state import Service, service_of


class _NameConvertor(StringConvertor):
    """A part of a path without `:`, so that `a:restore` is an action on `a`, and not a name."""

    regex = "[^/:]+"


register_url_convertor("name", _NameConvertor())
router = APIRouter(prefix="/v1/collections/{collection}/snapshots", route_class=StrictRoute, tags=["snapshots"])
ServiceOf = Annotated[Service, Depends(service_of)]
SnapshotName = Annotated[str, Path(pattern=COLLECTION_NAME, description="The snapshot's name")]


@router.post("", status_code=202, response_model=SnapshotModel)
@requires("admin")
async def take_snapshot(
    collection: CollectionName, service: ServiceOf, request: SnapshotRequest | None = None
) -> Response:
    """Take a snapshot. The answer is sent when the snapshot is complete."""
    name = request.name if request else None
    info = await service.chores.run(lambda: service.store.get(collection).snapshot(name))
    return json_response(
        asdict(info), 202, {"Location": f"{service.settings.root_path}/v1/collections/{collection}/snapshots"}
    )


@router.get("", response_model=SnapshotsModel)
@requires("admin")
async def list_snapshots(collection: CollectionName, service: ServiceOf) -> Response:
    """List the snapshots, the oldest first."""
    found = await service.chores.run(lambda: service.store.get(collection).snapshots())
    return json_response({"snapshots": [asdict(info) for info in found]})


@router.post(
    "/{snapshot:name}:restore",
    response_model=CollectionModel,
    responses={202: {"model": JobModel, "description": "It takes long: request the job later"}},
)
@requires("admin")
async def restore_snapshot(
    collection: CollectionName, snapshot: SnapshotName, request: Request, service: ServiceOf
) -> Response:
    """Restore a snapshot. Every search that starts afterwards sees it. Everything written since is lost."""

    def restore(target: Collection) -> dict[str, Any]:
        target.restore(snapshot)
        service.search_turns.forget(target)
        return render_collection(target.info())

    future = service.writes.submit(service.store.get(collection), restore)
    return await answer_write(request, service, collection, future)


@router.delete("/{snapshot:name}", status_code=204, response_class=Response)
@requires("admin")
async def drop_snapshot(collection: CollectionName, snapshot: SnapshotName, service: ServiceOf) -> Response:
    """Remove a snapshot; the collection does not change."""
    await service.chores.run(lambda: service.store.get(collection).delete_snapshot(snapshot))
    return Response(status_code=204)
