"""A collection's guarantees: a write is visible at once, in every way of reading, and after reopening."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lsr.collection import Collection
from lsr.documents import Document, SparseByIndex, SparseByToken
from lsr.errors import (
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    InvalidDocument,
    LsrError,
    QueryError,
)
from lsr.vectors import VectorConfig

SPARSE = {"default": VectorConfig(None)}


def sparse(identifier: str, weights: dict[str, float], **fields: object) -> Document:
    return Document(identifier, vectors={"default": SparseByToken(weights)}, **fields)  # type: ignore[arg-type]


def ranking(collection: Collection, query: dict[str, float], **options: object) -> list[tuple[str, float]]:
    result = collection.search(SparseByToken(query), **options)  # type: ignore[arg-type]
    return [(hit.id, hit.score) for hit in result.hits]


def test_a_written_document_is_found_at_once_and_after_reopening(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("d1", title="Seafood", text="A lobster roll", metadata={"year": 2020})])
        assert [hit.id for hit in collection.search("lobsters").hits] == ["d1"]
    with Collection.open(tmp_path / "c") as collection:
        (hit,) = collection.search("lobsters").hits
        assert hit.document == Document("d1", title="Seafood", text="A lobster roll", metadata={"year": 2020})


def test_results_are_the_same_pending_sealed_and_merged(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    documents = [
        sparse(f"d{number:03}", {f"t{term}": float(weight) for term, weight in enumerate(row) if weight > 0.6})
        for number, row in enumerate(generator.random((60, 12)))
    ]
    query = {"t1": 1.5, "t4": 0.25, "t9": 3.0}
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write(documents[:40])
        collection.write(documents[20:])
        collection.delete(["d003", "d055"])
        pending = ranking(collection, query, k=60, exact=True)
        assert collection.seal()
        assert ranking(collection, query, k=60, exact=True) == pending
        collection.write(documents[10:30])
        collection.delete(["d000"])
        mixed = ranking(collection, query, k=60, exact=True)
        assert mixed == [entry for entry in pending if entry[0] != "d000"]
        assert collection.seal()
        assert collection.merge()
        assert ranking(collection, query, k=60, exact=True) == mixed
        assert collection.info().deleted == 0
        assert collection.info().segments == 1


def test_equal_scores_rank_by_external_id_across_segments_and_pending(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        for batch in (["m", "b"], ["z", "a"], ["k", "c"]):
            collection.write([sparse(identifier, {"x": 1.0}) for identifier in batch])
            if batch != ["k", "c"]:
                collection.seal()
        for k in (1, 2, 3, 6):
            assert [identifier for identifier, _ in ranking(collection, {"x": 1.0}, k=k)] == list("abckmz")[:k]


def test_the_last_of_two_documents_with_one_id_counts(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse("d", {"old": 1.0}), sparse("d", {"new": 1.0})])
        assert ranking(collection, {"old": 1.0}) == []
        assert ranking(collection, {"new": 1.0}) == [("d", 1.0)]
        assert collection.info().documents == 1


def test_an_overwritten_sealed_document_is_never_found_by_its_old_vector(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse("d", {"old": 1.0}), sparse("e", {"old": 1.0})])
        collection.seal()
        collection.write([sparse("d", {"new": 1.0})])
        assert ranking(collection, {"old": 1.0}) == [("e", 1.0)]
    with Collection.open(tmp_path / "c") as collection:
        assert ranking(collection, {"old": 1.0}) == [("e", 1.0)]
        assert collection.info().documents == 2


def test_a_batch_with_a_bad_document_writes_nothing(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema={"year": "int"}) as collection:
        with pytest.raises(InvalidDocument, match=r"metadata\.year") as caught:
            collection.write([sparse("a", {"x": 1.0}), sparse("b", {"x": 1.0}, metadata={"year": "soon"})])
        assert caught.value.field == "metadata.year"
        assert collection.info().documents == 0


def test_bad_documents_are_reported_by_position_and_the_good_ones_kept(tmp_path: Path) -> None:
    problems: list[tuple[int, str]] = []
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema={"year": "int"}) as collection:
        result = collection.write(
            [sparse("a", {"x": 1.0}), sparse("b", {"x": 1e30}), sparse("c", {}, metadata={"year": True})],
            on_problem=lambda position, error: problems.append((position, error.code)),
        )
        assert (result.accepted, problems) == (1, [(1, "invalid_sparse"), (2, "invalid_metadata")])
        assert collection.get("a") is not None


def test_contributions_and_other_terms_add_up_to_the_score(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse("d", {"a": 0.5, "b": 1.25, "c": 2.0, "z": 9.0})])
        query = SparseByToken({"a": 1.0, "b": 2.0, "c": 0.5, "unknown": 1.0})
        result = collection.search(query, explain_terms=2)
        (hit,) = result.hits
        assert [(term.token, term.contribution) for term in hit.matched] == [("b", 2.5), ("c", 1.0)]
        assert hit.other_terms == 0.5
        assert hit.score == 4.0
        assert "'unknown'" in result.warnings[0]


def test_document_frequencies_count_live_documents_only(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document(f"d{n}", text="lobster roll") for n in range(4)])
        collection.seal()
        collection.write([Document("d0", text="lobster"), Document("d9", text="roll")])
        collection.delete(["d1"])
        vocabulary = collection.encoder().vocabulary
        term_ids = vocabulary.ids(["lobster", "roll"])
        for _ in range(2):
            statistics = collection.statistics()
            assert statistics.document_count == 4
            assert statistics.document_frequencies(term_ids).tolist() == [3, 3]
            collection.seal()
            collection.merge()


def test_bm25_freezes_the_average_length_of_the_first_batch(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("empty")])
        assert collection.encoder().settings["average_length"] is None
        collection.write([Document("a", text="one two three four"), Document("b", text="five six")])
        collection.write([Document("c", text="seven " * 50)])
        assert collection.encoder().settings["average_length"] == 3.0
    with Collection.open(tmp_path / "c", "w") as collection:
        assert collection.encoder().settings["average_length"] == 3.0
        assert [hit.id for hit in collection.search("two").hits] == ["a"]


def test_an_index_without_an_encoder_is_the_token_of_that_number(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([Document("d", vectors={"default": SparseByIndex((17, 3), (2.0, 1.0))})])
        assert [hit.id for hit in collection.search(SparseByIndex((17,), (1.0,))).hits] == ["d"]
        assert collection.vector("d") == {"17": 2.0, "3": 1.0}
        with pytest.raises(QueryError, match="has no encoder"):
            collection.search("seventeen")


def test_named_vectors_are_searched_apart(tmp_path: Path) -> None:
    vectors = {"text": VectorConfig("bm25"), "splade": VectorConfig(None)}
    with Collection.create(tmp_path / "c", vectors=vectors) as collection:
        collection.write(
            [
                Document("a", text="lobster", vectors={"splade": SparseByToken({"crab": 1.0})}),
                Document("b", text="crab", vectors={"splade": SparseByToken({"lobster": 1.0})}),
            ]
        )
        collection.seal()
        assert [hit.id for hit in collection.search("lobster", using="text").hits] == ["a"]
        assert ranking(collection, {"lobster": 1.0}, using="splade") == [("b", 1.0)]
        with pytest.raises(QueryError, match="splade, text"):
            collection.search("lobster")


def test_rank_gives_what_search_gives_for_many_queries(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document(f"d{n}", text="lobster " * n + "roll") for n in range(1, 9)])
        for threads in (1, 2):
            ranked = collection.rank(["lobster", "roll", ""], k=5, threads=threads)
            assert ranked[0][0] == [hit.id for hit in collection.search("lobster", k=5, exact=True).hits]
            assert ranked[0][1].dtype == np.float32
            assert ranked[2][0] == []


@pytest.mark.parametrize("query", ["", "  ", "the"])
def test_a_query_without_terms_finds_nothing_and_says_so(tmp_path: Path, query: str) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("d", text="the lobster")])
        result = collection.search(query)
        assert result.hits == ()
        assert len(result.warnings) == 1


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_must_be_an_integer_above_zero(tmp_path: Path, k: object) -> None:
    with Collection.create(tmp_path / "c") as collection, pytest.raises(QueryError, match="k must be"):
        collection.search("x", k=k)  # type: ignore[arg-type]


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("d", text="lobster")])
        with pytest.raises(CollectionLocked, match="another process has this collection open"):
            Collection.open(tmp_path / "c", "w")
        with Collection.open(tmp_path / "c") as reader:
            assert reader.info().documents == 1
            with pytest.raises(LsrError, match="for reading only"):
                reader.write([Document("e")])
    Collection.open(tmp_path / "c", "w").close()


def test_a_folder_that_is_not_a_collection_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFound, match="no such folder"):
        Collection.open(tmp_path / "nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for mode in ("r", "w"):
        with pytest.raises(CollectionNotFound, match="is not a collection"):
            Collection.open(tmp_path / "full", mode)  # type: ignore[arg-type]
    with pytest.raises(CollectionExists, match="not empty"):
        Collection.create(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_a_reader_keeps_the_generation_it_started_with(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse("a", {"x": 1.0}), sparse("b", {"x": 2.0})])
        collection.seal()
        collection.write([sparse("c", {"x": 3.0})])
        with Collection.open(tmp_path / "c") as reader:
            collection.delete(["a"])
            collection.seal()
            collection.merge()
            assert ranking(reader, {"x": 1.0}) == [("c", 3.0), ("b", 2.0), ("a", 1.0)]
            assert reader.get("a") is not None
        assert ranking(collection, {"x": 1.0}) == [("c", 3.0), ("b", 2.0)]


def test_nothing_is_compiled_after_warming(tmp_path: Path) -> None:
    def compiled() -> int:
        return sum(
            len(kernel.signatures)
            for name, module in list(sys.modules.items())
            if name.startswith("index.")
            for kernel in vars(module).values()
            if hasattr(kernel, "signatures")
        )

    with Collection.create(tmp_path / "c", schema={"year": "int", "tag": "keyword[]"}) as collection:
        collection.warm()
        before = compiled()
        assert before > 0
        for sealed in (False, True):
            if sealed:
                collection.seal()
            collection.write([Document(f"d{n}", text=f"lobster roll {n}", metadata={"year": n}) for n in range(300)])
            for exact in (True, False):
                collection.search("lobster 7", exact=exact, explain_terms=3)
                collection.search("lobster", exact=exact, filter={"year": {"lt": 200}})
                collection.search("lobster", exact=exact, filter={"year": 3, "not": {"tag": "x"}})
                collection.search("lobster", recall=None if exact else 0.9, k=100)
        assert compiled() == before
