"""A search over shards equals the search of the unsharded collection: ids, scores, ties, explanations, counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsr.collection import Collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.results import SearchResult, Timings
from lsr.search.request import (
    Boost,
    Collapse,
    ExternalScores,
    Facets,
    Feedback,
    Fusion,
    GroupBy,
    Leg,
    Like,
    Must,
    Rescore,
    Sort,
)
from lsr.sharding.collection import ShardedCollection
from lsr.sharding.digest import digest_of, sum_of
from lsr.sharding.local import open_shards
from lsr.sharding.placement import shards_of
from lsr.sharding.splitting import split_collection
from lsr.vectors import VectorConfig

TERMS = [f"t{number}" for number in range(9)]
WORDS = (
    *("lobster", "roll", "heart", "attack", "sparse", "vector", "search", "engine"),
    *("river", "bank", "stone", "light", "of", "the", "and"),
)
DIMENSIONS = 6
N_DOCS = 60
METHODS = ("rrf", "scaled", "minmax", "zscore", "sum")
NO_TIME = Timings(0.0, 0.0, 0.0)


def documents(seed: int) -> list[Document]:
    """Documents with few different weights, so that many scores are equal and the ids decide."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(N_DOCS):
        chosen = rng.choice(TERMS, rng.integers(0, 5), replace=False)
        vectors: dict[str, Any] = {"a": SparseByToken({term: float(rng.choice([0.5, 1.0, 1.3])) for term in chosen})}
        if rng.random() < 0.8:
            vectors["m"] = DenseInput(tuple(rng.integers(1, 4, DIMENSIONS).astype(float).tolist()))
        metadata: dict[str, Any] = {"year": int(rng.integers(2000, 2005)), "views": float(rng.integers(0, 9)) / 3}
        if rng.random() < 0.8:
            metadata["tag"] = str(rng.choice(["x", "y", "z"]))
            metadata["tags"] = rng.choice(["p", "q", "r"], 2).tolist()
        text = " ".join(rng.choice(WORDS, rng.integers(1, 9)).tolist())
        parent = f"p{rng.integers(0, 9)}" if rng.random() < 0.7 else None
        identifier = f"{parent}#{number}" if parent else f"d{number:02}"
        made.append(Document(identifier, text=text, parent=parent, metadata=metadata, vectors=vectors))
    return made


@pytest.fixture(scope="module", params=[1, 3])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Collection, ShardedCollection]]:
    """A collection of two segments, deletions and pending documents, and the same in shards."""
    folder = tmp_path_factory.mktemp("sharded")
    vectors = {
        "a": VectorConfig(None),
        "words": VectorConfig("bm25"),
        "m": VectorConfig(None, dense=True, dimensions=DIMENSIONS),
    }
    schema = {"year": "int", "views": "float", "tag": "keyword", "tags": "keyword[]"}
    search = {"queries": [{"using": "words"}], "method": "scaled"}
    every = documents(5)
    with Collection.create(folder / "whole", vectors=vectors, schema=schema, search=search) as whole:
        for part in (every[:20], every[20:45]):
            whole.write(part)
            whole.seal()
        whole.write(every[45:])
        whole.delete([every[3].id, every[30].id, every[50].id])
        publication = split_collection(folder / "whole", folder / "shards", request.param)
        sharded = open_shards(folder / "shards", publication, "whole")
        yield whole, sharded
        sharded.close()


def shown(result: SearchResult) -> SearchResult:
    """The answer without what may differ: times, names of cursors, the given vectors of a document that is pending."""
    hits = tuple(replace(hit, document=bare(hit.document)) for hit in result.hits)
    return replace(result, hits=hits, timings=NO_TIME, next_cursor="more" if result.next_cursor else None)


def bare(document: Document) -> Document:
    return replace(document, vectors={})


def assert_same(both: tuple[Collection, ShardedCollection], query: Any, **options: Any) -> SearchResult:
    whole, sharded = both
    expected = shown(whole.search(query, exact=True, cache=False, **options))
    found = shown(sharded.search(query, exact=True, cache=False, **options))
    assert found.hits == expected.hits
    assert found == expected
    return found


weights = st.dictionaries(st.sampled_from(TERMS), st.sampled_from([0.5, 1.0, 1.7]), min_size=1, max_size=5)
texts = st.lists(st.sampled_from(WORDS), min_size=0, max_size=4).map(" ".join)
filters = st.sampled_from(
    [None, {"year": {"gte": 2002}}, {"tag": "x"}, {"tags": "q"}, {"or": [{"tag": "y"}, {"year": 2001}]}, {"year": 1990}]
)
CHECKED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@CHECKED
@given(weights, st.integers(1, 70), filters, st.integers(0, 3))
def test_one_list_is_ranked_as_in_one_collection(both: Any, query: Any, k: int, condition: Any, terms: int) -> None:
    assert_same(both, SparseByToken(query), using="a", k=k, filter=condition, explain_terms=terms, total=True)


@CHECKED
@given(texts, weights, st.sampled_from(METHODS), st.integers(1, 20), filters, st.sampled_from([1, 7, 100]))
def test_fusion_is_normalised_after_the_lists_of_all_shards_are_merged(
    both: Any, text: str, query: Any, method: Any, k: int, condition: Any, limit: int
) -> None:
    lists = [Leg(text, "words", limit), Leg(SparseByToken(query), "a", limit)]
    fusion = Fusion(lists, method=method, weights=[1.0, 0.7])
    found = assert_same(both, fusion, k=k, filter=condition, explain_terms=4)
    assert len(found.query_terms) >= len(query)


@CHECKED
@given(texts, st.sampled_from(["before", "after", "both"]), st.integers(1, 4), filters)
def test_feedback_and_bm25_use_the_frequencies_of_all_shards(
    both: Any, text: str, when: Any, docs: int, condition: Any
) -> None:
    assert_same(both, text, k=20, prf=Feedback(docs=docs, terms=5, when=when), filter=condition, explain_terms=3)


@CHECKED
@given(weights, st.sampled_from([1, 5, 100]), st.sampled_from(METHODS), st.integers(0, N_DOCS - 1))
def test_the_first_candidates_of_all_shards_are_rescored(
    both: Any, query: Any, candidates: int, method: Any, of: int
) -> None:
    fusion = Fusion([Leg(SparseByToken(query), "a"), Leg(Like((existing(both, of),)), "words")], method=method)
    assert_same(both, fusion, k=15, rescore=Rescore("m", candidates=candidates))


@CHECKED
@given(texts, filters, st.sampled_from(["matches", "ranked"]))
def test_facets_and_totals_count_all_shards(both: Any, text: str, condition: Any, over: Any) -> None:
    facets = Facets(("tag", "tags", "year", "views"), over=over, size=2, buckets={"views": {"interval": 1}})
    assert_same(both, text, k=3, facets=facets, total=True, filter=condition)


@CHECKED
@given(weights, st.sampled_from(["year", "views", "tag"]), st.sampled_from(["asc", "desc"]), st.integers(1, 70))
def test_documents_are_sorted_by_a_field(both: Any, query: Any, field: str, order: Any, k: int) -> None:
    assert_same(both, SparseByToken(query), using="a", k=k, sort=Sort(field, order))


@CHECKED
@given(weights, st.sampled_from(["parent", "tag", "year"]), st.integers(1, 3), st.integers(1, 8))
def test_hits_are_grouped_and_collapsed(both: Any, query: Any, field: str, size: int, k: int) -> None:
    assert_same(both, SparseByToken(query), using="a", k=k, group_by=GroupBy(field, size), neighbours=20)
    assert_same(both, SparseByToken(query), using="a", k=k, collapse=Collapse(0.9))
    assert_same(both, SparseByToken(query), using="a", k=k, collapse=Collapse(0.99, using="m"))


@CHECKED
@given(weights, st.lists(st.sampled_from(WORDS), min_size=1, max_size=2), st.floats(0.0, 2.0))
def test_words_boosts_and_least_scores(both: Any, query: Any, words: list[str], least: float) -> None:
    boosts = (Boost("views", weight=0.3), Boost("year", weight=1e-3))
    must = Must(tuple(words), using="words")
    assert_same(both, SparseByToken(query), using="a", must=must, boosts=boosts, min_score=least)


@CHECKED
@given(st.lists(st.integers(0, N_DOCS - 1), min_size=1, max_size=4, unique=True), st.integers(0, N_DOCS - 1))
def test_documents_like_others(both: Any, near: list[int], away: int) -> None:
    like = Like(tuple(existing(both, at) for at in near), (existing(both, away),))
    assert_same(both, like, using="words", k=20, explain_terms=3)
    assert_same(both, like, using="a", k=20, rescore=Rescore("m", candidates=10))


@CHECKED
@given(weights, st.lists(st.integers(0, N_DOCS - 1), min_size=1, max_size=9, unique=True))
def test_scores_from_elsewhere_are_one_of_the_lists(both: Any, query: Any, of: list[int]) -> None:
    scores = ExternalScores({existing(both, at): at / 7 for at in of} | {"unknown": 3.0})
    assert_same(both, Fusion([Leg(SparseByToken(query), "a"), scores]), filter={"year": {"gte": 2001}})


def existing(both: Any, at: int) -> str:
    found: list[str] = ALL.setdefault(id(both[0]), [one.id for one in both[0].page(size=N_DOCS)])
    return found[at % len(found)]


ALL: dict[int, list[str]] = {}


def test_pages_follow_each_other_and_a_cursor_of_another_router_is_gone(both: Any, tmp_path: Path) -> None:
    whole, sharded = both
    pages: list[list[str]] = [[], []]
    for collection, ids in zip(both, pages, strict=True):
        result = collection.search("search engine stone", k=4, cursor=True, exact=True)
        while True:
            ids += [hit.id for hit in result.hits]
            if result.next_cursor is None:
                break
            result = collection.search("search engine stone", k=4, cursor=result.next_cursor, exact=True)
    assert pages[0] == pages[1]
    assert len(set(pages[0])) == len(pages[0]) > 8
    from lsr.errors import CursorGone

    cursor = sharded.search("search engine stone", k=4, cursor=True).next_cursor
    with pytest.raises(CursorGone):
        whole.search("search engine stone", k=4, cursor=cursor)


def test_documents_are_read_by_id_by_page_and_by_filter(both: Any) -> None:
    whole, sharded = both
    every = [bare(one) for one in whole.page(size=N_DOCS)]
    assert sharded.page(size=N_DOCS) == every
    part = whole.page(every[7].id, 5, filter={"year": {"gte": 2002}})
    assert sharded.page(every[7].id, 5, filter={"year": {"gte": 2002}}) == [bare(one) for one in part]
    assert sorted(sharded.matching({"tag": "x"})) == sorted(whole.matching({"tag": "x"}))
    for document in every:
        assert sharded.get(document.id) == document
        for name in ("a", "words"):
            assert sharded.vector(document.id, name) == whole.vector(document.id, name)
        np.testing.assert_array_equal(sharded.dense_vector(document.id, "m"), whole.dense_vector(document.id, "m"))
    assert sharded.get("nobody") is None
    assert sharded.info().documents == len(every)
    for name in ("a", "words"):
        terms = np.arange(20, dtype=np.int64)
        np.testing.assert_array_equal(
            sharded.statistics(name).document_frequencies(terms), whole.statistics(name).document_frequencies(terms)
        )


def test_many_queries_are_ranked_as_in_one_collection(both: Any) -> None:
    whole, sharded = both
    queries = ["search engine", "lobster roll", "", "stone light river"]
    for (ids, scores), (own_ids, own_scores) in zip(
        whole.rank(queries, using="words", k=30), sharded.rank(queries, using="words", k=30), strict=True
    ):
        assert ids == own_ids
        np.testing.assert_array_equal(scores, own_scores)


def test_shards_hold_what_the_collection_holds(both: Any) -> None:
    whole, sharded = both
    entries = sharded.publication.shards
    assert sum_of(entry.digest for entry in entries) == digest_of(whole.path)
    assert sharded.publication.documents == len(whole.page(size=N_DOCS))
    assert len({entry.digest for entry in entries}) == len(entries)


def test_an_id_has_the_same_shard_everywhere() -> None:
    # Fixed numbers: another hash would look for documents in the wrong shard of what is published already.
    assert shards_of(["d1", "d2", "München", ""], 4).tolist() == [0, 0, 3, 0]
    spread = np.bincount(shards_of([f"d{number}" for number in range(40_000)], 4), minlength=4)
    assert (abs(spread - 10_000) < 500).all()
