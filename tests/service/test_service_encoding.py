"""Several searches in one request, and encoding in the wire format of text-embeddings-inference."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service.conftest import Serve

BATCH = "/v1/collections/dishes/search:batch"


def test_a_batch_answers_as_its_searches_would_alone(client: httpx.Client) -> None:
    searches = [{"query": {"text": "lobster"}, "k": 2}, {"query": {"sparse": {"roll": 1.0}}}, {"query": {"text": ""}}]
    answer = client.post(BATCH, json={"searches": searches}).json()
    assert set(answer) == {"took_ms", "results"}
    assert len(answer["results"]) == 3
    for search, result in zip(searches, answer["results"], strict=True):
        alone = client.post("/v1/collections/dishes/search", json=search).json()
        assert result["hits"] == alone["hits"]
        assert result["query"] == alone["query"]


@pytest.mark.parametrize(
    ("searches", "field"),
    [
        ([], "searches"),
        ([{"query": {"text": "a"}}, {"query": {"text": "a"}, "k": 0}], "searches[1].k"),
        ([{"query": {"text": "a"}}, {"query": {"text": "a"}, "using": "no"}], "searches[1].using"),
        ([{"query": {"text": "a"}}] * 101, "searches"),
    ],
)
def test_a_wrong_search_of_a_batch_is_named(client: httpx.Client, searches: list[Any], field: str) -> None:
    response = client.post(BATCH, json={"searches": searches})
    assert response.status_code == 422
    assert field in [error["field"] for error in response.json()["errors"]]


def test_texts_are_encoded_as_term_numbers_with_weights(client: httpx.Client) -> None:
    body = {"inputs": ["lobster roll", ""], "model": "dishes", "prompt_name": "query"}
    rows = client.post("/embed_sparse", json=body).json()
    assert len(rows) == 2
    assert rows[1] == []
    assert all(set(term) == {"index", "value"} for term in rows[0])
    terms = client.post("/v1/collections/dishes/search", json={"query": {"text": "lobster roll"}}).json()["query"][
        "terms"
    ]
    assert {(one["index"], one["value"]) for one in rows[0]} == {(term["id"], term["weight"]) for term in terms}
    single = client.post("/embed_sparse", json=body | {"inputs": "lobster roll"}).json()
    assert single == rows[:1]


def test_without_a_model_the_encoder_with_a_vocabulary_of_its_own_is_meant(serve: Serve) -> None:
    """Clients of text-embeddings-inference cannot name a model, and the default pipeline has two encoders."""
    client = serve()
    client.put("/v1/collections/both", json={"encoder": "lsr-mini"}).raise_for_status()
    info = client.get("/info").json()
    assert (info["model_id"], info["models"]) == ("lsr-mini", ["bm25", "lsr-mini"])
    body = {"inputs": ["lobster roll"], "prompt_name": "query"}
    (row,) = client.post("/embed_sparse", json=body).raise_for_status().json()
    assert len(row) >= 2
    assert [row] == client.post("/embed_sparse", json=body | {"model": "lsr-mini"}).json()
    assert [row] != client.post("/embed_sparse", json=body | {"model": "bm25"}).json()


def test_a_collection_of_lsr_nano_is_created_written_and_searched_over_http(serve: Serve) -> None:
    client = serve()
    client.put("/v1/collections/nano", json={"encoder": "lsr-nano"}).raise_for_status()
    texts = {"a": "Statins lower cholesterol and prevent heart attacks.", "b": "Galaxies rotate faster than expected."}
    documents = [{"id": name, "text": text} for name, text in texts.items()]
    client.post("/v1/collections/nano/documents", json={"documents": documents}).raise_for_status()
    found = client.post("/v1/collections/nano/search", json={"query": {"text": "treatment of disease"}})
    assert [hit["id"] for hit in found.raise_for_status().json()["hits"]] == ["a"]  # by its expansion alone


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": "a", "model": "nothing"}, "model"),
        ({"inputs": []}, "inputs"),
        ({"inputs": 5}, "inputs"),
        ({"inputs": ["a"] * 257}, "inputs"),
        ({"inputs": "a", "prompt_name": "passage"}, "prompt_name"),
        ({}, "inputs"),
    ],
)
def test_a_wrong_request_to_encode_is_refused_by_field(client: httpx.Client, body: object, field: str) -> None:
    response = client.post("/embed_sparse", json=body)
    assert response.status_code == 422
    assert any(error["field"].startswith(field) for error in response.json()["errors"])


def test_an_encoder_whose_numbers_differ_between_collections_must_be_named_by_collection(client: httpx.Client) -> None:
    client.put("/v1/collections/other", json={}).raise_for_status()
    response = client.post("/embed_sparse", json={"inputs": "a", "model": "bm25"})
    assert response.status_code == 422
    assert "dishes/default" in response.json()["detail"]
