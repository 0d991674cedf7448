"""Search over HTTP: the contract's request and response, on a real socket."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from index import SearchParameters
from service.messages.search_requests import SearchParams

SEARCH = "/v1/collections/dishes/search"


def search(client: httpx.Client, query: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = client.post(SEARCH, json={"query": query, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_text_finds_the_documents_that_hold_it_best_first(client: httpx.Client) -> None:
    answer = search(client, {"text": "lobster roll"})
    assert {hit["id"] for hit in answer["hits"]} == {"d1", "d2", "d3", "a/b c?"}
    assert answer["hits"][0]["id"] == "d1"
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4]
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["hits"][0]["metadata"] == {"year": 2019, "tag": ["food"]}
    assert {term["token"] for term in answer["query"]["terms"]} == {"lobster", "roll"}
    assert {term["origin"] for term in answer["query"]["terms"]} == {"input"}
    assert answer["total"]["value"] >= 4
    assert answer["facets"] == {}
    assert answer["next_cursor"] is None
    assert answer["warnings"] == []


def test_answer_has_the_fields_of_the_contract_and_no_others(client: httpx.Client) -> None:
    answer = search(client, {"text": "lobster"}, explain={"max_terms": 8}, highlight=True)
    assert set(answer) == {
        "took_ms", "timings", "query", "hits", "total", "facets", "next_cursor", "approximate", "expected_recall",
        "partial", "warnings",
    }  # fmt: skip
    assert set(answer["timings"]) == {"encode", "search", "rescore", "fetch", "explain"}
    assert answer["took_ms"] >= sum(answer["timings"].values()) * 0.99
    assert set(answer["hits"][0]) == {
        "id", "rank", "score", "title", "text", "parent", "metadata", "matched", "other_terms", "highlights",
        "legs", "rescored",
    }  # fmt: skip
    assert set(answer["hits"][0]["legs"][0]) == {
        "using", "rank", "score", "contribution", "matched", "other_terms",
    }  # fmt: skip


def test_contributions_and_other_terms_add_up_to_the_score(client: httpx.Client) -> None:
    for most in (1, 8):
        answer = search(client, {"text": "lobster roll butter road"}, explain={"max_terms": most})
        for hit in answer["hits"]:
            assert len(hit["matched"]) <= most
            shown = sum(term["contribution"] for term in hit["matched"]) + hit["other_terms"]
            assert shown == pytest.approx(hit["score"], rel=1e-5)


def test_words_fold_the_matched_terms_and_add_up_to_the_score(client: httpx.Client) -> None:
    answer = search(client, {"text": "lobsters rolling"}, explain={"max_terms": 8, "words": True})
    for hit in answer["hits"]:
        text = f"{hit['title']} {hit['text']}"
        assert all(one["word"] in text for one in hit["words"])
        assert [token for one in hit["words"] for token in one["tokens"]] == [one["token"] for one in hit["matched"]]
        shown = sum(one["contribution"] for one in hit["words"]) + hit["other_terms"]
        assert shown == pytest.approx(hit["score"], rel=1e-5)
    assert {one["word"] for hit in answer["hits"] for one in hit["words"]} > {"lobster"}
    assert "words" not in search(client, {"text": "lobster"}, explain={})["hits"][0]


def test_a_sparse_query_by_token_and_by_index_find_the_same(client: httpx.Client) -> None:
    by_text = search(client, {"text": "lobster roll"})
    by_token = search(client, {"sparse": {term["token"]: term["weight"] for term in by_text["query"]["terms"]}})
    indices = [term["id"] for term in by_text["query"]["terms"]]
    values = [term["weight"] for term in by_text["query"]["terms"]]
    by_index = search(client, {"sparse": {"indices": indices, "values": values}})
    expected = [(hit["id"], hit["score"]) for hit in by_text["hits"]]
    assert [(hit["id"], hit["score"]) for hit in by_token["hits"]] == expected
    assert [(hit["id"], hit["score"]) for hit in by_index["hits"]] == expected


def test_k_limits_the_hits_and_exact_agrees_on_a_small_collection(client: httpx.Client) -> None:
    everything = search(client, {"text": "lobster"}, params={"exact": True})
    assert everything["approximate"] is False
    assert everything["expected_recall"] == 1.0
    assert search(client, {"text": "lobster"})["approximate"] is False  # no blocks: the index searched exactly
    first = search(client, {"text": "lobster"}, k=1)
    assert [hit["id"] for hit in first["hits"]] == [everything["hits"][0]["id"]]


def test_the_search_parameters_of_a_request_are_those_of_the_index(client: httpx.Client) -> None:
    assert tuple(SearchParams.model_fields) == SearchParameters._fields
    assert search(client, {"text": "lobster"}, params={"query_cut": 2, "heap_factor": 0.5, "n_knn": 0})["hits"]


def test_include_chooses_what_comes_with_a_hit(client: httpx.Client) -> None:
    always = {"id", "rank", "score", "legs", "rescored"}
    assert set(search(client, {"text": "lobster"}, include=[])["hits"][0]) == always
    assert set(search(client, {"text": "lobster"}, include=["title"])["hits"][0]) == always | {"title"}
    part = search(client, {"text": "lobster roll"}, include=["metadata.year", "text"], exclude=["text"])["hits"][0]
    assert set(part) == always | {"metadata"}
    assert part["metadata"] == {"year": 2019}
    assert search(client, {"text": "lobster roll"}, exclude=["metadata.tag"])["hits"][0]["metadata"] == {"year": 2019}


def test_a_filter_keeps_matching_documents_only(client: httpx.Client) -> None:
    answer = search(client, {"text": "lobster"}, filter={"year": {"gte": 2020}})
    assert {hit["id"] for hit in answer["hits"]} == {"d2", "a/b c?"}


def test_a_filter_on_an_unknown_field_names_it(client: httpx.Client) -> None:
    response = client.post(SEARCH, json={"query": {"text": "lobster"}, "filter": {"colour": "red"}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "filter.colour"


def test_highlights_mark_inflected_words_by_characters(client: httpx.Client) -> None:
    answer = search(client, {"text": "lobster"}, highlight=True)
    hit = next(hit for hit in answer["hits"] if hit["id"] == "a/b c?")
    words = [hit[one["field"]][one["start"] : one["end"]] for one in hit["highlights"]]
    assert words == ["Lobsters", "lobsters", "lobsters", "lobster"]
    assert all(one["weight"] > 0 for one in hit["highlights"])


@pytest.mark.parametrize("text", ["", "   ", "of the", "zyxwv"])
def test_a_query_that_matches_nothing_has_no_hits_and_no_error(client: httpx.Client, text: str) -> None:
    answer = search(client, {"text": text}, explain={}, highlight=True)
    assert answer["hits"] == []


@pytest.mark.parametrize("query", [{"text": "  "}, {"text": "of the"}, {"sparse": {}}])
def test_a_query_without_terms_says_so_in_warnings(client: httpx.Client, query: dict[str, Any]) -> None:
    assert search(client, query)["warnings"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": {}}, "query"),
        ({"query": {"text": "a", "sparse": {"b": 1}}}, "query"),
        ({"query": {"text": "a"}, "k": 0}, "k"),
        ({"query": {"text": "a"}, "k": 1001}, "k"),
        ({"query": {"text": "a"}, "k": "10"}, "k"),
        ({"query": {"text": "a"}, "k": True}, "k"),
        ({"query": {"text": "a"}, "size": 10}, "size"),
        ({"query": {"txt": "a"}}, "query.txt"),
        ({"query": {"text": 5}}, "query.text"),
        ({"query": {"text": "a\0b"}}, "query.text"),
        ({"query": {"text": "a" * 40_000}}, "query.text"),
        ({"query": {"text": "a"}, "params": {"recall": 2}}, "params.recall"),
        ({"query": {"text": "a"}, "params": {"exakt": True}}, "params.exakt"),
        ({"query": {"text": "a"}, "params": {"n_knn": -1}}, "params.n_knn"),
        ({"query": {"text": "a"}, "using": "splade"}, "using"),
        ({"query": {"text": "a"}, "timeout_ms": 0}, "timeout_ms"),
        ({"query": {"text": "a"}, "include": ["body"]}, "include[0]"),
        ({"query": {"sparse": {"lobster": -1}}}, "query.sparse.lobster"),
        ({"query": {"sparse": {"lobster": 1e39}}}, "query.sparse.lobster"),
        ({"query": {"sparse": {"lobster": "1"}}}, "query.sparse.lobster"),
        ({"query": {"sparse": {"lob\0ster": 1}}}, "query.sparse"),
        ({"query": {"sparse": {"indices": [1, 2], "values": [1]}}}, "query.sparse.values"),
        ({"query": {"sparse": {"indices": [1, 1], "values": [1, 1]}}}, "query.sparse.indices[1]"),
        ({"query": {"sparse": {"indices": [-1], "values": [1]}}}, "query.sparse.indices[0]"),
        ({"query": {"sparse": {"indices": list(range(1025)), "values": [1] * 1025}}}, "query.sparse"),
    ],
)
def test_a_wrong_field_is_refused_by_name(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    response = client.post(SEARCH, json=body)
    assert response.status_code == 422, response.text
    problem = response.json()
    assert field in [error["field"] for error in problem["errors"]]
    assert field in problem["detail"]


def test_null_and_empty_fields_are_as_good_as_none(client: httpx.Client) -> None:
    plain = search(client, {"text": "lobster"})
    same = search(
        client,
        {"text": "lobster", "sparse": None, "like": None, "fusion": None},
        cursor=None, must=[], facets=[], group_by=None, prf=None, rescore=None, sort=None, boosts=[], using=None,
    )  # fmt: skip
    assert [hit["id"] for hit in same["hits"]] == [hit["id"] for hit in plain["hits"]]


def test_an_unknown_collection_is_a_404(client: httpx.Client) -> None:
    response = client.post("/v1/collections/nothing/search", json={"query": {"text": "a"}})
    assert response.status_code == 404
    assert response.json()["type"] == "/problems/collection-not-found"
