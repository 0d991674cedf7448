"""The OpenAPI 3.1 document: FastAPI's own, plus the problems that each route can return.

Generators of clients make a class from each component, and a name of their own for whatever is not one. So every object
with a title becomes a component, operations are called as their functions, and defaults that are objects are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from service.auth import Scope, required_scope
from service.messages.json_schemas import BY_TOKEN
from service.messages.responses import ProblemModel
from service.problems import MEDIA_TYPE

_TEXTS: Final = {
    "400": "The body is not strict JSON (duplicate keys, NaN, lone surrogates, nesting)",
    "401": "An API key is needed",
    "403": "The API key does not have the scope, or the host is not allowed",
    "404": "No such collection or document",
    "409": "It exists already, another process writes to it, or its encoder cannot be used yet",
    "413": "The body is too large",
    "415": "The body has the wrong media type",
    "422": "A field is missing, unknown or out of range; `errors` names it",
    "429": "Too many requests at once, or too many pending writes; see Retry-After",
    "503": "Not ready, timed out, or the collection is damaged",
    "507": "The disk is full",
}
_SECURITY: Final = {
    "BearerKey": {"type": "http", "scheme": "bearer", "description": "The API key as a bearer token"},
    "HeaderKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_EVERYWHERE: Final = ("403", "503")
_UNDER_V1: Final = ("401", "403", "404", "422", "429", "503")
_WITH_BODY: Final = ("400", "409", "413", "415")
_WRITING: Final = ("409", "507")


def complete_openapi(app: FastAPI, routes: Sequence[BaseRoute], *, keys: bool) -> None:
    """Make `app.openapi()` list the problems of every operation and, if there are `keys`, the scope it needs."""
    scopes = {
        (route.path_format, method.lower()): required_scope(route.endpoint)
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    derive = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _extend(derive(), scopes if keys else {})
        return derive()

    app.openapi = openapi  # type: ignore[method-assign]


def _extend(document: dict[str, Any], scopes: Mapping[tuple[str, str], Scope | None]) -> None:
    schemas = document["components"]["schemas"]
    problem = ProblemModel.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    if scopes:
        document["components"]["securitySchemes"] = _SECURITY
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _make_components(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = scopes.get((path, method))
            if scope is not None:
                operation["security"] = [{name: []} for name in _SECURITY]
                operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope `{scope}`.".strip()
            for status in _statuses(path, method, "requestBody" in operation, scope is not None):
                operation["responses"][status] = {
                    "description": _TEXTS[status],
                    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }


def _make_components(document: dict[str, Any]) -> None:
    """Replace each object with a title, wherever it is, by a reference to a component of that name."""
    components: dict[str, Any] = document["components"]["schemas"]
    found: dict[str, Any] = {}

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(one) for one in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("default"), (dict, list)):
            value = {name: one for name, one in value.items() if name != "default"}
        shown = {name: replaced(one) for name, one in value.items()}
        title = shown.get("title")
        if shown.get("type") != "object" or not isinstance(title, str) or not _is_form(shown):
            return shown
        if found.setdefault(title, shown) != shown:
            raise ValueError(f"two different objects of the API are called {title}")
        return {"$ref": f"#/components/schemas/{title}"}

    for name, schema in components.items():
        inner = {key: replaced(one) for key, one in schema.items()}
        components[name] = inner
    document["paths"] = replaced(document["paths"])
    for name, schema in found.items():
        components.setdefault(name, schema)


def _is_form(schema: Mapping[str, Any]) -> bool:
    """Whether an object is one of ours, and not a free one that pydantic called after its field."""
    return "properties" in schema or schema["title"].endswith(BY_TOKEN)


def _statuses(path: str, method: str, has_body: bool, guarded: bool) -> list[str]:
    found = list(_UNDER_V1 if path.startswith("/v1") or has_body else _EVERYWHERE)
    if path in ("/metrics", "/info"):
        found += ["401", "429"]
    if not guarded:
        found = [status for status in found if status != "401"]
    if has_body:
        found += _WITH_BODY
    if path.startswith("/v1") and (method != "get" and "/search" not in path):
        found += _WRITING
    return sorted(set(found))
