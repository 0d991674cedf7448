"""Snapshots of a collection: take, list, download, restore, remove."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.convertors import StringConvertor, register_url_convertor

from lsr.collection import Collection
from service.auth import requires
from service.http.strict_route import StrictRoute
from service.messages.rendering import json_response, render_collection
from service.messages.requests import COLLECTION_NAME, SnapshotRequest
from service.messages.responses import CollectionModel, JobModel, SnapshotModel, SnapshotsModel
from service.routes.collections import CollectionName
from service.routes.documents import answer_write
from service.runtime.archives import TarStream
from service.runtime.state import Service, service_of


class _NameConvertor(StringConvertor):
    """A part of a path without `:`, so that `a:restore` is an action on `a`, and not a name."""

    regex = "[^/:]+"


register_url_convertor("name", _NameConvertor())
router = APIRouter(prefix="/v1/collections/{collection}/snapshots", route_class=StrictRoute, tags=["snapshots"])
ServiceOf = Annotated[Service, Depends(service_of)]
SnapshotName = Annotated[str, Path(pattern=COLLECTION_NAME, description="The snapshot's name")]


@router.post(
    "",
    status_code=202,
    response_model=SnapshotModel,
    responses={202: {"model": SnapshotModel | JobModel, "description": "The snapshot, or a job if it takes long"}},
)
@requires("admin")
async def take_snapshot(
    collection: CollectionName, request: Request, service: ServiceOf, body: SnapshotRequest | None = None
) -> Response:
    """Take a snapshot of what was written before. It waits for these writes; if it takes long, the answer is a job."""
    name = body.name if body else None

    def take(target: Collection) -> dict[str, Any]:
        return asdict(target.snapshot(name))

    future = service.writes.submit(service.whole(collection), take)
    done = {"Location": f"{service.settings.root_path}/v1/collections/{collection}/snapshots"}
    return await answer_write(request, service, collection, future, status=202, headers=done)


@router.get("", response_model=SnapshotsModel)
@requires("admin")
async def list_snapshots(collection: CollectionName, service: ServiceOf) -> Response:
    """List the snapshots, the oldest first."""
    found = await service.chores.run(lambda: service.whole(collection).snapshots())
    return json_response({"snapshots": [asdict(info) for info in found]})


@router.get(
    "/{snapshot:name}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}},
)
@requires("admin")
async def download_snapshot(
    collection: CollectionName, snapshot: SnapshotName, request: Request, service: ServiceOf
) -> Response:
    """Download a snapshot as a tar archive of a folder of its name, which is a collection that can be served."""

    def prepare() -> tuple[str, TarStream]:
        info, files = service.whole(collection).snapshot_files(snapshot)
        return info.sha256, TarStream({f"{snapshot}/{path}": file for path, file in files.items()})

    digest, archive = await service.chores.run(prepare)
    headers = {
        "Content-Length": str(archive.size),
        "Content-Disposition": f'attachment; filename="{snapshot}.tar"',
        "ETag": f'"{digest}"',
    }
    if request.scope.get("lsr.head"):
        archive.close()
        return Response(headers=headers, media_type="application/x-tar")
    return StreamingResponse(archive.pieces(), headers=headers, media_type="application/x-tar")


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

    future = service.writes.submit(service.whole(collection), restore)
    return await answer_write(request, service, collection, future)


@router.delete("/{snapshot:name}", status_code=204, response_class=Response)
@requires("admin")
async def drop_snapshot(collection: CollectionName, snapshot: SnapshotName, service: ServiceOf) -> Response:
    """Remove a snapshot; the collection does not change."""
    await service.chores.run(lambda: service.whole(collection).delete_snapshot(snapshot))
    return Response(status_code=204)
