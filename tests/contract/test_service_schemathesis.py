"""Requests generated from the OpenAPI document, valid and invalid: a live service returns documented codes, no 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from lsr.store import CollectionStore
from service.auth import ApiKey
from service.server import running
from service.settings import ServiceSettings

KEY = "schemathesis-key-0123456789"
READER = "schemathesis-reader-0123456789"
WRITER = "schemathesis-writer-0123456789"


def no_server_error(_context: object, response: schemathesis.Response, _case: schemathesis.Case) -> None:
    """No 5xx, except for a generated timeout_ms that is too short."""
    assert response.status_code < 500 or response.json()["type"] == "/problems/timeout", response.text


# Omitted: "valid data is accepted". OpenAPI cannot say whether a filter fits a collection's schema.
CHECKS = [
    no_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, negative_data_rejection, unsupported_method, ignored_auth,
]  # fmt: skip


def serve(folder, keys: tuple[ApiKey, ...]) -> Iterator[schemathesis.BaseSchema]:
    with CollectionStore(folder) as store:
        store.create("dishes", schema={"year": "int"})
        with running(store, ServiceSettings(api_keys=keys)) as url:
            yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    yield from serve(tmp_path_factory.mktemp("open"), ())


@pytest.fixture(scope="module")
def guarded_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    yield from serve(
        tmp_path_factory.mktemp("guarded"), (ApiKey.of(KEY), ApiKey.of(READER, "read"), ApiKey.of(WRITER, "write"))
    )


# With a key of one scope the other half of the requests is refused with 403, whatever they hold.
def check_everything(schema: schemathesis.BaseSchema, headers: dict[str, str]) -> None:
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS, headers=headers)

            try:
                check()
            except Unsatisfiable:  # no request of this operation is invalid
                assert mode is GenerationMode.NEGATIVE


def test_made_up_requests_meet_the_contract(open_service: schemathesis.BaseSchema) -> None:
    check_everything(open_service, {})


@pytest.mark.parametrize("key", [KEY, READER, WRITER], ids=["admin", "read", "write"])
def test_made_up_requests_meet_the_contract_with_a_key(guarded_service: schemathesis.BaseSchema, key: str) -> None:
    check_everything(guarded_service, {"Authorization": f"Bearer {key}"})
