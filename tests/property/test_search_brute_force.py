"""Searches in every form equal a ranking that is computed document by document in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsr.collection import Collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.results import SearchResult
from lsr.search.request import (
    Boost,
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
from lsr.vectors import VectorConfig

TERMS = [f"t{number}" for number in range(8)]
DIMENSIONS = 8
N_DOCS = 40
METHODS: Sequence[Literal["rrf", "scaled", "minmax", "zscore", "sum"]] = ("rrf", "scaled", "minmax", "zscore", "sum")


@dataclass(frozen=True)
class Entry:
    """A document as the reference sees it."""

    id: str
    vectors: dict[str, dict[str, float]]
    dense: np.ndarray | None
    metadata: dict[str, Any]
    parent: str | None


def entries(seed: int) -> list[Entry]:
    """Documents whose weights are multiples of 1/8: every sum is exact, in whatever order it is made."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(N_DOCS):
        vectors = {
            name: {
                term: float(rng.integers(1, 24)) / 8 for term in rng.choice(TERMS, rng.integers(0, 5), replace=False)
            }
            for name in ("a", "b")
        }
        dense = rng.integers(-3, 4, DIMENSIONS).astype(np.float32) if rng.random() < 0.8 else None
        metadata: dict[str, Any] = {"year": int(rng.integers(2000, 2006)), "views": float(rng.integers(0, 50))}
        if rng.random() < 0.8:
            metadata["tag"] = str(rng.choice(["x", "y", "z"]))
        parent = f"p{rng.integers(0, 6)}" if rng.random() < 0.7 else None
        made.append(
            Entry(f"d{number:02}", vectors, dense if dense is not None and dense.any() else None, metadata, parent)
        )
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collection, list[Entry]]]:
    """A collection of two segments, deletions and pending documents, and what lives in it."""
    every = entries(7)
    vectors = {
        "a": VectorConfig(None),
        "b": VectorConfig(None),
        "m": VectorConfig(None, dense=True, dimensions=DIMENSIONS),
    }
    schema = {"year": "int", "views": "float", "tag": "keyword"}
    with Collection.create(tmp_path_factory.mktemp("world") / "c", vectors=vectors, schema=schema) as collection:
        for part in (every[:15], every[15:30]):
            collection.write([document(entry) for entry in part])
            collection.seal()
        collection.write([document(entry) for entry in every[30:]])
        collection.delete(["d03", "d17", "d33"])
        yield collection, [entry for entry in every if entry.id not in ("d03", "d17", "d33")]


def document(entry: Entry) -> Document:
    vectors: dict[str, Any] = {name: SparseByToken(weights) for name, weights in entry.vectors.items()}
    if entry.dense is not None:
        vectors["m"] = DenseInput(tuple(map(float, entry.dense)))
    return Document(entry.id, text="", parent=entry.parent, metadata=entry.metadata, vectors=vectors)


def raw(entry: Entry, using: str, query: dict[str, float]) -> float:
    return float(np.float32(sum(weight * entry.vectors[using].get(term, 0.0) for term, weight in query.items())))


def ranked(scores: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def reference(
    live: list[Entry],
    legs: list[tuple[str, dict[str, float]] | dict[str, float]],
    method: str,
    weights: Sequence[float],
    *,
    k: int = 60,
    limit: int = 200,
    keep: Callable[[Entry], bool] = lambda entry: True,
) -> dict[str, list[float]]:
    """What each list contributes to each candidate."""
    allowed = [entry for entry in live if keep(entry)]
    lists = []
    for leg in legs:
        if isinstance(leg, dict):
            scores = {entry.id: leg[entry.id] for entry in allowed if entry.id in leg}
            lists.append((ranked(scores), dict(scores), min(0.0, *scores.values()) if scores else 0.0))
        else:
            using, query = leg
            scores = {entry.id: raw(entry, using, query) for entry in allowed}
            lists.append((ranked({one: score for one, score in scores.items() if score > 0})[:limit], scores, 0.0))
    candidates = {one for ordered, _, _ in lists for one, _ in ordered}
    shares: dict[str, list[float]] = {one: [] for one in candidates}
    for (ordered, scores, least), weight in zip(lists, weights, strict=True):
        ranks = {one: at for at, (one, _) in enumerate(ordered, start=1)}
        held = [score for _, score in ordered]
        for one in candidates:
            score = scores.get(one, 0.0)
            if method == "rrf":
                value = 1 / (k + ranks[one]) if one in ranks else 0.0
            elif method == "sum":
                value = score
            elif not held:
                value = 0.0
            elif method == "zscore":
                deviation = float(np.std(held))
                value = (score - float(np.mean(held))) / deviation if deviation > 0 else 0.0
            else:
                low = least if method == "scaled" else min(held)
                if max(held) > low:
                    value = max((score - low) / (max(held) - low), 0.0)
                else:
                    value = 0.0 if method == "scaled" else float(score >= max(held))
            shares[one].append(weight * value)
    return shares


def totals(shares: dict[str, list[float]]) -> list[tuple[str, float]]:
    return ranked({one: float(np.float32(math.fsum(values))) for one, values in shares.items()})


def check(result: SearchResult, expected: list[tuple[str, float]], k: int) -> None:
    """The same order, where scores differ by more than the rounding of sums made in another order."""
    found = [(hit.id, hit.score) for hit in result.hits]
    assert len(found) == min(k, len(expected))
    scores = dict(expected)
    for (identifier, score), (_, wanted) in zip(found, expected, strict=False):
        assert score == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        assert score == pytest.approx(scores[identifier], rel=1e-6, abs=1e-6)


def adds_up(result: SearchResult) -> None:
    """Contributions add up to the hit's score, matched terms to their list's."""
    for hit in result.hits:
        total = sum(leg.contribution for leg in hit.legs) + sum(boost.contribution for boost in hit.boosts)
        assert total == pytest.approx(hit.score, rel=1e-5, abs=1e-5)
        for leg in hit.legs:
            if leg.matched:
                matched = sum(term.contribution for term in leg.matched) + leg.other_terms
                assert matched == pytest.approx(leg.score, rel=1e-5, abs=1e-5)


queries = st.dictionaries(st.sampled_from(TERMS), st.integers(1, 16).map(lambda n: n / 8), min_size=1, max_size=5)
quickly = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
World = tuple[Collection, list[Entry]]


@quickly
@given(
    one=queries,
    other=queries,
    method=st.sampled_from(METHODS),
    weights=st.tuples(st.integers(0, 4), st.integers(1, 4)),
    limit=st.integers(1, 30),
    k=st.integers(1, 30),
    year=st.one_of(st.none(), st.integers(2000, 2005)),
)
def test_a_filtered_fusion_equals_a_brute_force_ranking(
    world: World,
    one: dict[str, float],
    other: dict[str, float],
    method: Literal["rrf", "scaled", "minmax", "zscore", "sum"],
    weights: tuple[int, int],
    limit: int,
    k: int,
    year: int | None,
) -> None:
    collection, live = world
    query = Fusion(
        [Leg(SparseByToken(one), "a", limit), Leg(SparseByToken(other), "b", limit)], method, tuple(map(float, weights))
    )
    condition = None if year is None else {"year": {"gte": year}}
    result = collection.search(query, k=k, filter=condition, explain_terms=3)
    depth = max(limit, k)
    shares = reference(
        live,
        [("a", one), ("b", other)],
        method,
        weights,
        limit=depth,
        keep=lambda entry: year is None or entry.metadata["year"] >= year,
    )
    check(result, totals(shares), k)
    adds_up(result)
    assert not result.approximate


@quickly
@given(query=queries, scores=st.dictionaries(st.integers(0, N_DOCS + 3), st.integers(-8, 8), min_size=1, max_size=20))
def test_scores_from_elsewhere_are_a_list_like_the_others(
    world: World, query: dict[str, float], scores: dict[int, int]
) -> None:
    collection, live = world
    given = {f"d{number:02}": score / 4 for number, score in scores.items()}
    fusion = Fusion([Leg(SparseByToken(query), "a"), ExternalScores(given)], "scaled", (1.0, 2.0))
    result = collection.search(fusion, k=50, explain_terms=2)
    check(result, totals(reference(live, [("a", query), given], "scaled", (1.0, 2.0))), 50)
    adds_up(result)
    unknown = set(given) - {entry.id for entry in live}
    assert any("not in the collection" in warning for warning in result.warnings) == bool(unknown)


@quickly
@given(query=queries, near=st.integers(0, N_DOCS - 1), candidates=st.integers(1, 30), k=st.integers(1, 40))
def test_rescoring_reorders_the_first_candidates_and_leaves_the_others_below(
    world: World, query: dict[str, float], near: int, candidates: int, k: int
) -> None:
    collection, live = world
    by_id = {entry.id: entry for entry in live}
    liked = f"d{near:02}"
    if liked not in by_id or by_id[liked].dense is None:
        return
    first = collection.search(Like((liked,)), using="a", k=1000)
    rescored = collection.search(
        Like((liked,)), using="a", k=k, rescore=Rescore("m", candidates), explain_terms=2, total=True
    )
    adds_up(rescored)
    order = [hit.id for hit in first.hits]
    assert {hit.id for hit in rescored.hits[:candidates]} <= set(order[: max(candidates, 0)])
    assert [hit.id for hit in rescored.hits[candidates:]] == order[candidates:k]
    assert rescored.total.value == len(order)
    target = by_id[liked].dense
    for hit in rescored.hits[:candidates]:
        own = by_id[hit.id].dense
        assert hit.rescored == (own is not None)
        if own is not None and target is not None:
            cosine = float(own @ target / np.linalg.norm(own) / np.linalg.norm(target))
            assert hit.legs[-1].score == pytest.approx(cosine, abs=0.02)  # int8
        else:
            assert len(hit.legs) == 1


@quickly
@given(query=queries, page=st.integers(1, 7), method=st.sampled_from(METHODS))
def test_pages_are_the_ranking_cut_into_pieces(
    world: World, query: dict[str, float], page: int, method: Literal["rrf", "scaled", "minmax", "zscore", "sum"]
) -> None:
    collection, _ = world
    fusion = Fusion([Leg(SparseByToken(query), "a"), Leg(SparseByToken(query), "b")], method)
    whole = collection.search(fusion, k=1000)
    found = []
    result = collection.search(fusion, k=page, cursor=True)
    while True:
        found += [(hit.id, hit.score, hit.rank) for hit in result.hits]
        if result.next_cursor is None:
            break
        result = collection.search(fusion, k=page, cursor=result.next_cursor)
    assert found == [(hit.id, hit.score, hit.rank) for hit in whole.hits]


@quickly
@given(query=queries, field=st.sampled_from(["parent", "tag", "year"]), size=st.integers(1, 3), k=st.integers(1, 10))
def test_groups_are_the_best_of_each_value(
    world: World, query: dict[str, float], field: str, size: int, k: int
) -> None:
    collection, live = world
    by_id = {entry.id: entry for entry in live}

    def value(identifier: str) -> Any:
        entry = by_id[identifier]
        return entry.parent if field == "parent" else entry.metadata.get(field)

    whole = collection.search(SparseByToken(query), using="a", k=1000)
    expected: list[tuple[Any, list[str]]] = []
    for hit in whole.hits:
        own = value(hit.id)
        known = next((members for one, members in expected if own is not None and one == own), None)
        if known is None:
            expected.append((own, [hit.id]))
        elif len(known) < size:
            known.append(hit.id)
    result = collection.search(SparseByToken(query), using="a", k=k, group_by=GroupBy(field, size))
    found = [(hit.group.value, [hit.id, *(one.id for one in hit.group.hits)]) for hit in result.hits if hit.group]
    assert found == expected[:k]


@quickly
@given(query=queries, over=st.sampled_from(["ranked", "matches"]))
def test_facets_and_totals_count_what_matches(
    world: World, query: dict[str, float], over: Literal["ranked", "matches"]
) -> None:
    collection, live = world
    matching = [entry for entry in live if raw(entry, "a", query) > 0]
    result = collection.search(
        SparseByToken(query),
        using="a",
        k=3,
        total=True,
        facets=Facets(("tag", "year", "views"), over, buckets={"year": {"interval": 2}, "views": [0, 10, 40]}),
    )
    assert (result.total.value, result.total.relation) == (len(matching), "eq")
    tags = [entry.metadata.get("tag") for entry in matching]
    facet = result.facets["tag"]
    assert {one["value"]: one["count"] for one in facet["values"]} == {
        tag: tags.count(tag) for tag in set(tags) if tag is not None
    }
    assert facet["missing"] == tags.count(None)
    years = [entry.metadata["year"] for entry in matching]
    for bucket in result.facets["year"]["buckets"]:
        assert bucket["count"] == sum(bucket["gte"] <= year < bucket["lt"] for year in years)
    views = [entry.metadata["views"] for entry in matching]
    for bucket in result.facets["views"]["buckets"]:
        assert bucket["count"] == sum(bucket["gte"] <= one < bucket["lt"] for one in views)


@quickly
@given(
    query=queries,
    order=st.sampled_from(["asc", "desc"]),
    field=st.sampled_from(["year", "views", "tag"]),
    k=st.integers(1, 30),
)
def test_sorting_orders_all_matches_by_the_field(
    world: World, query: dict[str, float], order: Literal["asc", "desc"], field: str, k: int
) -> None:
    collection, live = world
    matching = [entry for entry in live if raw(entry, "a", query) > 0]
    have = sorted((entry for entry in matching if field in entry.metadata), key=lambda entry: entry.id)
    have.sort(key=lambda entry: entry.metadata[field], reverse=order == "desc")
    lack = sorted((entry for entry in matching if field not in entry.metadata), key=lambda entry: entry.id)
    result = collection.search(SparseByToken(query), using="a", k=k, sort=Sort(field, order))
    assert [hit.id for hit in result.hits] == [entry.id for entry in [*have, *lack]][:k]
    assert [hit.score for hit in result.hits] == [raw(entry, "a", query) for entry in [*have, *lack]][:k]


@quickly
@given(query=queries, weight=st.integers(-3, 3), words=st.lists(st.sampled_from(TERMS), min_size=0, max_size=2))
def test_boosts_and_words_that_must_be_there(
    world: World, query: dict[str, float], weight: int, words: list[str]
) -> None:
    collection, live = world
    scores = {
        entry.id: raw(entry, "a", query) + weight * math.log1p(entry.metadata["views"])
        for entry in live
        if raw(entry, "a", query) > 0 and all(word in entry.vectors["a"] for word in words)
    }
    result = collection.search(
        SparseByToken(query), using="a", k=100, boosts=(Boost("views", weight, "log"),), must=Must(tuple(words), "a")
    )
    check(result, ranked(scores), 100)
    adds_up(result)


@quickly
@given(query=queries, when=st.sampled_from(["before", "after", "both"]), docs=st.integers(1, 5))
def test_feedback_adds_terms_of_the_first_hits_and_is_explained(
    world: World, query: dict[str, float], when: Literal["before", "after", "both"], docs: int
) -> None:
    collection, live = world
    by_id = {entry.id: entry for entry in live}
    fusion = Fusion([Leg(SparseByToken(query), "a"), Leg(SparseByToken(query), "b")])
    plain = collection.search(SparseByToken(query), using="a", k=docs)
    result = collection.search(fusion, k=50, prf=Feedback(docs, 20, 0.5, when), explain_terms=20)
    adds_up(result)
    terms = {term.token for term in result.query_terms if term.using == "a"}
    assert set(query) & {term for entry in live for term in entry.vectors["a"]} <= terms
    if when == "before":
        brought = {term for hit in plain.hits for term in by_id[hit.id].vectors["a"]}
        assert terms <= brought | set(query)
        assert {
            term.token for term in result.query_terms if term.using == "a" and term.origin == "prf"
        } == brought - set(query)


def test_a_cursor_neither_repeats_nor_skips_while_documents_are_written_and_merged(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors={"a": VectorConfig(None)}) as collection:
        collection.write([Document(f"d{n:03}", vectors={"a": SparseByToken({"t": 1.0 + n})}) for n in range(60)])
        collection.seal()
        query = SparseByToken({"t": 1.0})
        expected = [hit.id for hit in collection.search(query, k=60).hits]
        result = collection.search(query, k=7, cursor=True)
        found = [hit.id for hit in result.hits]
        turn = 0
        while result.next_cursor is not None:
            collection.write([Document(f"new{turn}", vectors={"a": SparseByToken({"t": 1000.0})})])
            collection.delete([expected[len(found)]])
            if turn == 2:
                collection.seal()
                collection.merge()
            turn += 1
            result = collection.search(query, k=7, cursor=result.next_cursor)
            found += [hit.id for hit in result.hits]
        assert found == expected
