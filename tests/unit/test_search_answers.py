"""What is kept between searches: answers, encoded queries, pages, answers of near queries; and what is skipped late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from index.errors import SearchStopped
from lsr.collection import Collection
from lsr.dense_vectors import DenseVector
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.errors import CursorGone, QueryError
from lsr.search.cache import BoundedCache
from lsr.search.paging import Cursors, cursor_to
from lsr.search.request import Fusion, Leg, Rescore
from lsr.vectors import VectorConfig

SEARCH: dict[str, Any] = {
    "queries": [{"using": "default"}],
    "rescore": {"using": "meaning", "candidates": 10, "weight": 2},
}
VECTORS = {
    "default": VectorConfig("bm25", {"average_length": 3.0}),
    "meaning": VectorConfig(None, dense=True, dimensions=2),
}
DIRECTIONS = {"north": (1.0, 0.0), "northish": (0.98, 0.2), "east": (0.0, 1.0)}


def encode(vector: DenseVector, text: str) -> NDArray[np.float32]:
    direction = np.array(DIRECTIONS.get(text.split()[0], (0.7, 0.7)), dtype=np.float32)
    unit: NDArray[np.float32] = direction / np.float32(np.linalg.norm(direction))
    return unit


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collection]:
    """A collection whose dense queries are encoded by a table."""
    monkeypatch.setattr(DenseVector, "encode_query", encode)
    monkeypatch.setattr(DenseVector, "can_encode", property(lambda self: True))
    schema = {"kind": "keyword"}
    with Collection.create(tmp_path / "c", vectors=VECTORS, schema=schema, search=SEARCH) as made:
        made.write(
            [
                Document("n", text="wind north", metadata={"kind": "x"}, vectors={"meaning": DenseInput((1.0, 0.0))}),
                Document("e", text="wind east", metadata={"kind": "x"}, vectors={"meaning": DenseInput((0.0, 1.0))}),
                Document("w", text="wind", metadata={"kind": "y"}),
            ]
        )
        yield made


def ids(result: Any) -> list[str]:
    return [hit.id for hit in result.hits]


def test_the_defaults_rescore_a_text_and_using_or_false_leaves_that_out(collection: Collection) -> None:
    assert ids(collection.search("north wind"))[0] == "n"
    assert ids(collection.search("east wind"))[0] == "e"
    assert collection.search("east wind").hits[0].rescored
    for options in ({"using": "default"}, {"rescore": False}):
        plain = collection.search("wind", **options)  # type: ignore[arg-type]
        assert not any(hit.rescored for hit in plain.hits)
        assert ids(plain)[0] == "w"  # the shortest


def test_an_answer_is_kept_until_something_is_written(collection: Collection) -> None:
    first = collection.search("north wind")
    assert collection.search("north wind").hits is first.hits
    assert collection.search("north wind", cache=False).hits is not first.hits
    assert collection.search("north wind", scope="other").hits is not first.hits
    assert collection.search("north wind", k=2).hits is not first.hits
    collection.write([Document("n2", text="north", vectors={"meaning": DenseInput((1.0, 0.0))})])
    assert "n2" in ids(collection.search("north wind"))
    collection.delete(["n"])
    assert "n" not in ids(collection.search("north wind"))
    changed = collection.search("east wind")
    collection.set_search_defaults(SEARCH | {"rescore": None})
    assert collection.search("east wind").hits is not changed.hits
    assert not collection.search("east wind").hits[0].rescored


def test_a_query_is_encoded_once(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(DenseVector, "encode_query", lambda self, text: calls.append(text) or encode(self, text))
    collection.search("north wind", k=1)
    collection.search("north wind", k=2)
    assert calls == ["north wind"]
    counts = {one.cache: (one.hits, one.misses) for one in collection.cache_counts().lookups}
    assert counts["encodings"][0] >= 1


def test_near_queries_of_one_category_share_an_answer_that_says_so(collection: Collection) -> None:
    collection.set_search_defaults(
        SEARCH | {"cache": {"field": "kind", "similarity": 0.9, "values": {"y": {"quota": 1}}}}
    )
    first = collection.search("north wind", filter={"kind": "x"})
    near = collection.search("northish wind", filter={"kind": "x"})
    assert near.cached is not None
    assert near.cached.query == "north wind"
    assert 0.97 < near.cached.similarity < 1.0
    assert ids(near) == ids(first)
    assert collection.search("east wind", filter={"kind": "x"}).cached is None
    assert collection.search("northish wind", filter={"kind": "y"}).cached is None  # another category
    assert collection.search("northish wind").cached is None  # no category
    assert collection.search("northish air", filter={"kind": "x"}, k=2).cached is None  # another request
    collection.write([Document("z", text="wind", metadata={"kind": "x"})])
    assert collection.search("northish breeze", filter={"kind": "x"}).cached is None  # another generation
    hits = {(one.category, one.hits) for one in collection.cache_counts().lookups if one.cache == "near"}
    assert ("x", 1) in hits


@pytest.mark.parametrize(
    ("cache", "field"),
    [
        ({"similarity": 0.9}, "search.cache"),
        ({"field": "kind", "similarity": 2}, "search.cache.similarity"),
        ({"field": "kind", "quota": 0}, "search.cache.quota"),
        ({"field": "kind", "values": {"x": {"ttl": 1}}}, "search.cache.values.x"),
    ],
)
def test_a_wrong_caching_policy_is_refused(collection: Collection, cache: dict[str, Any], field: str) -> None:
    with pytest.raises(QueryError) as caught:
        collection.set_search_defaults(SEARCH | {"cache": cache})
    assert caught.value.field == field


def test_a_late_stage_fails_the_search_or_is_skipped_and_said(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(vector: DenseVector, text: str) -> NDArray[np.float32]:
        time.sleep(0.4)
        return encode(vector, text)

    collection.search("wind", using="default")
    monkeypatch.setattr(DenseVector, "encode_query", slowly)
    with pytest.raises(SearchStopped):
        collection.search("north wind", timeout_ms=100)
    late = collection.search("east wind", timeout_ms=100, on_late="skip")
    assert late.partial
    assert any("rescoring" in warning for warning in late.warnings)
    assert not any(hit.rescored for hit in late.hits)
    time.sleep(0.5)
    again = collection.search("east wind", timeout_ms=2_000, on_late="skip")  # a partial answer was not kept
    assert not again.partial
    assert again.hits[0].id == "e"
    assert collection.search("other wind", timeout_ms=100, on_late="skip", cursor=True).next_cursor is None


def test_an_error_of_the_encoder_is_the_searchs(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(vector: DenseVector, text: str) -> NDArray[np.float32]:
        raise QueryError("broken", field="query")

    monkeypatch.setattr(DenseVector, "encode_query", fail)
    with pytest.raises(QueryError, match="broken"):
        collection.search("north wind", timeout_ms=1_000)


def test_a_fusion_can_be_rescored_too(collection: Collection) -> None:
    fusion = Fusion([Leg("east wind")], "rrf")
    found = collection.search(fusion, rescore=Rescore("meaning", 10, 1.0))
    assert [hit.legs[-1].rank for hit in found.hits if hit.rescored] == [1, 2]
    with pytest.raises(QueryError, match="sparse query has no dense vector"):
        collection.search(SparseByToken({"wind": 1.0}), rescore=Rescore("meaning"))


def test_without_a_model_the_sparse_lists_are_the_default_and_that_is_said(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DenseVector, "can_encode", property(lambda self: False))
    assert not any(hit.rescored for hit in collection.search("north wind").hits)
    assert not collection.search("north wind").partial
    (note,) = collection.info().notes
    assert "meaning" in note


def test_cursors_are_forgotten_after_their_time_and_when_there_are_too_many() -> None:
    cursors = Cursors(lifetime=0.05, most=2)
    first = cursors.keep("a", "request")
    assert cursors.find(cursor_to(first, 3), "request") == ("a", first, 3)
    with pytest.raises(CursorGone, match="another search"):
        cursors.find(cursor_to(first, 3), "other")
    second, third = cursors.keep("b", 1), cursors.keep("c", 1)
    with pytest.raises(CursorGone):
        cursors.find(cursor_to(first, 3), "request")
    assert cursors.find(cursor_to(second, 0), 1)[0] == "b"
    time.sleep(0.1)
    for cursor in (cursor_to(third, 0), "", ".", "x", f"{third}.x", f"{third}.-1", f"{third}.99999999999"):
        with pytest.raises(CursorGone):
            cursors.find(cursor, 1)


def test_a_bounded_cache_forgets_what_was_not_used_for_longest() -> None:
    cache: BoundedCache[str] = BoundedCache(80)
    for key in "abcdefgh":
        cache.put(key, key, 10)
    assert cache.get("a") == "a"
    cache.put("i", "i", 10)
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("i"), cache.bytes) == ("a", "i", 80)
    cache.put("large", "x", 11)  # more than an eighth
    assert cache.get("large") is None
