"""Aliases: stable names for collections, which can be pointed to another collection atomically."""

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
@requires("read", bound=True)
async def list_aliases(service: ServiceOf) -> Response:
    """List the aliases."""
    found = sorted(service.store.known_aliases.items())
    return json_response({"aliases": [_shown(name, alias) for name, alias in found]})


@router.get("/{alias}", response_model=AliasModel)
@requires("read", bound=True)
async def show_alias(alias: AliasName, service: ServiceOf) -> Response:
    """Show the collection that an alias stands for, and the one that it stood for before."""
    return json_response(_shown(alias, service.store.alias(alias)))


@router.put("/{alias}", response_model=AliasModel)
@requires("admin")
async def set_alias(alias: AliasName, body: AliasRequest, service: ServiceOf) -> Response:
    """Point an alias to a collection. Every later request uses it.

    The answer names as `previous` the collection that it had before: setting that one undoes the change.
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
