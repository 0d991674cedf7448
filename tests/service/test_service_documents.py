"""Documents over HTTP: write, read, and the errors of invalid ones."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest


@pytest.fixture(scope="module")
def documents(client: httpx.Client) -> str:
    client.put("/v1/collections/notes", json={"schema": {"year": "int"}}).raise_for_status()
    return "/v1/collections/notes/documents"


def post_lines(client: httpx.Client, path: str, *lines: str | dict[str, Any]) -> httpx.Response:
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return client.post(path, content=body.encode(), headers={"Content-Type": "application/x-ndjson"})


def test_a_document_is_found_as_soon_as_it_is_acknowledged(client: httpx.Client, documents: str) -> None:
    response = client.post(documents, json={"documents": [{"id": "n1", "text": "walrus ivory"}]})
    assert response.status_code == 200
    answer = response.json()
    assert answer == {"seq": answer["seq"], "durable": True, "accepted": 1, "failed": 0, "errors": []}
    found = client.post("/v1/collections/notes/search", json={"query": {"text": "walrus"}}).json()
    assert [hit["id"] for hit in found["hits"]] == ["n1"]


def test_a_second_write_of_an_id_replaces_the_first(client: httpx.Client, documents: str) -> None:
    first = post_lines(client, documents, {"id": "twice", "text": "aardvark"}).json()
    second = post_lines(client, documents, {"id": "twice", "text": "zebra"}).json()
    assert second["seq"] > first["seq"]
    assert client.get(f"{documents}/twice").json()["text"] == "zebra"


def test_bad_lines_are_reported_and_the_good_ones_kept(client: httpx.Client, documents: str) -> None:
    response = post_lines(
        client,
        documents,
        {"id": "l1", "text": "good"},
        '{"id": "l2", "text": ',
        "",
        {"id": "l4", "txet": "typo"},
        {"text": "no id"},
        '{"id": "l6", "sparse": {"a": NaN}}',
        {"id": "l7", "metadata": {"year": "soon"}},
        '{"id": "l8", "id": "again"}',
        {"id": "l9", "text": "also good"},
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["accepted"], answer["failed"]) == (2, 6)
    assert [(error["line"], error["id"]) for error in answer["errors"]] == [
        (2, None), (4, "l4"), (5, None), (6, None), (7, "l7"), (8, None),
    ]  # fmt: skip
    codes = [error["code"] for error in answer["errors"]]
    assert codes[:4] == ["malformed_json", "unknown_field", "missing_id", "malformed_json"]
    assert "txet" in answer["errors"][1]["detail"]
    assert client.get(f"{documents}/l9").status_code == 200
    assert client.get(f"{documents}/l4").status_code == 404


def test_a_request_whose_documents_are_all_bad_is_a_422(client: httpx.Client, documents: str) -> None:
    response = post_lines(client, documents, {"text": "no id"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "line 1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"documents":{}}', 422),
        (b'{"documents":[]}', 422),
        (b'{"docs":[]}', 422),
    ],
)
def test_a_body_that_is_not_a_list_of_documents_is_refused(
    client: httpx.Client, documents: str, body: bytes, status: int
) -> None:
    response = client.post(documents, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text


def test_a_document_is_read_by_an_id_with_any_characters(client: httpx.Client) -> None:
    response = client.get("/v1/collections/dishes/documents/" + quote("a/b c?", safe=""))
    assert response.status_code == 200
    assert response.json()["id"] == "a/b c?"
    assert set(response.json()) == {"id", "title", "text", "parent", "metadata"}


def test_an_unknown_document_is_a_404(client: httpx.Client) -> None:
    response = client.get("/v1/collections/dishes/documents/nobody")
    assert response.status_code == 404
    assert response.json()["type"] == "/problems/document-not-found"


def test_ready_made_sparse_vectors_are_searched_as_given(client: httpx.Client) -> None:
    client.put("/v1/collections/ready", json={"vectors": {"default": {"encoder": None}}}).raise_for_status()
    body = {"documents": [{"id": "s1", "sparse": {"lobster": 2.0, "roll": 0.5}}, {"id": "s2", "sparse": {"roll": 2.0}}]}
    client.post("/v1/collections/ready/documents", json=body).raise_for_status()
    answer = client.post("/v1/collections/ready/search", json={"query": {"sparse": {"roll": 3.0}}}).json()
    assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [("s2", 6.0), ("s1", 1.5)]
    refused = client.post("/v1/collections/ready/search", json={"query": {"text": "roll"}})
    assert refused.status_code == 422
