"""The OpenAPI 3.1 document says what the service does: every route, every problem, every body."""

from __future__ import annotations

from typing import Any

import pytest

from lsr.store import CollectionStore
from service import ServiceSettings, create_app
from service.auth import ApiKey
from service.messages.search_requests import SearchRequest
from service.runtime.state import Service


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with CollectionStore(tmp_path_factory.mktemp("empty")) as store:
        app = create_app(store, ServiceSettings(api_keys=(ApiKey.of("some-key-0123456789"),)))
        service: Service = app.state.service
        try:
            return app.openapi()
        finally:
            service.close()


def test_it_is_openapi_3_1_with_every_route_of_the_contract(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    offered = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert offered >= {
        ("get", "/v1/collections"),
        ("put", "/v1/collections/{collection}"),
        ("get", "/v1/collections/{collection}"),
        ("delete", "/v1/collections/{collection}"),
        ("post", "/v1/collections/{collection}/documents"),
        ("get", "/v1/collections/{collection}/documents/{id}"),
        ("post", "/v1/collections/{collection}/search"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    }


def test_every_operation_documents_its_problems_as_problem_json(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            errors = {status: one for status, one in operation["responses"].items() if status >= "400"}
            assert errors, (method, path)
            for response in errors.values():
                assert list(response["content"]) == ["application/problem+json"]
            if path.startswith("/v1"):
                assert {"401", "403", "404", "422", "429", "503"} <= set(errors)
                assert operation["security"] == [{"BearerKey": []}, {"HeaderKey": []}]
            if path not in ("/health", "/healthz", "/readyz"):
                assert "security" in operation, (method, path)
                assert "401" in errors
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= set(errors)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def walk(value: object) -> None:
        if isinstance(value, dict):
            target = value.get("$ref")
            if isinstance(target, str):
                assert target.removeprefix("#/components/schemas/") in schemas
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(document)
    assert "HTTPValidationError" not in schemas


def test_every_field_of_a_search_is_documented(document: dict[str, Any]) -> None:
    assert set(document["components"]["schemas"]["SearchRequest"]["properties"]) == set(SearchRequest.model_fields)
