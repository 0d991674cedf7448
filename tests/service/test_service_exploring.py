"""The small reads for exploring a collection: suggestions, whole vectors, the recall curve, slow searches."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from lsr.collection import Collection
from lsr.documents import DenseInput, Document
from lsr.vectors import VectorConfig
from service.auth import ApiKey
from service.settings import ServiceSettings
from tests.service.conftest import DISHES, Serve


def test_titles_and_words_complete_what_was_typed(client: httpx.Client) -> None:
    found = client.get("/v1/collections/dishes/suggest", params={"prefix": "lob"}).json()
    assert found["titles"] == ["Lobster roll"]
    assert found["words"] == [{"word": "lobster", "documents": 3}, {"word": "lobsters", "documents": 1}]
    found = client.get("/v1/collections/dishes/suggest", params={"prefix": "clam ch"}).json()
    assert found["titles"] == ["Clam chowder"]
    assert found["words"] == [{"word": "chowder", "documents": 1}]


def test_a_title_is_found_by_a_later_word(client: httpx.Client) -> None:
    assert client.get("/v1/collections/dishes/suggest?prefix=chow").json()["titles"] == ["Clam chowder"]


def test_without_a_prefix_titles_are_examples(client: httpx.Client) -> None:
    found = client.get("/v1/collections/dishes/suggest?size=2").json()
    assert len(found["titles"]) == 2
    assert found["words"] == []
    titles = {one["title"] or "Rolling hills and a long road." for one in DISHES}
    assert set(found["titles"]) <= titles


def test_a_size_of_zero_is_refused(client: httpx.Client) -> None:
    response = client.get("/v1/collections/dishes/suggest?size=0")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "size"


def test_suggestions_follow_writes_and_deletions(serve: Serve) -> None:
    client = serve()
    client.put("/v1/collections/notes", json={"encoder": "bm25"}).raise_for_status()
    documents = "/v1/collections/notes/documents"
    client.post(documents, json={"documents": [{"id": "1", "title": "Secret plan"}]}).raise_for_status()
    assert client.get("/v1/collections/notes/suggest?prefix=sec").json()["titles"] == ["Secret plan"]
    client.delete(f"{documents}/1").raise_for_status()
    assert client.get("/v1/collections/notes/suggest?prefix=sec").json() == {"titles": [], "words": []}


def test_a_whole_vector_has_its_terms_and_words(client: httpx.Client) -> None:
    found = client.get("/v1/collections/dishes/vectors/default/d3").json()
    assert found["dense"] is False
    weights = [one["weight"] for one in found["terms"]]
    assert weights == sorted(weights, reverse=True)
    assert {"roll", "hill", "road"} <= {one["token"] for one in found["terms"]}
    words = {one["word"]: one["tokens"] for one in found["words"]}
    assert words["Rolling"] == ["roll"]
    assert sum(one["weight"] for one in found["words"]) == pytest.approx(sum(weights))


def test_an_id_with_slashes_has_a_vector_too(client: httpx.Client) -> None:
    assert client.get("/v1/collections/dishes/vectors/default/a/b%20c%3F").json()["id"] == "a/b c?"


@pytest.mark.parametrize(("path", "status"), [("default/none", 404), ("other/d1", 422)])
def test_a_vector_that_does_not_exist_is_a_problem(client: httpx.Client, path: str, status: int) -> None:
    assert client.get(f"/v1/collections/dishes/vectors/{path}").status_code == status


def test_a_dense_vector_has_numbers(serve: Serve) -> None:
    client = serve()
    vectors = {"default": {"encoder": "bm25"}, "meaning": {"encoder": None, "dense": True, "dimensions": 4}}
    client.put("/v1/collections/dense", json={"vectors": vectors}).raise_for_status()
    document = {"id": "1", "text": "lobster", "vectors": {"meaning": {"dense": [3, 0, 4, 0]}}}
    client.post("/v1/collections/dense/documents", json={"documents": [document]}).raise_for_status()
    found = client.get("/v1/collections/dense/vectors/meaning/1").json()
    assert found["dense"] is True
    assert found["values"] == pytest.approx([0.6, 0, 0.8, 0], abs=0.01)


def test_a_collection_that_is_searched_exactly_has_no_curve(client: httpx.Client) -> None:
    expected = {"using": "default", "source": None, "curves": {}, "usual": {}}
    assert client.get("/v1/collections/dishes/curve").json() == expected
    assert client.get("/v1/collections/dishes/curve?using=other").status_code == 422


def test_the_bytes_of_a_collection_are_listed_by_what_the_files_hold(serve: Serve, tmp_path: Path) -> None:
    vectors = {"default": VectorConfig("bm25"), "meaning": VectorConfig(None, dense=True, dimensions=4)}
    with Collection.create(tmp_path / "kinds", vectors=vectors) as collection:
        assert [(one.kind, one.vector) for one in collection.info().stored] == [("catalog", None)]
        collection.write(
            [
                Document(str(n), text=f"lobster {n}", vectors={"meaning": DenseInput((1.0, n, 0.0, 1.0))})
                for n in range(50)
            ]
        )
        collection.seal()
    found = serve(folder=tmp_path).get("/v1/collections/kinds").json()
    stored = {(one["kind"], one["vector"]): one["bytes"] for one in found["stored"]}
    assert len(stored) == len(found["stored"])
    assert sum(stored.values()) == found["bytes"]
    assert {("catalog", None), ("documents", None), ("forward", "default"), ("dense", "meaning")} <= set(stored)
    assert {vector for kind, vector in stored if kind not in ("catalog", "documents", "dense")} == {"default"}
    assert stored["dense", "meaning"] >= 50 * 4
    (segment,) = (tmp_path / "kinds" / "segments").iterdir()
    files = [file for file in segment.iterdir() if file.is_file()]
    assert stored["documents", None] == sum(file.stat().st_size for file in files)


def test_slow_searches_are_listed_without_what_was_asked(serve: Serve) -> None:
    client = serve(ServiceSettings(slow_query_ms=0.0))
    for name in ("one", "two"):
        client.put(f"/v1/collections/{name}", json={"encoder": "bm25"}).raise_for_status()
    body = {"query": {"text": "secret words"}, "k": 7}
    ids = [client.post("/v1/collections/one/search", json=body).headers["x-request-id"] for _ in range(2)]
    response = client.get("/v1/collections/one/slow")
    found = response.json()
    assert found["slower_than_ms"] == 0.0
    assert [one["request_id"] for one in found["searches"]] == ids[::-1]
    assert found["searches"][0]["k"] == 7
    assert "secret" not in response.text
    assert client.get("/v1/collections/two/slow").json()["searches"] == []


def test_the_reads_need_the_scope_read(serve: Serve) -> None:
    client = serve(ServiceSettings(api_keys=(ApiKey.of("writer-0123456789", "write"),)))
    headers = {"X-API-Key": "writer-0123456789"}
    for rest in ("suggest", "vectors/default/1", "curve", "slow"):
        assert client.get(f"/v1/collections/x/{rest}").status_code == 401
        assert client.get(f"/v1/collections/x/{rest}", headers=headers).status_code == 403
