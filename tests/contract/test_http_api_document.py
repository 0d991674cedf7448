"""docs/http-api.md says what the service does: its tables are compared with the OpenAPI document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from lsr.store import CollectionStore
from service import ServiceSettings, create_app
from service.auth import ApiKey
from service.messages.search_requests import QueryInput, SearchRequest

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "http-api.md"
METHODS: Final = {"get", "put", "post", "patch", "delete"}
OUTSIDE_OPENAPI: Final = {
    ("get", "/"): "the web page is HTML, not part of the API",
    ("get", "/openapi.json"): "FastAPI adds the document's own route, which the document does not list",
}


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with CollectionStore(tmp_path_factory.mktemp("empty")) as store:
        app = create_app(store, ServiceSettings(api_keys=(ApiKey.of("some-key-0123456789"),)))
        try:
            return app.openapi()
        finally:
            app.state.service.close()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of the document, without backticks."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.split("|")] for line in table[2:]]


def documented() -> dict[tuple[str, str], str]:
    """Return the documented routes (method, path) with their scopes."""
    return {(method.lower(), path): scope for method, path, scope, _ in rows("Routes")}


def offered(openapi: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the operations of the OpenAPI document by (method, path)."""
    return {
        (method, path): operation
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    }


def test_the_table_of_routes_is_that_of_the_openapi_document(openapi: dict[str, Any]) -> None:
    assert set(documented()) == set(offered(openapi)) | set(OUTSIDE_OPENAPI)
    assert not set(offered(openapi)) & set(OUTSIDE_OPENAPI)


def test_no_route_is_documented_twice() -> None:
    assert len(rows("Routes")) == len(documented())


def test_each_route_needs_the_documented_scope(openapi: dict[str, Any]) -> None:
    for route, operation in offered(openapi).items():
        needed = re.search(r"Needs the scope `(\w+)`", operation.get("description", ""))
        assert documented()[route] == (needed.group(1) if needed else "none"), route


def test_the_table_of_search_fields_is_that_of_the_request_model() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("\n## Search\n")[1].split("\n### ")[0]
    table = section.split("|---|---|---|\n")[1].split("\n\n")[0]
    names = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert names == set(SearchRequest.model_fields)
    queries = DOCUMENT.read_text(encoding="utf-8").split("\n### Ranking\n")[1].split("\n\n")[0]
    assert set(re.findall(r'^\| `\{"(\w+)"', queries, re.MULTILINE)) == set(QueryInput.model_fields)
