"""What clients of other search engines send by habit: it works as they mean it, or the message names the right form."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import httpx
import pytest
import zstandard

from service.auth import ApiKey
from service.settings import ServiceSettings

SEARCH = "/v1/collections/dishes/search"
DOCUMENTS = "/v1/collections/dishes/documents"
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [hit["id"] for hit in response.json()["hits"]]


def refused(response: httpx.Response, field: str) -> str:
    """Return the detail of the 422 for a field."""
    assert response.status_code == 422, response.text
    return next(error["detail"] for error in response.json()["errors"] if error["field"] == field)


# --- bodies


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


COMPRESSED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "DEFLATE": raw_deflate,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_compressed_body_is_read(client: httpx.Client, encoding: str) -> None:
    search = json.dumps({"query": {"text": "chowder"}}).encode()
    headers = JSON | {"Content-Encoding": encoding}
    assert ids(client.post(SEARCH, content=COMPRESSED[encoding](search), headers=headers)) == ["d2"]
    line = b'{"id":"compressed","text":"mussels"}\n'
    headers = LINES | {"Content-Encoding": encoding}
    answer = client.post(DOCUMENTS, content=COMPRESSED[encoding](line), headers=headers)
    assert answer.json()["accepted"] == 1
    client.delete(f"{DOCUMENTS}/compressed").raise_for_status()


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "nonsense"])
def test_another_encoding_is_a_415_that_names_those_accepted(client: httpx.Client, encoding: str) -> None:
    response = client.post(SEARCH, content=b"x", headers=JSON | {"Content-Encoding": encoding})
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_damaged_compressed_body_is_a_400(client: httpx.Client, encoding: str) -> None:
    whole = COMPRESSED[encoding](json.dumps({"query": {"text": "chowder " * 100}}).encode())
    for damaged in (whole[:-3], whole[: len(whole) // 2], b"not compressed", whole[:10] + b"\xff" * 20):
        response = client.post(SEARCH, content=damaged, headers=JSON | {"Content-Encoding": encoding})
        assert (response.status_code, response.json()["type"]) == (400, "/problems/bad-encoding")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_the_body_limit_counts_what_a_body_becomes(serve, encoding: str) -> None:
    client = serve(ServiceSettings(max_body=100_000))
    client.put("/v1/collections/dishes", json={}).raise_for_status()
    padding = b" " * 99_900
    headers = JSON | {"Content-Encoding": encoding}
    fits = COMPRESSED[encoding](b'{"query":{"text":"a"}}' + padding)
    assert client.post(SEARCH, content=fits, headers=headers).status_code == 200
    bomb = COMPRESSED[encoding](b" " * 50_000_000)
    assert len(bomb) < 100_000
    response = client.post(SEARCH, content=bomb, headers=headers)
    assert (response.status_code, response.json()["type"]) == (413, "/problems/body-too-large")


def test_a_byte_order_mark_does_not_count(client: httpx.Client) -> None:
    mark = b"\xef\xbb\xbf"
    answer = client.post(DOCUMENTS, content=mark + b'{"id":"marked","text":"a"}\n', headers=LINES)
    assert answer.json()["accepted"] == 1
    client.delete(f"{DOCUMENTS}/marked").raise_for_status()
    listed = mark + b'{"documents":[{"id":"marked","text":"a"}]}'
    assert client.post(DOCUMENTS, content=listed, headers=JSON).json()["accepted"] == 1
    client.delete(f"{DOCUMENTS}/marked").raise_for_status()
    assert ids(client.post(SEARCH, content=mark + b'{"query":{"text":"chowder"}}', headers=JSON)) == ["d2"]


OPTIONAL = [
    "using", "k", "include", "exclude", "filter", "rescore", "must", "prf", "facets", "total", "sort", "boosts",
    "min_score", "group_by", "collapse", "neighbours", "cursor", "explain", "highlight", "params", "timeout_ms",
    "on_late", "cache",
]  # fmt: skip


def test_null_is_absent_in_every_optional_field(client: httpx.Client) -> None:
    plain = client.post(SEARCH, json={"query": {"text": "chowder"}}).json()["hits"]
    for name in OPTIONAL:
        answer = client.post(SEARCH, json={"query": {"text": "chowder", "sparse": None}, name: None})
        assert (name, answer.status_code, answer.json().get("hits")) == (name, 200, plain)
    nested = {"facets": {"fields": ["tag"], "size": None, "buckets": None}, "explain": {"max_terms": None}}
    assert client.post(SEARCH, json={"query": {"text": "chowder"}, **nested, "params": {"exact": None}}).is_success
    body = {"encoder": None, "vectors": None, "schema": None, "search": None}
    client.put("/v1/collections/nulls", json=body).raise_for_status()
    client.post("/v1/collections/nulls/snapshots", json={"name": None}).raise_for_status()
    client.delete("/v1/collections/nulls").raise_for_status()


def test_null_clears_a_field_of_the_metadata_and_is_absent_elsewhere_in_a_document(client: httpx.Client) -> None:
    document = {"id": "nulls", "title": None, "text": "mussels", "parent": None, "sparse": None, "vectors": None}
    written = client.post(DOCUMENTS, json={"documents": [document | {"metadata": {"year": None, "tag": ["a"]}}]})
    assert written.json()["accepted"] == 1
    assert ids(client.post(SEARCH, json={"query": {"text": "mussels"}, "filter": {"year": {"exists": False}}})) == [
        "nulls"
    ]
    client.patch(f"{DOCUMENTS}/nulls", json={"metadata": {"tag": None}}).raise_for_status()
    assert "tag" not in client.get(f"{DOCUMENTS}/nulls").json()["metadata"]
    again = client.post(DOCUMENTS, json={"documents": [{"id": "nulls", "text": "a", "vectors": {"default": None}}]})
    assert again.json()["accepted"] == 1
    client.delete(f"{DOCUMENTS}/nulls").raise_for_status()


# --- addresses


@pytest.mark.parametrize("path", [f"{DOCUMENTS}/%FF", f"{DOCUMENTS}/a%C3", f"{DOCUMENTS}/%ED%A0%80"])
def test_an_address_that_is_not_utf8_is_a_400_and_deletes_nothing(client: httpx.Client, path: str) -> None:
    for name in ("\ufffd", "a\ufffd"):
        client.post(DOCUMENTS, json={"documents": [{"id": name, "text": "kept"}]}).raise_for_status()
    for method in ("GET", "DELETE"):
        response = client.request(method, httpx.URL(str(client.base_url) + path))
        assert (response.status_code, response.json()["type"]) == (400, "/problems/bad-request")
    assert client.get(f"{DOCUMENTS}/%EF%BF%BD").status_code == 200
    assert client.get("/v1/collections/dishes/suggest?prefix=%FF").status_code == 400
    client.post(f"{DOCUMENTS}:delete", json={"ids": ["\ufffd", "a\ufffd"]}).raise_for_status()


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/collections",
        "/v1/collections/dishes",
        f"{DOCUMENTS}/d1",
        "/",
        "/openapi.json",
    ],
)
def test_every_get_answers_head_without_a_body(client: httpx.Client, path: str) -> None:
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].split(";")[0] == client.get(path).headers["content-type"].split(";")[0]
    assert client.head("/v1/collections/nothing").status_code == 404
    assert client.head(SEARCH).status_code == 405


def test_a_slash_at_the_end_is_named(client: httpx.Client) -> None:
    for path in ("/v1/collections", SEARCH, "/healthz"):
        response = client.request("GET", f"{path}/")
        assert response.status_code == 404
        assert response.json()["detail"].endswith(f"without the slash at its end: {path}")
    assert "openapi" in client.get("/nothing/").json()["detail"]


def test_an_action_is_not_a_name(client: httpx.Client) -> None:
    for method in ("DELETE", "GET", "PUT"):
        response = client.request(method, "/v1/collections/dishes/snapshots/0:restore")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


# --- fields


def test_a_query_may_be_a_text_alone(client: httpx.Client) -> None:
    assert ids(client.post(SEARCH, json={"query": "chowder"})) == ["d2"]
    batch = client.post(f"{SEARCH}:batch", json={"searches": [{"query": "chowder"}]})
    assert [hit["id"] for hit in batch.json()["results"][0]["hits"]] == ["d2"]


def test_explain_may_be_true_or_false(client: httpx.Client) -> None:
    hit = client.post(SEARCH, json={"query": {"text": "chowder"}, "explain": True}).json()["hits"][0]
    assert [term["token"] for term in hit["matched"]] == ["chowder"]
    hit = client.post(SEARCH, json={"query": {"text": "chowder"}, "explain": False}).json()["hits"][0]
    assert "matched" not in hit


@pytest.mark.parametrize(
    ("field", "named"),
    [("limit", "k"), ("size", "k"), ("top_k", "k"), ("offset", "cursor"), ("filters", "filter"), ("aggs", "facets"),
     ("_source", "include"), ("with_payload", "include"), ("q", '"query"'), ("score_threshold", "min_score")],
)  # fmt: skip
def test_the_name_that_another_engine_uses_is_answered_with_ours(client: httpx.Client, field: str, named: str) -> None:
    detail = refused(client.post(SEARCH, json={"query": {"text": "a"}, field: 10}), field)
    assert detail.startswith("unknown field; ")
    assert named in detail


def test_a_list_in_a_filter_means_one_of_it(client: httpx.Client) -> None:
    body: dict[str, Any] = {"query": {"text": "lobster"}, "filter": {"year": [2019, 2022]}}
    assert set(ids(client.post(SEARCH, json=body))) == {"d1", "a/b c?"}
    assert ids(client.post(SEARCH, json=body | {"filter": {"tag": ["soup", "travel"]}})) == ["d2"]


def test_a_part_of_a_date_is_answered_with_a_whole_one(client: httpx.Client) -> None:
    client.put("/v1/collections/dated", json={"schema": {"at": "date"}}).raise_for_status()
    for given, whole in (("2019-03", "2019-03-01"), ("2019", "2019-01-01")):
        body = {"query": {"text": "a"}, "filter": {"at": {"gte": given}}}
        assert whole in refused(client.post("/v1/collections/dated/search", json=body), "filter.at.gte")
        assert client.post("/v1/collections/dated/search", json=body | {"filter": {"at": {"gte": whole}}}).is_success
    client.delete("/v1/collections/dated").raise_for_status()


KEY = "a-key-of-some-length"


@pytest.mark.parametrize(
    "header",
    [{"Authorization": f"Bearer {KEY}"}, {"Authorization": f"ApiKey {KEY}"}, {"X-API-Key": KEY}, {"api-key": KEY}],
)
def test_a_key_is_accepted_in_every_usual_header(serve, header: dict[str, str]) -> None:
    client = serve(ServiceSettings(api_keys=(ApiKey.of(KEY),)))
    assert client.get("/v1/collections", headers=header).status_code == 200
    assert (
        client.get("/v1/collections", headers={name: value[:-1] for name, value in header.items()}).status_code == 401
    )


# --- text-embeddings-inference


@pytest.fixture(scope="module")
def encoding(serve) -> httpx.Client:
    client = serve()
    client.put("/v1/collections/c", json={"encoder": "bm25"}).raise_for_status()
    client.post("/v1/collections/c/documents", json={"documents": [{"id": "1", "text": "heron"}]}).raise_for_status()
    return client


def test_the_fields_of_its_clients_are_accepted(encoding: httpx.Client) -> None:
    plain = encoding.post("/embed_sparse", json={"inputs": "heron"}).json()
    assert plain[0]
    for more in (
        {"truncate": True, "truncation_direction": "Right", "prompt_name": None, "normalize": False},
        {"truncate": None, "truncation_direction": None, "normalize": None, "model": None},
        {"truncation_direction": "right"},
    ):
        assert encoding.post("/embed_sparse", json={"inputs": "heron", **more}).json() == plain


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": "a", "truncation_direction": "Left"}, "truncation_direction"),
        ({"inputs": "a", "normalize": True}, "normalize"),
        ({"inputs": "a", "prompt_name": "passage"}, "prompt_name"),
        ({"inputs": [1, 2]}, "inputs"),
        ({"inputs": [[1, 2]]}, "inputs"),
        ({"inputs": 5}, "inputs"),
        ({"inputs": ["a", None]}, "inputs[1]"),
        ({"inputs": ["a"] * 257}, "inputs"),
    ],
)
def test_what_is_refused_is_refused_in_plain_words(encoding: httpx.Client, body: dict[str, Any], field: str) -> None:
    response = encoding.post("/embed_sparse", json=body)
    assert refused(response, field)
    for word in ("validator", "function", "Literal", "NoneType", "instance of", "pydantic"):
        assert word not in response.text
    assert (response.json()["error"], response.json()["error_type"]) == (response.json()["detail"], "Validation")


def test_health_and_info_have_its_form(encoding: httpx.Client) -> None:
    health = encoding.get("/health")
    assert (health.status_code, health.content) == (200, b"")
    info = encoding.get("/info").json()
    assert (info["model_id"], info["models"], info["auto_truncate"]) == ("bm25", ["bm25"], True)
    assert info["model_type"] == {"embedding": {"pooling": "splade"}}
    of_its_router = {"model_sha", "model_dtype", "max_input_length", "max_batch_tokens", "max_batch_requests",
                     "served_model_name", "tokenization_workers", "sha", "docker_label"}  # fmt: skip
    assert of_its_router <= set(info)  # a client that reads /info strictly fails without them
    assert encoding.post("/embed_sparse", json={"inputs": "heron", "model": info["model_id"]}).is_success


def test_other_problems_do_not_have_its_fields(encoding: httpx.Client) -> None:
    assert "error_type" not in encoding.get("/v1/collections/nothing").json()
