"""Other names for collections: what callers use stays, what it stands for is swapped at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from lsr.storage.alias_file import Alias
from service.auth import requires
from service.http.strict_route import StrictRoute
from service.messages.rendering import json_response
from service.messages.requests import COLLECTION_NAME, AliasRequest
from service.messages.responses import AliasesModel, AliasModel
from service.runtime.state import Service, service_of

router = APIRouter(prefix="/v1/aliases", route_class=StrictRoute, tags=["aliases"])
ServiceOf = Annotated[Service, Depends(service_of)]
AliasName = Annotated[str, Path(pattern=COLLECTION_NAME, description="The alias")]


@router.get("", response_model=AliasesModel)
@requires("read")
async def list_aliases(service: ServiceOf) -> Response:
    """List the aliases."""
    found = sorted(service.store.known_aliases.items())
    return json_response({"aliases": [_shown(name, alias) for name, alias in found]})


@router.get("/{alias}", response_model=AliasModel)
@requires("read")
async def show_alias(alias: AliasName, service: ServiceOf) -> Response:
    """Show the collection that an alias stands for, and the one that it stood for before."""
    return json_response(_shown(alias, service.store.alias(alias)))


@router.put("/{alias}", response_model=AliasModel)
@requires("admin")
async def set_alias(alias: AliasName, body: AliasRequest, service: ServiceOf) -> Response:
    """Let an alias stand for a collection, at once for every request that comes afterwards.

    The answer names as `previous` what it stood for before: setting that is the way back.
    """
    found = await service.chores.run(lambda: service.store.set_alias(alias, body.collection))
    return json_response(_shown(alias, found))


@router.delete("/{alias}", status_code=204, response_class=Response)
@requires("admin")
async def drop_alias(alias: AliasName, service: ServiceOf) -> Response:
    """Remove an alias; its collection stays."""
    await service.chores.run(lambda: service.store.drop_alias(alias))
    return Response(status_code=204)


def _shown(name: str, alias: Alias) -> dict[str, str | None]:
    return {"alias": name, "collection": alias.collection, "previous": alias.previous}
