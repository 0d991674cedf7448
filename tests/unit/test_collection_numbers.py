"""Numbers at the edges: weights that could overflow, integers that a float cannot hold, the two zeros."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from scipy.sparse import csr_array

from eval.sources.queries import Query as EvalQuery
from eval.systems import IndexSystem
from index import MAX_WEIGHT, IndexConfig, SparseIndex, canonical, score_rows
from index.errors import VectorError
from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.documents import Document, SparseByIndex, SparseByToken, parse_document, parse_sparse
from lsr.errors import InvalidDocument, InvalidJson, QueryError
from lsr.search.request import Boost, ExternalScores, Facets, Feedback, Fusion, Leg, Like
from lsr.strict_json import loads
from lsr.vectors import VectorConfig

HEAVY = {"default": VectorConfig(None, index=IndexConfig(impact_dtype="float32"))}
LARGE = 123456789012345678901234567890


@pytest.fixture(params=["pending", "sealed"])
def heavy(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A collection of the heaviest weights that are allowed, with the largest and smallest metadata."""
    with Collection.create(tmp_path / "c", vectors=HEAVY, schema={"n": "float", "i": "int"}) as collection:
        collection.write(
            [
                Document("a", metadata={"n": 1.7e308, "i": 2**63 - 1}, vectors=_vector({"x": MAX_WEIGHT, "y": 1.0})),
                Document("b", metadata={"n": -1.7e308, "i": -(2**63)}, vectors=_vector({"x": 1.0, "y": MAX_WEIGHT})),
            ]
        )
        if request.param == "sealed":
            assert collection.seal()
        yield collection


def _vector(weights: dict[str, float]) -> dict[str, Any]:
    return {"default": SparseByToken(weights)}


def test_the_heaviest_query_over_the_heaviest_documents_has_the_right_score(heavy: Collection) -> None:
    (first, second) = heavy.search(SparseByToken({"x": MAX_WEIGHT, "y": 1.0})).hits
    assert (first.id, second.id) == ("a", "b")
    weight = float(np.float32(1e12))
    assert first.score == np.float32(weight * weight + 1.0)
    assert second.score == np.float32(weight + weight)


@pytest.mark.parametrize(
    "options",
    [
        {"boosts": (Boost("n", weight=1e6), Boost("i", weight=-1e6), Boost("n", weight=1e6, function="saturation"))},
        {"boosts": tuple(Boost("n", weight=1e6, function="log") for _ in range(8))},
        {"prf": Feedback(docs=2)},
        {"facets": Facets(("n", "i"))},
        {"facets": Facets(("n", "i"), over="matches")},
    ],
)
def test_every_number_of_an_answer_is_finite(heavy: Collection, options: dict[str, Any]) -> None:
    for query in (
        SparseByToken({"x": MAX_WEIGHT}),
        Like(("a",)),
        Fusion([Leg(SparseByToken({"x": MAX_WEIGHT})), ExternalScores({"a": 1e30, "b": -1e30})], "sum", (1e6, 1e6)),
        Fusion([Leg(SparseByToken({"x": MAX_WEIGHT})), ExternalScores({"a": 1e30, "b": -1e30})], "zscore"),
        Fusion([Leg(SparseByToken({"y": MAX_WEIGHT})), ExternalScores({"a": 1e30, "b": -1e30})], "minmax"),
    ):
        result = heavy.search(query, explain_terms=3, **options)
        assert result.hits or isinstance(query, Like)
        assert all(math.isfinite(hit.score) for hit in result.hits)
        assert b"null" not in orjson.dumps(result.facets if result.facets is not None else {})


def test_what_a_boost_adds_is_bounded(heavy: Collection) -> None:
    (first, second) = heavy.search(SparseByToken({"x": 1.0}), boosts=(Boost("n", weight=10.0),), k=2).hits
    assert (first.id, first.score) == ("a", np.float32(1e30))
    assert (second.id, second.score) == ("b", np.float32(-1e30))


@pytest.mark.parametrize("weight", [1.1e12, 3e38, 1e39, math.inf, math.nan, -1.0, 10**400])
def test_a_weight_that_could_overflow_is_refused_everywhere(tmp_path: Path, weight: float) -> None:
    with Collection.create(tmp_path / "c", vectors=HEAVY) as collection:
        collection.write([Document("a", vectors=_vector({"x": 1.0}))])
        for query in (SparseByToken({"x": weight}), SparseByIndex((1,), (weight,))):
            with pytest.raises((QueryError, InvalidDocument, OverflowError)):
                collection.search(query)
        with pytest.raises(InvalidDocument):
            collection.write([Document("b", vectors=_vector({"x": weight}))])
    for value in ({"x": weight}, {"indices": [1], "values": [weight]}):
        with pytest.raises(InvalidDocument, match="from 0 to 1e"):
            parse_sparse(value, "sparse")
    if not isinstance(weight, int):
        with pytest.raises(VectorError):
            canonical(np.array([weight]), "float32")
        with pytest.raises(VectorError):
            score_rows(csr_array(np.ones((1, 2), np.float32)), [1], [weight])
        with np.errstate(over="ignore"):
            row = csr_array(np.array([[weight]]).astype(np.float32))
        with pytest.raises(VectorError):
            SparseIndex.build(row, IndexConfig(impact_dtype="float32"))
        index = SparseIndex.build(csr_array(np.ones((3, 2), np.float32)))
        with pytest.raises(VectorError):
            index.search_one(np.array([1]), row.data)
        with pytest.raises(VectorError):
            index.search(row)


def test_scores_from_elsewhere_are_bounded() -> None:
    with pytest.raises(QueryError, match="1e\\+30"):
        ExternalScores({"a": 1.1e30})
    with pytest.raises(QueryError):
        ExternalScores({"a": 10**400})
    with pytest.raises(QueryError):
        Boost("n", weight=10**400)


# --- integers


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 2**63, 2**53 + 1, 0])
def test_a_64_bit_integer_of_the_metadata_comes_back_exactly(tmp_path: Path, value: int) -> None:
    document = parse_document(loads(f'{{"id":"a","text":"x","metadata":{{"deep":[{{"n":{value}}}]}}}}'))
    with Collection.create(tmp_path / "c", vectors=HEAVY) as collection:
        collection.write([document])
        collection.seal()
        found = collection.get("a")
        assert found is not None
        assert found.metadata == {"deep": [{"n": value}]}
        assert type(found.metadata["deep"][0]["n"]) is int


@pytest.mark.parametrize("value", [LARGE, -LARGE, 2**64, -(2**63) - 1, 10**300])
def test_a_larger_integer_is_refused_with_its_field(tmp_path: Path, value: int) -> None:
    document = parse_document(loads(f'{{"id":"a","text":"x","metadata":{{"deep":[{{"n":{value}}}]}}}}'))
    with Collection.create(tmp_path / "c", vectors=HEAVY) as collection:
        with pytest.raises(InvalidDocument) as refused:
            collection.check(document)
        assert refused.value.field == "metadata.deep[0].n"
        assert "64 bits" in str(refused.value)
        collection.write([Document("a")])
        with pytest.raises(InvalidDocument, match=r"metadata\.n"):
            collection.patch("a", {"n": value})


def test_json_integers_of_any_size_are_read_exactly() -> None:
    assert loads(str(LARGE)) == LARGE
    assert loads(f'[1.5, {{"a": null, "b": [-{LARGE}, 1e30, 18446744073709551616]}}]') == [
        1.5,
        {"a": None, "b": [-LARGE, 1e30, 2**64]},
    ]
    assert type(loads("1e30")) is float
    with pytest.raises(InvalidJson):
        loads("9" * 100_000)


# --- zeros


def test_there_is_one_zero(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=HEAVY, schema={"price": "float"}) as collection:
        for identifier, price in (("minus", -0.0), ("plus", 0.0), ("integer", 0), ("one", 1.0)):
            collection.write([Document(identifier, metadata={"price": price}, vectors=_vector({"x": 1.0}))])
        for _ in range(2):
            for value in (0, 0.0, -0.0):
                for condition in (value, {"in": [value]}, {"gte": value, "lte": value}):
                    hits = collection.search(SparseByToken({"x": 1.0}), filter={"price": condition}).hits
                    assert {hit.id for hit in hits} == {"minus", "plus", "integer"}
                hits = collection.search(SparseByToken({"x": 1.0}), filter={"price": {"ne": value}}).hits
                assert [hit.id for hit in hits] == ["one"]
            counted = collection.search(SparseByToken({"x": 1.0}), facets=Facets(("price",))).facets
            assert counted is not None
            assert struct.pack("d", counted["price"]["min"]) == struct.pack("d", 0.0)
            collection.seal()
        (hit,) = collection.search(
            SparseByToken({"x": 1.0}), filter={"ids": ["minus"]}, boosts=(Boost("price", weight=-1.0),)
        ).hits
        assert hit.score == 1.0


# --- term numbers


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 2**32 - 2])
def test_32_bit_term_numbers_are_accepted_everywhere(tmp_path: Path, number: int) -> None:
    value = {"indices": [number, 5], "values": [2.0, 1.0]}
    parsed = parse_sparse(value, "sparse")
    assert parsed == SparseByIndex((number, 5), (2.0, 1.0))
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(None)}) as collection:
        collection.write(
            [parse_document({"id": "a", "sparse": value}), parse_document({"id": "b", "sparse": {"5": 1.0}})]
        )
        for _ in range(2):
            hits = collection.search(SparseByIndex((number,), (3.0,))).hits
            assert [(hit.id, hit.score) for hit in hits] == [("a", 6.0)]
            assert collection.vector("a") == {str(number): 2.0, "5": 1.0}
            collection.seal()
    matrix = csr_array(([2.0, 1.0], np.array([5, number], dtype=np.int64), [0, 2]), shape=(1, number + 1))
    ids, scores = SparseIndex.build(matrix).search_one([number], [3.0])
    assert (ids.tolist(), scores.tolist()) == ([0], [3.0])
    system = IndexSystem(SparseIndex.build(matrix), ["a"], name="index")
    (ranking,) = system.rank([EvalQuery("q", "", SparseByIndex((number,), (3.0,)))], 1)
    assert (ranking.doc_ids, ranking.scores.tolist()) == (["a"], [3.0])
    words = np.array([1, 2, 5, number, *np.array([1.0, 2.0], "<f4").view("<u4")], dtype="<u4")
    words.tofile(tmp_path / "v.bin")
    (line,) = open_corpus(str(tmp_path / "v.bin"))
    assert line.content == Document("0", vectors={"default": SparseByIndex((5, number), (1.0, 2.0))})


@pytest.mark.parametrize("number", [-1, 2**32 - 1, 2**40, 10**400, 1.5, True])
def test_other_term_numbers_are_refused_by_name(number: Any) -> None:
    with pytest.raises(InvalidDocument, match=r"sparse\.indices\[1\]: .* from 0 to 4294967294"):
        parse_sparse({"indices": [3, number], "values": [1, 1]}, "sparse")
