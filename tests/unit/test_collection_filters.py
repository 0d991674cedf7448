"""Filters: each comparison against plain Python, equal for pending and sealed documents; hostile ones are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from index import SearchOptions
from index.errors import SearchParameterError
from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.errors import InvalidDocument, QueryError, UnknownField
from lsr.vectors import VectorConfig

SCHEMA = {"year": "int", "price": "float", "fresh": "bool", "lang": "keyword", "tag": "keyword[]", "at": "date"}
METADATA: list[dict[str, Any]] = [
    {"year": 2019, "price": 1.5, "fresh": True, "lang": "fr", "tag": ["food", "sea"], "at": "2019-05-01"},
    {"year": 2020, "price": 9, "fresh": False, "lang": "en", "tag": [], "at": "2020-01-01T00:30:00+01:00"},
    {"year": 2021, "lang": "en", "tag": ["travel"], "at": "2021-12-31T23:59:59Z", "note": {"free": ["form", None]}},
    {},
    {"year": None, "tag": ["food"], "price": -2.25},
]

CASES: list[tuple[object, Callable[[dict[str, Any]], bool]]] = [
    ({}, lambda m: True),
    ({"year": 2020}, lambda m: m.get("year") == 2020),
    ({"year": {"gte": 2020}}, lambda m: (m.get("year") or 0) >= 2020),
    ({"year": {"gt": 2019, "lt": 2021}}, lambda m: m.get("year") == 2020),
    ({"year": {"ne": 2020}}, lambda m: m.get("year") != 2020),
    ({"year": {"exists": False}}, lambda m: m.get("year") is None),
    ({"price": {"lte": 1.5}}, lambda m: m.get("price") is not None and m["price"] <= 1.5),
    ({"fresh": True}, lambda m: m.get("fresh") is True),
    ({"lang": {"in": ["fr", "de"]}}, lambda m: m.get("lang") == "fr"),
    ({"lang": {"in": []}}, lambda m: False),
    ({"tag": "food"}, lambda m: "food" in m.get("tag", [])),
    ({"tag": {"in": ["sea", "travel"]}}, lambda m: bool({"sea", "travel"} & set(m.get("tag", [])))),
    ({"at": {"lt": "2020-01-01"}}, lambda m: m.get("year") in (2019, 2020)),
    ({"not": {"lang": "fr"}}, lambda m: m.get("lang") != "fr"),
    ({"or": [{"year": 2019}, {"lang": "en", "year": {"gt": 2020}}]}, lambda m: m.get("year") in (2019, 2021)),
    ({"and": [{"tag": "food"}, {"not": {"year": {"exists": True}}}]}, lambda m: m.get("price") == -2.25),
]


@pytest.fixture(params=["pending", "sealed", "both"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Collection]:
    documents = [
        Document(f"d{number}", metadata=metadata, vectors={"default": SparseByToken({"x": 1.0})})
        for number, metadata in enumerate(METADATA)
    ]
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(None)}, schema=SCHEMA) as made:
        made.write(documents[:2])
        if request.param == "both":
            made.seal()
        made.write(documents[2:])
        if request.param == "sealed":
            made.seal()
        yield made


def matching(collection: Collection, condition: object) -> list[str]:
    return [hit.id for hit in collection.search(SparseByToken({"x": 1.0}), filter=condition).hits]


@pytest.mark.parametrize(("condition", "expected"), CASES, ids=[str(case[0]) for case in CASES])
def test_a_filter_finds_what_plain_python_finds(
    collection: Collection, condition: object, expected: Callable[[dict[str, Any]], bool]
) -> None:
    wanted = [f"d{number}" for number, metadata in enumerate(METADATA) if expected(metadata)]
    assert matching(collection, condition) == wanted


@pytest.mark.parametrize("options", [{"n_knn": 3}, {"recall": 0.9, "query_cut": 5}, {"heap_factor": 2.0}])
def test_search_parameters_reach_the_segments(tmp_path: Path, options: SearchOptions) -> None:
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(None)}) as made:
        made.write([Document("d", vectors={"default": SparseByToken({"x": 1.0})})])
        made.seal()
        query = SparseByToken({"x": 1.0})
        assert made.search(query, query_cut=5, heap_factor=0.5, n_knn=0).hits
        with pytest.raises(SearchParameterError, match=next(iter(options))):
            made.search(query, **options)
        with pytest.raises(SearchParameterError, match=next(iter(options))):
            made.rank([query], **options)


def test_metadata_comes_back_as_it_went_in(collection: Collection) -> None:
    for number, metadata in enumerate(METADATA):
        document = collection.get(f"d{number}")
        assert document is not None
        assert document.metadata == metadata


def test_filtered_search_returns_k_when_k_documents_match(tmp_path: Path) -> None:
    documents = [
        Document(f"d{n:04}", metadata={"year": n % 500}, vectors={"default": SparseByToken({"x": 1.0 + n, "y": 1.0})})
        for n in range(2000)
    ]
    config = {"default": VectorConfig(None)}
    with Collection.create(tmp_path / "c", vectors=config, schema={"year": "int"}) as collection:
        collection.write(documents)
        collection.seal()
        for exact in (True, False):
            result = collection.search(SparseByToken({"x": 1.0}), k=4, filter={"year": 3}, exact=exact)
            assert [hit.id for hit in result.hits] == ["d1503", "d1003", "d0503", "d0003"]


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ([], "filter"),
        ("year", "filter"),
        ({"year": {}}, "filter.year"),
        ({"year": "2020"}, "filter.year"),
        ({"year": 2**70}, "filter.year"),
        ({"year": {"gte": float("nan")}}, "filter.year.gte"),
        ({"price": {"gte": float("inf")}}, "filter.price.gte"),
        ({"year": {"in": 2020}}, "filter.year.in"),
        ({"year": {"in": [2020, "x"]}}, "filter.year.in[1]"),
        ({"year": {"about": 2020}}, "filter.year.about"),
        ({"lang": {"gte": "a"}}, "filter.lang.gte"),
        ({"lang": "\ud800"}, "filter.lang"),
        ({"at": {"lt": "yesterday"}}, "filter.at.lt"),
        ({"fresh": {"exists": 1}}, "filter.fresh.exists"),
        ({"or": []}, "filter.or"),
        ({"and": [{"year": 1}, {"not": [1]}]}, "filter.and[1].not"),
    ],
)
def test_a_filter_that_makes_no_sense_names_its_place(tmp_path: Path, condition: object, field: str) -> None:
    with Collection.create(tmp_path / "c", schema=SCHEMA) as collection:
        with pytest.raises(QueryError) as caught:
            collection.search("x", filter=condition)
        assert caught.value.field == field


@pytest.mark.parametrize("sealed", [False, True])
def test_an_empty_filter_lets_everything_through_without_a_schema(tmp_path: Path, sealed: bool) -> None:
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(None)}) as collection:
        collection.write([Document(name, vectors={"default": SparseByToken({"x": 1.0})}) for name in "ab"])
        if sealed:
            collection.seal()
        assert matching(collection, {}) == ["a", "b"]
        assert matching(collection, {"not": {}}) == []
        assert sorted(collection.matching({})) == ["a", "b"]


def test_an_unknown_field_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    made = Collection.create(tmp_path / "c", schema={"year": "int"})
    with made as collection, pytest.raises(UnknownField, match="its fields: year"):
        collection.search("x", filter={"yaer": 2020})


def test_a_filter_nested_too_deep_is_refused(tmp_path: Path) -> None:
    condition: dict[str, Any] = {"year": 1}
    for _ in range(100):
        condition = {"not": condition}
    with Collection.create(tmp_path / "c", schema=SCHEMA) as collection, pytest.raises(QueryError, match="nested"):
        collection.search("x", filter=condition)


@pytest.mark.parametrize(
    "metadata",
    [
        {"year": True},
        {"year": 1.0},
        {"year": 2**63},
        {"price": float("nan")},
        {"fresh": "yes"},
        {"lang": 3},
        {"tag": "food"},
        {"tag": ["food", 1]},
        {"at": "31.12.2020"},
        {"free": float("inf")},
        {"free": 2**70},
        {"free": "\ud800"},
        {"free": {1: "one"}},
    ],
)
def test_metadata_that_does_not_fit_the_schema_is_refused(tmp_path: Path, metadata: dict[str, Any]) -> None:
    with Collection.create(tmp_path / "c", schema=SCHEMA) as collection:
        with pytest.raises(InvalidDocument) as caught:
            collection.write([Document("d", metadata=metadata)])
        assert caught.value.code == "invalid_metadata"


@pytest.mark.parametrize("schema", [{"not": "int"}, {"": "int"}, {"year": "integer"}, {"a b": "int"}])
def test_a_schema_with_a_bad_name_or_type_is_refused(tmp_path: Path, schema: dict[str, str]) -> None:
    with pytest.raises(QueryError):
        Collection.create(tmp_path / "c", schema=schema)
    assert not (tmp_path / "c").exists()
