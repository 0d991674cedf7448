"""Collections over HTTP, and the service's health, readiness and metrics."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lsr.collection import Collection


def test_a_collection_is_created_shown_listed_and_dropped(client: httpx.Client) -> None:
    made = client.put("/v1/collections/short-lived", json={"encoder": "bm25", "schema": {"at": "date"}})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/collections/short-lived"
    assert made.json()["documents"] == 0
    assert made.json()["vectors"]["default"]["encoder"] == "bm25"
    assert made.json()["schema"] == {"at": "date"}
    assert client.get("/v1/collections/short-lived").json()["name"] == "short-lived"
    assert "short-lived" in [one["name"] for one in client.get("/v1/collections").json()["collections"]]
    assert client.delete("/v1/collections/short-lived").status_code == 204
    assert client.get("/v1/collections/short-lived").status_code == 404
    assert client.delete("/v1/collections/short-lived").status_code == 404


def test_a_collection_is_never_replaced(client: httpx.Client) -> None:
    response = client.put("/v1/collections/dishes", json={})
    assert response.status_code == 409
    assert response.json()["type"] == "/problems/collection-exists"
    assert client.get("/v1/collections/dishes").json()["documents"] > 0


@pytest.mark.parametrize("name", ["Upper", "-x", "a.b", "a" * 64, "..", "%2e%2e", "a%2Fb", "é"])
def test_a_bad_name_makes_no_collection(client: httpx.Client, name: str) -> None:
    assert client.put(f"/v1/collections/{name}", json={}).status_code in (404, 405, 422)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"encoder": "bm52"}, "encoder"),
        ({"encoder": "/etc"}, "encoder"),
        ({"vectors": {"x": {"encoder": "nope"}}}, "vectors.x.encoder"),
        ({"encoder": "bm25", "vectors": {"x": {"encoder": "bm25"}}}, "body"),
        ({"schema": {"year": "integer"}}, "schema.year"),
        ({"schema": {"and": "int"}}, "schema.and"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_bad_description_is_refused_by_field(client: httpx.Client, body: dict[str, object], field: str) -> None:
    response = client.put("/v1/collections/never", json=body)
    assert response.status_code == 422, response.text
    assert field in [error["field"] for error in response.json()["errors"]]
    assert client.get("/v1/collections/never").status_code == 404


def test_a_broken_collection_is_reported_and_does_not_stop_the_others(serve, tmp_path: Path) -> None:
    Collection.create(tmp_path / "good").close()
    Collection.create(tmp_path / "bad").close()
    (tmp_path / "bad" / "catalog.sqlite").write_bytes(b"not a database, by any means" * 200)
    client = serve(folder=tmp_path)
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert [one["name"] for one in ready.json()["broken"]] == ["bad"]
    assert client.post("/v1/collections/good/search", json={"query": {"text": "a"}}).status_code == 200
    refused = client.post("/v1/collections/bad/search", json={"query": {"text": "a"}})
    assert refused.status_code == 503
    assert refused.json()["type"] == "/problems/collection-corrupt"
    listed = client.get("/v1/collections").json()
    assert [one["name"] for one in listed["collections"]] == ["good"]
    assert [one["name"] for one in listed["broken"]] == ["bad"]


def test_it_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"


def test_metrics_count_requests_by_route_and_status(client: httpx.Client) -> None:
    for _ in range(3):
        client.post("/v1/collections/dishes/search", json={"query": {"text": "lobster"}})
    client.get("/no/such/path")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    expected = {
        "lsr_requests", "lsr_request_duration_seconds", "lsr_queue_duration_seconds", "lsr_encode_duration_seconds",
        "lsr_search_duration_seconds", "lsr_fetch_duration_seconds", "lsr_queue_size", "lsr_rejected",
        "lsr_documents", "lsr_segments",
    }  # fmt: skip
    assert expected <= set(families)
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["lsr_requests"].samples
        if sample.name == "lsr_requests_total"
    }
    assert counted["/v1/collections/{collection}/search", "200"] >= 3
    assert counted["none", "404"] >= 1
    assert {s.labels["collection"]: s.value for s in families["lsr_documents"].samples}["dishes"] == 4
