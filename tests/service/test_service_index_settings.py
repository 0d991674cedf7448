"""Build parameters of the index and the sample of queries over HTTP: given, refused by field, kept, shown."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from index import IndexConfig
from lsr.collection import Collection
from lsr.storage.query_sample import SAMPLE_FILE
from service.auth import ApiKey
from service.messages.requests import IndexSettings
from service.settings import ServiceSettings

ADMIN, BOUND, PART = (f"{name}-key-0123456789" for name in ("admin", "bound", "part"))
DOCUMENTS = [
    {"id": f"d{n:03d}", "sparse": {f"t{n % 7}": 1.5, f"t{n % 11}": 0.5, "all": 1.0}, "metadata": {"tag": "a"}}
    for n in range(120)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.fixture(scope="module")
def client(serve, folder: Path) -> httpx.Client:
    keys = (
        ApiKey.of(ADMIN),
        ApiKey.of(BOUND, "read", collections=["given"]),
        ApiKey.of(PART, "read", condition={"tag": "a"}),
    )
    found: httpx.Client = serve(ServiceSettings(api_keys=keys), folder)
    found.headers["X-API-Key"], found.timeout = ADMIN, httpx.Timeout(300)
    return found


@pytest.fixture(scope="module")
def given(client: httpx.Client, folder: Path) -> dict[str, Any]:
    """A collection with index settings and two segments; what PUT answered."""
    body = {
        "vectors": {
            "default": {"encoder": None, "index": {"n_postings": 20, "exact_lists": False, "n_knn": 3}},
            "bm25": {"encoder": "bm25"},
        },
        "index": {"block_maxima": True},
        "schema": {"tag": "keyword"},
    }
    made = client.put("/v1/collections/given", json=body)
    assert made.status_code == 201, made.text
    client.post("/v1/collections/given/documents", json={"documents": DOCUMENTS}).raise_for_status()
    shown: dict[str, Any] = made.json()
    return shown


def test_every_build_parameter_can_be_given_over_http() -> None:
    assert set(IndexSettings.model_fields) == {field.name for field in fields(IndexConfig)}


def test_settings_are_kept_and_shown_each_vector_with_its_own(client: httpx.Client, given: dict[str, Any]) -> None:
    for shown in (given, client.get("/v1/collections/given").json()):
        own, other = shown["vectors"]["default"]["index"], shown["vectors"]["bm25"]["index"]
        assert own["settings"] | {"n_postings": 20, "exact_lists": False, "n_knn": 3} == own["settings"]
        assert "block_maxima" not in own["settings"]
        assert other["settings"]["block_maxima"] is True
        assert own["documents"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"encoder": "bm25", "index": {"n_posting": 5}}, "index.n_posting"),
        ({"encoder": "bm25", "index": {"n_postings": -1}}, "index.n_postings"),
        ({"encoder": "bm25", "index": {"n_knn": 1001}}, "index.n_knn"),
        ({"encoder": "bm25", "index": {"n_knn": "3"}}, "index.n_knn"),
        ({"encoder": "bm25", "index": {"max_fraction": 0.5}}, "index.max_fraction"),
        ({"encoder": "bm25", "index": {"centroid_fraction": 0}}, "index.centroid_fraction"),
        ({"encoder": "bm25", "index": {"impact_dtype": "int8"}}, "index.impact_dtype"),
        ({"encoder": "bm25", "index": {"block_maxima": True, "exact_lists": False}}, "index.block_maxima"),
        ({"vectors": {"x": {"encoder": "bm25", "index": {"doc_cut": 0}}}}, "vectors.x.index.doc_cut"),
        (
            {"vectors": {"x": {"encoder": "bm25", "index": {"block_maxima": True, "exact_lists": False}}}},
            "vectors.x.index.block_maxima",
        ),
        (
            {
                "vectors": {
                    "x": {"encoder": "bm25"},
                    "m": {"encoder": None, "dense": True, "dimensions": 3, "index": {}},
                }
            },
            "vectors.m.index",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_field(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    response = client.put("/v1/collections/never", json=body)
    assert response.status_code == 422, response.text
    assert field in [error["field"] for error in response.json()["errors"]]
    assert client.get("/v1/collections/never").status_code == 404


def test_seals_and_merges_use_the_settings_and_the_collection_says_what_was_built(
    serve, tmp_path: Path, client: httpx.Client, given: dict[str, Any], folder: Path
) -> None:
    del given
    taken = client.post("/v1/collections/given/snapshots", json={"name": "s"}).raise_for_status().json()
    assert taken["documents"] == 120
    copied = tmp_path / "given"
    (folder / "given" / "snapshots" / "s").rename(copied)
    with Collection.open(copied, "w") as collection:
        collection.seal()
        collection.delete(["d000"])
        collection.merge()
    other = serve(ServiceSettings(), tmp_path)
    index = other.get("/v1/collections/given").json()["vectors"]["default"]["index"]
    assert index["documents"] == 119
    assert index["structures"] == {
        "candidate_lists": True,
        "unpruned_postings": False,
        "block_maxima": False,
        "graph": True,
    }
    assert index["reasons"]["candidate_lists"] == "given: n_postings = 20"
    assert index["observed"]["n_docs"] == 119
    assert index["observed"]["impacts"] > 0
    assert 0 < index["observed"]["concentration"] <= 0.7
    query = {"query": {"sparse": {"t3": 1.0}}, "using": "default", "k": 5}
    by_graph = other.post("/v1/collections/given/search", json=query | {"params": {"n_knn": 3}})
    assert by_graph.status_code == 200, by_graph.text
    beyond = other.post("/v1/collections/given/search", json=query | {"params": {"n_knn": 4}})
    assert beyond.status_code == 422
    assert "n_knn must be at most 3" in beyond.json()["detail"]


def test_a_sample_is_kept_on_request_and_shows_numbers_alone(client: httpx.Client, folder: Path) -> None:
    made = client.put(
        "/v1/collections/asked", json={"encoder": "bm25", "query_sample": True, "schema": {"tag": "keyword"}}
    )
    assert made.json()["query_sample"] == {"queries": {}, "seen": {}}
    document = {"id": "a", "text": "a heron by the river", "metadata": {"tag": "a"}}
    client.post("/v1/collections/asked/documents", json={"documents": [document]}).raise_for_status()
    for text in ("heron", "river heron", "nothing of that"):
        client.post("/v1/collections/asked/search", json={"query": text}).raise_for_status()
    searches = [{"query": {"sparse": {"heron": 1.0}}}, {"query": {"like": "a"}}]
    client.post("/v1/collections/asked/search:batch", json={"searches": searches}).raise_for_status()
    shown = client.get("/v1/collections/asked").json()
    # Of the third query the collection holds no term; documents as a query are not one of a user.
    assert shown["query_sample"] == {"queries": {"default": 3}, "seen": {"default": 3}}
    assert "heron" not in json.dumps(shown)
    metrics = client.get("/metrics").text
    assert 'lsr_sampled_queries{collection="asked",vector="default"} 3.0' in metrics
    assert 'lsr_recall_curves_measured_total{collection="asked"} 0.0' in metrics
    off = client.patch("/v1/collections/asked", json={"query_sample": False})
    assert off.json()["query_sample"] is None
    assert not (folder / "asked" / SAMPLE_FILE).exists()
    on = client.patch(
        "/v1/collections/asked", json={"query_sample": True, "search": {"queries": [{"using": "default"}]}}
    )
    assert on.json()["query_sample"] == {"queries": {}, "seen": {}}
    nothing = client.patch("/v1/collections/asked", json={})
    assert nothing.status_code == 422


@pytest.mark.parametrize("key", [BOUND, PART])
def test_queries_of_a_bound_key_are_not_sampled_and_it_does_not_see_the_sample(
    client: httpx.Client, given: dict[str, Any], key: str
) -> None:
    del given
    client.patch("/v1/collections/given", json={"query_sample": True}).raise_for_status()
    query = {"query": {"sparse": {"t1": 1.0}}, "using": "default", "cache": False}
    for path in ("search", "search:batch"):
        body = query if path == "search" else {"searches": [query]}
        answer = client.post(f"/v1/collections/given/{path}", json=body, headers={"X-API-Key": key})
        assert answer.status_code == 200, answer.text
    assert client.get("/v1/collections/given").json()["query_sample"]["seen"] == {}
    shown = client.get("/v1/collections/given", headers={"X-API-Key": key}).json()
    assert shown["query_sample"] is None
    if key == PART:
        assert shown["vectors"]["default"]["index"] is None
    refused = client.patch("/v1/collections/given", json={"query_sample": False}, headers={"X-API-Key": key})
    assert refused.status_code == 403
