"""Reindexing: what stays is copied to the last bit, what is added is encoded from the stored texts."""

from __future__ import annotations

import json
import runpy
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders.bm25 import BM25Encoder
from encoders.errors import UnknownEncoder
from lsr.collection import Collection, verify_collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.errors import CollectionExists, CollectionNotFound, LsrError, QueryError
from lsr.reindexing import reindex
from lsr.storage.generation import Place
from lsr.vectors import VectorConfig
from lsr.writing import bulk_load

DIMS = 5
VECTORS = {
    "default": VectorConfig("bm25", {"average_length": 3.0}),
    "given": VectorConfig(None),
    "meaning": VectorConfig(None, dense=True, dimensions=DIMS),
}
WORDS = ["lobster", "roll", "butter", "bread", "egg", "cabbage", "herring", "shrimp", "dill"]
BM25 = {"bm25": VectorConfig("bm25")}
GOLDEN = Path(__file__).parents[1] / "golden"


def document(number: int) -> Document:
    """A document with text, but for every seventh; with a dense vector, but for every fourth."""
    vectors: dict[str, Any] = {"given": SparseByToken({"all": 1.0 + number, f"t{number % 5}": 0.3})}
    if number % 4 != 3:
        values = np.random.default_rng(number).standard_normal(DIMS).astype(np.float32)
        vectors["meaning"] = DenseInput(tuple(values.tolist()))
    text = "" if number % 7 == 6 else " ".join(WORDS[(number * step) % 9] for step in range(1, 4 + number % 6))
    return Document(
        f"d{number:02}", text=text, parent="p" if number % 2 else None, metadata={"n": number}, vectors=vectors
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two segments with deletions, and pending documents of which one replaces another."""
    with Collection.create(tmp_path / "old", vectors=VECTORS, schema={"n": "int"}) as collection:
        # In another order than that of their ids: terms get their numbers as they come.
        collection.write([document(number) for number in reversed(range(20))])
        collection.seal()
        collection.write([document(number) for number in range(20, 30)])
        collection.seal()
        collection.delete(["d03", "d25"])
        collection.write([document(number) for number in (28, 30, 31, 32, 5)])
    return tmp_path / "old"


def places(collection: Collection) -> dict[str, Place]:
    generation = collection._state.generation
    ids = sorted(document.id for document, _, _ in collection.scan(next(iter(collection._state.vectors))))
    return {identifier: place for identifier in ids if (place := generation.find(identifier)) is not None}


def stored(collection: Collection, names: list[str]) -> dict[str, Any]:
    """Every document with these vectors as they are stored: term numbers and impacts, int8 rows and scales."""
    found: dict[str, Any] = {}
    for identifier, place in places(collection).items():
        vectors: list[list[bytes]] = []
        for name in names:
            parts: tuple[Any, ...] = place.dense(name) if name in collection._state.dense else place.vector(name)
            vectors.append([np.asarray(part).tobytes() for part in parts])
        document = place.document()
        found[identifier] = (document.title, document.text, document.parent, dict(document.metadata), vectors)
    return found


def rankings(collection: Collection, queries: dict[str, list[Any]]) -> list[list[tuple[str, float]]]:
    return [
        [(hit.id, hit.score) for hit in collection.search(query, using=name, k=50, exact=True, filter=where).hits]
        for name, asked in queries.items()
        for query in asked
        for where in (None, {"n": {"gte": 12}})
    ]


QUERIES: dict[str, list[Any]] = {
    "default": ["lobster roll", "egg dill bread butter"],
    "given": [SparseByToken({"all": 0.37, "t1": 1.3, "t4": 0.9})],
}


def test_copied_vectors_are_the_same_to_the_last_bit(source: Path, tmp_path: Path) -> None:
    report = reindex(source, tmp_path / "new", add=BM25)
    assert (report.copied, report.encoded) == (("default", "given", "meaning"), ("bm25",))
    assert verify_collection(tmp_path / "new") == []
    with Collection.open(source) as old, Collection.open(tmp_path / "new") as new:
        names = list(VECTORS)
        assert len(places(old)) == 31
        assert stored(new, names) == stored(old, names)
        assert rankings(new, QUERIES) == rankings(old, QUERIES)
        for name in ("default", "given"):
            assert new._state.vectors[name].dictionary() == old._state.vectors[name].dictionary()
            copied, original = new.info().vectors[name], old.info().vectors[name]
            assert copied.index is not None
            assert original.index is not None
            assert copied.index.settings == original.index.settings
            assert replace(copied, index=original.index) == original  # the new collection has one segment
        assert new.schema.fields == old.schema.fields
        query = np.random.default_rng(7).standard_normal(DIMS).astype(np.float32)
        assert dense_scores(new, query) == dense_scores(old, query)


def dense_scores(collection: Collection, query: NDArray[np.float32]) -> list[tuple[float, bool]]:
    found = places(collection)
    scores, present = collection._state.generation.dense_scores("meaning", list(found.values()), query)
    assert 0 < present.sum() < len(found)
    return list(zip(scores.tolist(), present.tolist(), strict=True))


def test_an_added_vector_is_that_of_a_collection_made_of_the_same_texts(source: Path, tmp_path: Path) -> None:
    report = reindex(source, tmp_path / "new", add=BM25)
    with Collection.open(source) as old:
        documents = [old.get(identifier) for identifier in places(old)]
    empty = sum(not one.text for one in documents if one is not None)
    assert report.without_text == empty == 4
    with Collection.create(tmp_path / "made", vectors=BM25, schema={"n": "int"}) as made:
        made.write([one for one in documents if one is not None])
        with Collection.open(tmp_path / "new") as new:
            assert new.encoder("bm25").settings == made.encoder("bm25").settings
            asked = {"bm25": ["lobster roll", "egg dill bread butter"]}
            assert rankings(new, asked) == rankings(made, asked)
            assert all(new.vector(one.id, "bm25") == {} for one in documents if one is not None and not one.text)


def test_the_new_collection_takes_writes_in_its_old_vocabularies(source: Path, tmp_path: Path) -> None:
    reindex(source, tmp_path / "new", add=BM25)
    with Collection.open(tmp_path / "new", "w") as new:
        vectors = {"given": SparseByToken({"all": 9.0, "fresh": 1.0})}
        new.write([Document("x", text="lobster entirely new", vectors=vectors)])
        new.seal()
        new.merge()
        assert new.vector("x", "given") == {"all": 9.0, "fresh": 1.0}
        assert [hit.id for hit in new.search("entirely", using="bm25").hits] == ["x"]
        assert [hit.id for hit in new.search("entirely", using="default").hits] == ["x"]
    assert verify_collection(tmp_path / "new") == []


def test_no_encoder_is_loaded_for_what_is_copied(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str, *_: object, **__: object) -> object:
        loaded.append(name)
        raise UnknownEncoder(name)

    monkeypatch.setattr("encoders.load_with_settings", load)
    reindex(source, tmp_path / "new", remove=["meaning"])
    assert loaded == []
    with pytest.raises(UnknownEncoder):
        reindex(source, tmp_path / "other", add=BM25)
    assert not (tmp_path / "other").exists()


def test_a_vector_is_left_out_and_another_takes_its_name(source: Path, tmp_path: Path) -> None:
    report = reindex(source, tmp_path / "new", remove=["meaning", "default"], add={"default": VectorConfig("bm25")})
    assert (report.copied, report.encoded, report.removed) == (("given",), ("default",), ("meaning",))
    with Collection.open(tmp_path / "new") as new:
        assert set(new.info().vectors) == {"default", "given"}
        assert new.encoder("default").settings["average_length"] != 3.0


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"add": {"default": VectorConfig("bm25")}}, "'default' already"),
        ({"add": {"Bad name": VectorConfig("bm25")}}, "not a vector name"),
        ({"add": {"m": VectorConfig("bm25", dense=True)}}, "bm25 has no dense vectors"),
        ({"add": {"m": VectorConfig(None)}}, "an encoder is needed"),
        ({"add": {"m": VectorConfig("bm25", dimensions=3)}}, "only a dense vector has dimensions"),
        ({"remove": ["lost"]}, "no vector .lost.; there is default, given, meaning"),
        ({"replace": {"lost": VectorConfig("bm25")}}, "no vector .lost."),
        ({"remove": ["default", "given"]}, "sparse vector at least"),
        ({"add": BM25, "search": "pipeline"}, "the pipeline needs the vectors"),
        ({"add": BM25, "search": {"queries": [{"using": "lost"}]}}, "vector 'lost' does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, more: dict[str, Any], detail: str
) -> None:
    with pytest.raises(QueryError, match=detail):
        reindex(source, tmp_path / "new", **more)
    assert not (tmp_path / "new").exists()


def test_a_collection_without_any_text_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "old", vectors={"default": VectorConfig(None)}) as old:
        assert reindex(tmp_path / "old", tmp_path / "empty", add=BM25).load.accepted == 0
        old.write([Document("a", vectors={"default": SparseByToken({"x": 1.0})})])
    with pytest.raises(QueryError, match="no document has a text that bm25 could be encoded from"):
        reindex(tmp_path / "old", tmp_path / "new", add=BM25)
    with Collection.open(tmp_path / "empty", "w") as empty:
        empty.write([Document("a", text="lobster")])
        assert [hit.id for hit in empty.search("lobster", using="bm25").hits] == ["a"]


def test_search_defaults_are_kept_or_given(source: Path, tmp_path: Path) -> None:
    kept = {"queries": [{"using": "given"}, {"using": "default"}], "weights": [2.0, 1.0], "method": "rrf"}
    with Collection.open(source, "w") as old:
        shown = old.set_search_defaults(kept).to_json()
    reindex(source, tmp_path / "kept", add=BM25)
    reindex(source, tmp_path / "given", add=BM25, search={"queries": [{"using": "bm25"}]})
    with Collection.open(tmp_path / "kept") as one, Collection.open(tmp_path / "given") as other:
        assert one.search_defaults.to_json() == shown
        assert [leg.using for leg in other.search_defaults.queries] == ["bm25"]
    with pytest.raises(QueryError, match=r"do not fit its new vectors.*'given'"):
        reindex(source, tmp_path / "new", add=BM25, remove=["given"])


def test_a_text_is_still_ranked_by_the_only_vector_of_before(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "old", vectors={"words": VectorConfig("bm25")}) as old:
        old.write([Document("a", text="lobster roll"), Document("b", text="roll")])
        before = [(hit.id, hit.score) for hit in old.search("roll").hits]
    reindex(tmp_path / "old", tmp_path / "new", add=BM25)
    with Collection.open(tmp_path / "new") as new:
        assert [(hit.id, hit.score) for hit in new.search("roll").hits] == before


def test_a_collection_of_version_1_gets_a_vector(tmp_path: Path) -> None:
    with tarfile.open(GOLDEN / "collection_v1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    maker = runpy.run_path(str(GOLDEN / "make_collection_v1.py"))
    with Collection.open(tmp_path / "collection") as old:
        names = list(old.info().vectors)
        expected, scored = stored(old, names), maker["answers"](old)
    reindex(tmp_path / "collection", tmp_path / "new", add={"again": VectorConfig("bm25")})
    assert verify_collection(tmp_path / "new") == []
    with Collection.open(tmp_path / "new") as new:
        assert new._state.catalog.format_version == 2
        assert set(new.info().vectors) == {*names, "again"}
        assert stored(new, names) == expected
        assert json.loads(json.dumps(maker["answers"](new))) == json.loads(json.dumps(scored))


class Killed(BaseException):
    """Stops a run where it stands, as a kill does."""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_run_that_was_stopped_goes_on_to_the_same_collection(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(bulk_load, "BATCH_LINES", 4)
    monkeypatch.setattr(bulk_load, "SEGMENT_DOCUMENTS", 8)
    reindex(source, tmp_path / "whole", add=BM25)
    closed = bulk_load._Load._close_segment
    count = iter(range(100))

    def close(*arguments: Any, **more: Any) -> None:
        if next(count) == after:
            raise Killed
        closed(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(bulk_load._Load, "_close_segment", close)
        with pytest.raises(Killed):
            reindex(source, tmp_path / "new", add=BM25)
    with pytest.raises(CollectionNotFound, match="interrupted"):
        Collection.open(tmp_path / "new")
    with pytest.raises(CollectionExists):
        reindex(source, tmp_path / "new", add=BM25)
    with pytest.raises(LsrError, match="not the input"):
        reindex(source, tmp_path / "new", add={"other": VectorConfig("bm25")}, resume=True)
    report = reindex(source, tmp_path / "new", add=BM25, resume=True)
    assert reindex(source, tmp_path / "new", add=BM25, resume=True).load.accepted == report.load.accepted == 31
    with Collection.open(tmp_path / "whole") as whole, Collection.open(tmp_path / "new") as new:
        names = [*VECTORS, "bm25"]
        assert stored(new, names) == stored(whole, names)
        assert [len(view.segment) for view in new._state.generation.segments] == [
            len(view.segment) for view in whole._state.generation.segments
        ]
        assert new.info().vectors == whole.info().vectors


def test_a_run_is_not_resumed_when_the_collection_has_changed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(bulk_load._Load, "run", stop)
        with pytest.raises(Killed):
            reindex(source, tmp_path / "new", add=BM25)
    with Collection.open(source, "w") as old:
        old.delete(["d01"])
    with pytest.raises(LsrError, match="has changed since"):
        reindex(source, tmp_path / "new", add=BM25, resume=True)


def test_writes_meanwhile_are_not_in_the_new_one(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = BM25Encoder.encode_documents

    written: list[bool] = []

    def encode_and_write(self: BM25Encoder, texts: Any) -> Any:
        if written:
            return encode(self, texts)
        written.append(True)
        with Collection.open(source, "w") as old:
            old.delete(["d07"])
            old.write([Document("late", text="lobster")])
            old.seal()
            old.merge()
        return encode(self, texts)

    with Collection.open(source) as old:
        before = stored(old, list(VECTORS))
    with monkeypatch.context() as patch:
        patch.setattr(BM25Encoder, "encode_documents", encode_and_write)
        report = reindex(source, tmp_path / "new", remove=["default"], add={"default": VectorConfig("bm25")})
    with Collection.open(source) as old, Collection.open(tmp_path / "new") as new:
        assert old.info().seq > report.seq
        assert stored(new, ["given", "meaning"]) == {
            identifier: (*entry[:4], entry[4][1:]) for identifier, entry in before.items()
        }
