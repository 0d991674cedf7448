"""Fusion, rescoring and what shapes a ranking, over HTTP: the contract's section "Ranking" on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lsr.store import CollectionStore
from service.server import running

PATH = "/v1/collections/books"
SEARCH = f"{PATH}/search"
VECTORS = {
    "default": {"encoder": "bm25"},
    "topic": {"encoder": None},
    "meaning": {"encoder": None, "dense": True, "dimensions": 4},
}
SCHEMA = {"year": "int", "tag": "keyword[]", "shelf": "keyword", "at": "date", "price": "float"}


def book(
    identifier: str, text: str, topic: dict[str, float] | None, meaning: list[float] | None, **metadata: Any
) -> dict[str, Any]:
    vectors: dict[str, Any] = {} if topic is None else {"topic": {"sparse": topic}}
    if meaning is not None:
        vectors["meaning"] = {"dense": meaning}
    parent = identifier[0] if "#" in identifier else None
    return {"id": identifier, "text": text, "parent": parent, "metadata": metadata, "vectors": vectors}


DOCUMENTS = [
    book("a#1", "the lobster and the sea", {"fish": 2, "food": 1}, [1, 0, 0, 0],
         year=2001, tag=["sea"], shelf="x", price=3.5, at="2020-01-01"),
    book("a#2", "a lobster roll with butter", {"food": 3}, [0.9, 0.1, 0, 0],
         year=2002, tag=["food"], shelf="x", price=9),
    book("a#3", "butter and bread", {"food": 2}, None, year=2003, shelf="y"),
    book("b", "the sea at night, a lobster", {"fish": 1}, [0, 1, 0, 0],
         year=2004, tag=["sea", "night"], shelf="y", price=20),
    book("c", "night trains", None, [0, 0, 1, 0], year=2005, tag=["night"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        CollectionStore(tmp_path_factory.mktemp("books")) as store,
        running(store) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        made = client.put(PATH, json={"vectors": VECTORS, "schema": SCHEMA})
        assert made.status_code == 201, made.text
        written = client.post(f"{PATH}/documents", json={"documents": DOCUMENTS})
        assert (written.status_code, written.json()["failed"]) == (200, 0), written.text
        yield client


def search(client: httpx.Client, query: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = client.post(SEARCH, json={"query": query, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_a_fusion_adds_up_and_says_what_each_list_gave(books: httpx.Client) -> None:
    fusion = {"queries": [{"text": "lobster"}, {"using": "topic", "sparse": {"fish": 1.0}}], "weights": [1, 2]}
    answer = search(books, {"fusion": fusion}, explain={"max_terms": 3})
    assert ids(answer)[0] == "a#1"
    for hit in answer["hits"]:
        assert [leg["using"] for leg in hit["legs"]] == ["default", "topic"]
        assert sum(leg["contribution"] for leg in hit["legs"]) == pytest.approx(hit["score"], rel=1e-5)
        for leg in hit["legs"]:
            shown = sum(term["contribution"] for term in leg["matched"]) + leg["other_terms"]
            assert shown == pytest.approx(leg["score"], rel=1e-5)
    best = answer["hits"][0]
    assert best["legs"][1] == best["legs"][1] | {"rank": 1, "score": 2.0, "contribution": 2.0}
    assert next(hit for hit in answer["hits"] if hit["id"] == "a#2")["legs"][1]["rank"] is None
    assert {term["using"] for term in answer["query"]["terms"]} == {"default", "topic"}


def test_scores_from_elsewhere_and_documents_to_be_like(books: httpx.Client) -> None:
    fusion = {
        "queries": [{"scores": {"c": 5.0, "b": 1.0, "gone": 2.0}}, {"using": "topic", "like": "a#2"}],
        "method": "rrf",
    }
    answer = search(books, {"fusion": fusion})
    assert ids(answer)[:2] == ["a#3", "c"]  # both are first of a list
    assert "a#2" not in ids(answer)
    assert any("1 of 3 ids" in warning for warning in answer["warnings"])
    assert ids(search(books, {"like": ["a#2"]}, using="topic")) == ["a#3", "a#1"]
    assert ids(search(books, {"like": {"ids": ["a#1"], "unlike": ["a#2"]}}, using="topic")) == ["b"]


def test_rescoring_compares_by_the_dense_vector_and_marks_what_has_none(books: httpx.Client) -> None:
    answer = search(
        books, {"like": {"ids": ["a#1"]}}, using="topic", rescore={"using": "meaning", "candidates": 10, "weight": 3}
    )
    assert ids(answer)[0] == "a#2"
    assert {hit["id"]: hit["rescored"] for hit in answer["hits"]} == {"a#2": True, "a#3": False, "b": True}
    assert answer["hits"][0]["legs"][-1]["using"] == "meaning"
    assert answer["hits"][0]["legs"][-1]["score"] == pytest.approx(0.994, abs=0.01)


def test_defaults_are_changed_and_overridden(books: httpx.Client) -> None:
    try:
        wanted = {"queries": [{"using": "default"}, {"using": "topic", "limit": 5}], "weights": [1, 0.5]}
        changed = books.patch(PATH, json={"search": wanted})
        assert changed.status_code == 200, changed.text
        assert changed.json()["search"]["weights"] == [1.0, 0.5]
        assert len(search(books, {"like": "a#1"})["hits"][0]["legs"]) == 2
        assert len(search(books, {"like": "a#1"}, using="topic")["hits"][0]["legs"]) == 1
        refused = books.patch(PATH, json={"search": {"queries": [{"using": "meaning"}]}})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "search.queries[0].using")
    finally:
        books.patch(PATH, json={"search": {"queries": [{"using": "default"}]}})


def test_facets_total_sort_and_groups(books: httpx.Client) -> None:
    facets = {"fields": ["tag", "shelf", "year", "at"], "over": "matches", "buckets": {"year": [2001, 2003, 2006]}}
    answer = search(books, {"text": "lobster sea"}, k=1, facets=facets, total=True)
    assert answer["total"] == {"value": 3, "relation": "eq"}
    assert answer["facets"]["tag"]["values"][0] == {"value": "sea", "count": 2}
    assert answer["facets"]["shelf"] == {
        "values": [{"value": "x", "count": 2}, {"value": "y", "count": 1}],
        "other": 0,
        "missing": 0,
    }
    assert answer["facets"]["year"]["buckets"] == [
        {"gte": 2001, "lt": 2003, "count": 2},
        {"gte": 2003, "lt": 2006, "count": 1},
    ]
    assert answer["facets"]["at"]["missing"] == 2
    assert answer["facets"]["at"]["min"] == "2020-01-01T00:00:00Z"
    assert ids(search(books, {"text": "lobster"}, sort={"field": "price", "order": "desc"})) == ["b", "a#2", "a#1"]
    grouped = search(books, {"text": "lobster butter"}, group_by={"field": "parent", "size": 3})
    assert [(hit["group"]["value"], len(hit["group"]["hits"])) for hit in grouped["hits"]] == [("a", 2), (None, 0)]
    assert ids(search(books, {"text": "lobster"}, group_by="shelf", k=5)) == ["a#1", "b"]


def test_words_that_must_be_there_ids_boosts_and_least_score(books: httpx.Client) -> None:
    assert ids(search(books, {"text": "lobster sea"}, must=["butter"])) == ["a#2"]
    assert ids(search(books, {"text": "lobster sea"}, must=["unheard"])) == []
    assert ids(search(books, {"text": "lobster"}, filter={"ids": ["b", "c", "gone"]})) == ["b"]
    boosted = search(
        books, {"text": "lobster"}, boosts=[{"field": "price", "weight": 10, "function": "saturation", "pivot": 5}]
    )
    assert ids(boosted)[0] == "b"
    assert boosted["hits"][0]["boosts"] == [{"field": "price", "contribution": 8.0}]
    dated = search(
        books, {"text": "lobster"}, boosts=[{"field": "at", "weight": 4, "half_life_days": 366, "now": "2021-01-01"}]
    )
    assert dated["hits"][0]["boosts"][0]["contribution"] == pytest.approx(2.0)
    scores = [hit["score"] for hit in search(books, {"text": "lobster"})["hits"]]
    assert len(search(books, {"text": "lobster"}, min_score=scores[0])["hits"]) == 1


def test_near_duplicates_fold_and_neighbours_come_along(books: httpx.Client) -> None:
    folded = search(books, {"text": "lobster"}, collapse={"similarity": 0.9, "using": "meaning"})
    assert sorted([*ids(folded), *folded["hits"][0].get("duplicates", [])])[:2] == ["a#1", "a#2"]
    assert len(folded["hits"]) == 2
    near = search(books, {"text": "roll"}, neighbours={"words": 8})["hits"][0]
    assert [(one["id"], one["position"]) for one in near["neighbours"]] == [("a#1", -1), ("a#3", 1)][1:] or near[
        "neighbours"
    ]
    assert search(books, {"text": "roll"}, neighbours={"words": 100})["hits"][0]["neighbours"] == [
        {"id": "a#1", "position": -1, "text": "the lobster and the sea"},
        {"id": "a#3", "position": 1, "text": "butter and bread"},
    ]


def test_pages_go_on_where_the_last_one_ended(books: httpx.Client) -> None:
    whole = ids(search(books, {"text": "lobster butter night"}, k=10))
    first = search(books, {"text": "lobster butter night"}, k=2, cursor=True)
    second = search(books, {"text": "lobster butter night"}, k=2, cursor=first["next_cursor"])
    again = search(books, {"text": "lobster butter night"}, k=2, cursor=first["next_cursor"])
    assert ids(second) == ids(again) == whole[2:4]
    assert ids(first) == whole[:2]
    other = books.post(SEARCH, json={"query": {"text": "butter"}, "cursor": first["next_cursor"]})
    assert (other.status_code, other.json()["type"]) == (410, "/problems/cursor-gone")
    old = books.post(SEARCH, json={"query": {"text": "butter"}, "cursor": "nothing.2"})
    assert old.status_code == 410


def test_feedback_brings_terms_that_say_so(books: httpx.Client) -> None:
    answer = search(books, {"text": "roll"}, prf={"docs": 1, "terms": 10})
    assert {term["origin"] for term in answer["query"]["terms"]} == {"input", "prf"}
    assert "a#3" in ids(answer)  # by butter


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"query": {"fusion": {"queries": []}}}, "query.fusion.queries"),
        ({"query": {"fusion": {"queries": [{"text": "a", "using": "nothing"}]}}}, "using"),
        ({"query": {"fusion": {"queries": [{"text": "a"}], "weights": [0]}}}, "query.fusion.weights"),
        ({"query": {"fusion": {"queries": [{"text": "a"}], "weights": [-1]}}}, "query.fusion.weights[0]"),
        ({"query": {"fusion": {"queries": [{"text": "a"}], "weights": [1, 1]}}}, "query.fusion.weights"),
        ({"query": {"fusion": {"queries": [{"text": "a", "like": "b"}]}}}, "query.fusion.queries[0]"),
        ({"query": {"like": "gone"}}, "query.like.ids"),
        ({"query": {"text": "a"}, "using": "meaning"}, "using"),
        ({"query": {"text": "a"}, "rescore": {"using": "topic"}}, "rescore.using"),
        ({"query": {"text": "a"}, "rescore": {"using": "meaning", "candidates": 100_000}}, "rescore.candidates"),
        ({"query": {"sparse": {"lobster": 1}}, "rescore": {"using": "meaning"}}, "rescore"),
        ({"query": {"text": "a"}, "facets": ["colour"]}, "facets.fields"),
        ({"query": {"text": "a"}, "facets": {"fields": ["year"], "buckets": {"year": [3, 1]}}}, "facets.buckets.year"),
        ({"query": {"text": "a"}, "facets": {"fields": ["shelf"], "buckets": {"shelf": [1, 3]}}}, "facets.buckets"),
        ({"query": {"text": "a"}, "group_by": "price"}, "group_by"),
        ({"query": {"text": "a"}, "sort": {"field": "tag"}}, "sort.field"),
        ({"query": {"text": "a"}, "sort": {"field": "year"}, "min_score": 1.0}, "min_score"),
        ({"query": {"text": "a"}, "boosts": [{"field": "shelf"}]}, "boosts.shelf"),
        ({"query": {"text": "a"}, "boosts": [{"field": "at"}]}, "boosts.at.half_life_days"),
        ({"query": {"text": "a"}, "must": [" "]}, "must"),
        ({"query": {"text": "a"}, "include": ["metadata."]}, "include[0]"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(books: httpx.Client, extra: dict[str, Any], field: str) -> None:
    response = books.post(SEARCH, json=extra)
    assert response.status_code == 422, response.text
    assert field in [error["field"] for error in response.json()["errors"]], response.text


@pytest.mark.parametrize(
    ("dense", "detail"),
    [([1, 2, 3], "4"), ([0, 0, 0, 0], "0"), (["a", 1, 1, 1], "number"), ({"x": 1}, "list")],
)
def test_a_wrong_dense_vector_is_refused_by_its_line(books: httpx.Client, dense: Any, detail: str) -> None:
    response = books.post(
        f"{PATH}/documents", json={"documents": [{"id": "bad", "vectors": {"meaning": {"dense": dense}}}]}
    )
    assert response.status_code == 422, response.text
    error = response.json()["errors"][0]
    assert "meaning" in str(error)
    assert detail in str(error)
