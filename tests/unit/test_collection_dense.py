"""Dense vectors of a collection: given or made in one pass with the sparse ones, kept as they are, scored alike
everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders import load_dense_encoder, load_encoder
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from index import quantise
from index.errors import VectorError
from index.kernels import oracle
from lsr.collection import Collection, verify_collection
from lsr.corpora import open_corpus
from lsr.dense_vectors import unit_rows
from lsr.documents import DenseInput, Document, SparseByToken, parse_document
from lsr.errors import EncoderMismatch, InvalidDocument, LsrError, QueryError
from lsr.storage import segment_writer
from lsr.upkeep import seal_and_merge
from lsr.vectors import VectorConfig
from lsr.writing import bulk_load
from lsr.writing.bulk_load import index_corpus

DIMS = 10
GIVEN = {"default": VectorConfig(None), "meaning": VectorConfig(None, dense=True, dimensions=DIMS)}
MINI = {"default": VectorConfig("lsr-mini"), "meaning": VectorConfig("lsr-mini", dense=True)}


def numbers(seed: int, dims: int = DIMS) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).standard_normal(dims).astype(np.float32).tolist())


def document(number: int, **more: Any) -> Document:
    """A document with a sparse vector and, but for every fourth, a dense one."""
    vectors: dict[str, Any] = {"default": SparseByToken({"all": 1.0 + number})}
    if number % 4 != 3:
        vectors["meaning"] = DenseInput(numbers(number))
    return Document(f"d{number:02}", vectors=vectors, **more)


def scores(collection: Collection, ids: Sequence[str], query: NDArray[np.float32]) -> tuple[list[float], list[bool]]:
    generation = collection._state.generation
    places = [place for place in map(generation.find, ids) if place is not None]
    assert len(places) == len(ids)
    found, present = generation.dense_scores("meaning", places, query)
    return found.tolist(), present.tolist()


def expected_scores(given: Sequence[Sequence[float] | None], query: NDArray[np.float32]) -> list[float]:
    """What `unit_rows` and the oracle say."""
    steps, scale = unit_rows(np.array([one if one is not None else [0.0] * len(query) for one in given]))
    return oracle.dense_scores(list(range(len(given))), steps.tolist(), scale.tolist(), query.tolist())


QUERY = np.float32(numbers(99))
IDS = [f"d{number:02}" for number in range(40)]
WANTED = expected_scores([numbers(n) if n % 4 != 3 else None for n in range(40)], QUERY)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def retriever(make_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense retriever in sentence-transformers' layout."""
    source, folder = make_checkpoint(), tmp_path_factory.mktemp("retriever")
    transformers.BertModel.from_pretrained(source).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


# --- what is kept


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=40).filter(lambda row: any(abs(x) > 1e-3 for x in row))
)
@settings(deadline=None)
def test_a_row_that_is_read_back_and_kept_again_is_the_same_row(row: list[float]) -> None:
    steps, scale = unit_rows(np.array([row]))
    canonical = steps.astype(np.float32) * scale[:, None]
    assert np.linalg.norm(canonical.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    again, same_scale = unit_rows(canonical)
    assert (again == steps).all()
    assert (same_scale == scale).all()
    unit = np.array(row) / np.linalg.norm(row)
    assert (quantise(unit[None].astype(np.float32))[0] == steps).all()


# --- documents


@pytest.mark.parametrize(
    ("dense", "field", "detail"),
    [
        ([], "vectors.m.dense", "1 to 65536 numbers"),
        ("0.1", "vectors.m.dense", "not a string"),
        ({"a": 1}, "vectors.m.dense", "not an object"),
        ([0.1, "x"], "vectors.m.dense[1]", "a string is not a number"),
        ([0.1, True], "vectors.m.dense[1]", "a boolean is not a number"),
        ([0.1, None], "vectors.m.dense[1]", "null is not a number"),
        ([float("nan"), 1], "vectors.m.dense[0]", "not a finite float32"),
        ([1, float("-inf")], "vectors.m.dense[1]", "not a finite float32"),
        ([1e39, 1], "vectors.m.dense[0]", "not a finite float32"),
        ([10**400, 1], "vectors.m.dense[0]", "not a finite float32"),
        ([0, 0.0, -0.0], "vectors.m.dense", "all numbers are 0"),
        ([1.0] * 65_537, "vectors.m.dense", "one of 65537"),
    ],
)
def test_a_dense_vector_that_is_none_is_refused_by_its_field(dense: object, field: str, detail: str) -> None:
    with pytest.raises(InvalidDocument, match=detail) as caught:
        parse_document({"id": "a", "vectors": {"m": {"dense": dense}}})
    assert (caught.value.code, caught.value.field) == ("invalid_dense", field)


def test_a_dense_vector_is_read_by_name() -> None:
    parsed = parse_document({"id": "a", "vectors": {"m": {"dense": [1, -0.5, 1e-60]}, "s": {"sparse": {"x": 1}}}})
    assert parsed.vectors == {"m": DenseInput((1.0, -0.5, 1e-60)), "s": SparseByToken({"x": 1.0})}
    for wrong in ({"dense": [1], "sparse": {}}, {}, {"dense": None}, {"dens": [1]}):
        with pytest.raises(InvalidDocument, match=r"sparse.*dense"):
            parse_document({"id": "a", "vectors": {"m": wrong}})


@pytest.mark.parametrize(
    ("vectors", "code", "field"),
    [
        ({"meaning": DenseInput((1.0,) * (DIMS - 1))}, "invalid_dense", "vectors.meaning.dense"),
        ({"meaning": DenseInput((0.0,) * DIMS)}, "invalid_dense", "vectors.meaning.dense"),
        ({"meaning": DenseInput((float("nan"),) + (1.0,) * (DIMS - 1))}, "invalid_dense", "vectors.meaning.dense"),
        ({"meaning": SparseByToken({"a": 1.0})}, "invalid_dense", "vectors.meaning"),
        ({"default": DenseInput((1.0,) * DIMS)}, "invalid_sparse", "vectors.default"),
        ({"other": DenseInput((1.0,) * DIMS)}, "unknown_vector", "vectors.other"),
    ],
)
def test_a_vector_that_does_not_fit_the_collection_is_refused(
    tmp_path: Path, vectors: dict[str, Any], code: str, field: str
) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        with pytest.raises(InvalidDocument) as caught:
            collection.write([Document("a", vectors=vectors)])
        assert (caught.value.code, caught.value.field) == (code, field)
        assert collection.info().documents == 0


def test_the_bare_sparse_vector_goes_to_the_only_sparse_name(tmp_path: Path) -> None:
    configs = {"words": VectorConfig(None), "meaning": VectorConfig(None, dense=True, dimensions=DIMS)}
    with Collection.create(tmp_path / "c", vectors=configs) as collection:
        collection.write(
            [parse_document({"id": "a", "sparse": {"x": 2}, "vectors": {"meaning": {"dense": [1] * DIMS}}})]
        )
        assert collection.vector("a", "words") == {"x": 2.0}
        assert collection.dense_vector("a", "meaning") == pytest.approx([DIMS**-0.5] * DIMS)
    configs = {"words": VectorConfig(None), "default": VectorConfig(None, dense=True, dimensions=DIMS)}
    with Collection.create(tmp_path / "d", vectors=configs) as collection:
        with pytest.raises(InvalidDocument, match="dense vector"):
            collection.write([parse_document({"id": "a", "sparse": {"x": 2}})])
        collection.write([parse_document({"id": "a", "vectors": {"default": {"dense": [1] * DIMS}}})])
        assert collection.dense_vector("a", "default") is not None


# --- collections


def dense(dims: Any = None, encoder: str | None = None) -> VectorConfig:
    return VectorConfig(encoder, dense=True, dimensions=dims)


@pytest.mark.parametrize(
    ("vectors", "field", "match"),
    [
        ({"meaning": dense(encoder="lsr-mini")}, "vectors", "sparse vector at least"),
        ({"default": VectorConfig(None), "m": dense()}, "vectors.m.dimensions", "is needed"),
        ({"default": VectorConfig(None, dimensions=3)}, "vectors.default.dimensions", "only a dense vector"),
        *(
            ({"default": VectorConfig(None), "m": dense(dims)}, "vectors.m.dimensions", "1 to")
            for dims in (0, -1, 65_537, True, 2.5)
        ),
        ({"default": VectorConfig(None), "_m": dense(3)}, "vectors._m", "vector name"),
        ({"default": VectorConfig("bm25"), "m": dense(encoder="bm25")}, "vectors.m", "no dense vectors"),
    ],
)
def test_vectors_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path: Path, vectors: dict[str, VectorConfig], field: str, match: str
) -> None:
    with pytest.raises(QueryError, match=match) as caught:
        Collection.create(tmp_path / "c", vectors=vectors)
    assert caught.value.field == field
    assert not (tmp_path / "c").exists()


def test_scores_are_the_same_pending_sealed_merged_and_reopened(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        for start in range(0, 40, 5):
            collection.write([document(number) for number in range(start, start + 5)])
            if start in (10, 20):
                collection.seal()
        present = [number % 4 != 3 for number in range(40)]
        shuffled = [IDS[at] for at in np.random.default_rng(1).permutation(40)]
        for step in (lambda: None, collection.seal, collection.merge):
            step()
            assert scores(collection, IDS, QUERY) == (WANTED, present)
            assert scores(collection, shuffled, QUERY)[0] == [WANTED[IDS.index(one)] for one in shuffled]
    with Collection.open(tmp_path / "c") as collection:
        assert scores(collection, IDS, QUERY) == (WANTED, present)
        assert scores(collection, [], QUERY) == ([], [])
        with pytest.raises(VectorError):
            scores(collection, IDS, QUERY[:-1])
        info = collection.info().vectors
        assert (info["meaning"].kind, info["meaning"].dimensions, info["meaning"].encoder) == ("dense", DIMS, None)
        assert (info["default"].kind, info["default"].dimensions) == ("sparse", None)
    assert verify_collection(tmp_path / "c") == []


def test_pending_rows_survive_a_reopening_without_a_seal(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        collection.write([document(number) for number in range(40)])
    with Collection.open(tmp_path / "c", "w") as collection:
        assert collection.info().pending == 40
        assert scores(collection, IDS, QUERY)[0] == WANTED


def test_a_background_seal_and_merge_keep_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_and_merge, "SEAL_DOCUMENTS", 10)
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        for start in range(0, 40, 10):
            collection.write([document(number) for number in range(start, start + 10)])
            collection.wait_for_upkeep()
        assert collection._upkeep.last_error is None
        assert collection.info().segments >= 1
        assert scores(collection, IDS, QUERY)[0] == WANTED


def test_a_patch_keeps_the_dense_vector_and_a_write_replaces_it(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN, schema={"n": "int"}) as collection:
        collection.write([document(0), document(1)])
        before = scores(collection, ["d00", "d01"], QUERY)
        collection.seal()
        for _ in range(2):  # from a segment, then from the pending documents
            collection.patch("d00", {"n": 5})
            assert scores(collection, ["d00", "d01"], QUERY) == before
        collection.write([Document("d00", vectors={"meaning": DenseInput(numbers(7))}), Document("d01")])
        found, present = scores(collection, ["d00", "d01"], QUERY)
        assert (found, present) == (expected_scores([numbers(7), None], QUERY), [True, False])
        vector = collection.dense_vector("d01", "meaning")
        assert vector is not None
        assert not vector.any()
        assert collection.dense_vector("nobody", "meaning") is None
        with pytest.raises(QueryError, match="meaning"):
            collection.dense_vector("d01", "default")


def test_a_snapshot_brings_the_dense_vectors_back(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        collection.write([document(number) for number in range(30)])
        collection.seal()
        collection.write([document(number) for number in range(30, 40)])
        collection.snapshot("before")
        collection.write([Document(identifier) for identifier in IDS])
        collection.merge()
        assert not any(scores(collection, IDS, QUERY)[1])
        collection.restore("before")
        assert scores(collection, IDS, QUERY)[0] == WANTED
    with Collection.open(tmp_path / "c" / "snapshots" / "before") as snapshot:
        assert scores(snapshot, IDS, QUERY)[0] == WANTED


def test_a_damaged_dense_file_is_named_and_its_segment_taken_out(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        collection.write([document(number) for number in range(20)])
        collection.seal()
        collection.write([document(number) for number in range(20, 40)])
        collection.seal()
        path = next((tmp_path / "c").glob("segments/*/vectors/meaning/dense.npy"))
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert [problem.path for problem in collection.verify()] == [path]
        assert [damage.path for damage in collection.scrub()] == [path]
        assert collection.info().documents == 20


def test_scan_hands_on_the_dense_vectors_that_are_asked_for(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        collection.write([document(number) for number in range(20)])
        collection.seal()
        collection.write([document(number) for number in range(20, 40)])
        for found, _, _ in collection.scan():
            assert found.vectors == {}
        with_dense = {found.id: found.vectors for found, _, _ in collection.scan(dense=["meaning"])}
        assert len(with_dense) == 40
        for number, identifier in enumerate(IDS):
            vector = collection.dense_vector(identifier, "meaning")
            assert vector is not None
            wanted = {} if number % 4 == 3 else {"meaning": DenseInput(tuple(vector.tolist()))}
            assert with_dense[identifier] == wanted
        with pytest.raises(QueryError, match="default"):
            list(collection.scan(dense=["default"]))


def test_many_threads_read_what_one_reads(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=GIVEN) as collection:
        collection.write([document(number) for number in range(40)])
        collection.seal()
        with ThreadPoolExecutor(8) as pool:
            assert all(found[0] == WANTED for found in pool.map(lambda _: scores(collection, IDS, QUERY), range(64)))


# --- loading


def test_a_load_sorts_the_dense_vectors_with_their_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_load, "BATCH_LINES", 7)
    monkeypatch.setattr(bulk_load, "SEGMENT_DOCUMENTS", 20)
    monkeypatch.setattr(segment_writer, "_RUN_BYTES", 500)
    lines = []
    for at in np.random.default_rng(5).permutation(40).tolist():
        made = document(at)
        vectors: dict[str, Any] = {"default": {"sparse": {"all": 1}}}
        if "meaning" in made.vectors:
            vectors["meaning"] = {"dense": list(numbers(at))}
        lines.append(json.dumps({"id": made.id, "vectors": vectors}))
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    problems: list[object] = []
    corpus = open_corpus(str(tmp_path / "in.jsonl"))
    report = index_corpus(corpus, tmp_path / "c", vectors=GIVEN, on_problem=lambda *one: problems.append(one))
    assert (report.accepted, problems) == (40, [])
    with Collection.open(tmp_path / "c") as collection:
        assert collection.info().segments == 2
        assert scores(collection, IDS, QUERY)[0] == WANTED
    monkeypatch.setattr(bulk_load, "SEGMENT_DOCUMENTS", 2_000_000)
    monkeypatch.setattr(bulk_load, "SEGMENT_DENSE_BYTES", 20 * DIMS)
    index_corpus(corpus, tmp_path / "by-bytes", vectors=GIVEN)
    with Collection.open(tmp_path / "by-bytes") as collection:
        assert collection.info().segments == 2
    other = {**GIVEN, "meaning": VectorConfig(None)}
    monkeypatch.setattr(bulk_load, "_is_full", lambda writer: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        index_corpus(corpus, tmp_path / "stopped", vectors=GIVEN)
    with pytest.raises(LsrError, match="started with the vectors"):
        index_corpus(corpus, tmp_path / "stopped", vectors=other, resume=True)


# --- encoders

TEXTS = ["Statins lower cholesterol.", "", "A lobster roll with butter", "  ", "Sparse retrieval of documents"]


@pytest.fixture(scope="module")
def mini() -> LearnedEncoder:
    encoder = load_encoder("lsr-mini", device="cpu")
    assert isinstance(encoder, LearnedEncoder)
    return encoder


def test_one_pass_of_one_encoder_makes_both_vectors(
    tmp_path: Path, mini: LearnedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    pooled = PooledSide.pooled
    monkeypatch.setattr(PooledSide, "pooled", lambda self, ids: read.append(len(ids)) or pooled(self, ids))
    configs = {**MINI, "short": VectorConfig("lsr-mini", dense=True, dimensions=64)}
    documents = [Document(f"d{at}", text=text) for at, text in enumerate(TEXTS)]
    with Collection.create(tmp_path / "c", vectors=configs) as collection:
        collection.write(documents)
        assert sum(read) == 3  # the texts that are not blank, once each
        state = collection._state
        assert state.dense["meaning"].encoder is state.vectors["default"].encoder
        assert state.dense["short"].source is state.dense["meaning"].source
        sparse, dense = mini.encode_documents_with_dense([text for text in TEXTS if text.strip()])
        for row, at in enumerate((0, 2, 4)):
            wanted = unit_rows(dense[[row]])
            found = state.generation.find(f"d{at}")
            assert found is not None
            assert found.dense("meaning")[0].tolist() == wanted[0][0].tolist()
            assert float(found.dense("meaning")[1]) == float(wanted[1][0])
            assert found.vector("default")[0].tolist() == sorted(sparse[[row]].indices.tolist())
            assert len(found.dense("short")[0]) == 64
        assert scores(collection, ["d1", "d3"], np.zeros(384, np.float32)) == ([0.0, 0.0], [False, False])
        info = collection.info().vectors
        assert [info[name].dimensions for name in ("meaning", "short")] == [384, 64]
        assert info["meaning"].fingerprint == info["default"].fingerprint == mini.fingerprint
        assert info["short"].fingerprint != mini.fingerprint
        read.clear()
        vectors = {"default": SparseByToken({"heart": 1.0}), "meaning": DenseInput(numbers(1, 384))}
        collection.write([Document("given", text="both are given, one is not", vectors=vectors)])
        assert sum(read) == 1
        collection.write(
            [Document("sparse only", text="only the sparse one is given", vectors={"default": vectors["default"]})]
        )
        assert sum(read) == 2
        vector = collection.dense_vector("given", "meaning")
        assert vector is not None
        assert vector @ (np.float32(numbers(1, 384)) / np.linalg.norm(numbers(1, 384))) > 0.999
        assert collection.vector("given") == {"heart": 1.0}


def test_a_document_may_bring_some_of_what_one_pass_makes(tmp_path: Path, mini: LearnedEncoder) -> None:
    given = SparseByToken({"heart": 1.0})
    documents = [
        Document("both", text=TEXTS[0]),
        Document("dense given", text=TEXTS[2], vectors={"meaning": DenseInput(numbers(1, 384))}),
        Document("sparse given", text=TEXTS[4], vectors={"default": given}),
    ]
    with Collection.create(tmp_path / "c", vectors=MINI) as collection:
        collection.write(documents)
        with Collection.create(tmp_path / "alone", vectors={"default": VectorConfig("lsr-mini")}) as alone:
            alone.write([Document(one.id, text=one.text) for one in documents])
            for name in ("both", "dense given"):
                found, wanted = collection.vector(name), alone.vector(name)
                assert found is not None
                assert found.keys() == wanted.keys()
                assert list(found.values()) == pytest.approx(list(wanted.values()), abs=2e-2)
        assert collection.vector("sparse given") == {"heart": 1.0}
        vectors = mini.encode_dense_documents([TEXTS[0], TEXTS[4]])
        for row, name in enumerate(("both", "sparse given")):
            found = collection.dense_vector(name, "meaning")
            assert found is not None
            assert found @ vectors[row] > 0.999


def test_a_dense_retriever_of_its_own_serves_beside_bm25(tmp_path: Path, retriever: Path) -> None:
    configs = {"default": VectorConfig("bm25"), "meaning": VectorConfig(str(retriever), dense=True, dimensions=16)}
    with Collection.create(tmp_path / "c", vectors=configs) as collection:
        collection.write([Document(f"d{at}", text=text) for at, text in enumerate(TEXTS)])
        collection.seal()
    with Collection.open(tmp_path / "c") as collection:
        encoder = load_dense_encoder(str(retriever), dimensions=16)
        query = encoder.encode_dense_queries(["lobster"])[0]
        found, present = scores(collection, [f"d{at}" for at in range(5)], query)
        assert present == [True, False, True, False, True]
        wanted = encoder.encode_dense_documents(TEXTS) @ query
        assert np.abs(np.array(found) - wanted).max() < 0.02
        assert collection._state.dense["meaning"].encoder.dense_size == 16
        assert collection.info().vectors["meaning"].fingerprint == encoder.fingerprint


def test_another_encoder_than_the_one_that_made_the_vectors_is_refused(tmp_path: Path, retriever: Path) -> None:
    configs = {"default": VectorConfig("bm25"), "meaning": VectorConfig(str(retriever), dense=True)}
    with Collection.create(tmp_path / "c", vectors=configs) as collection:
        collection.write([Document("d0", text="heart")])
    config = retriever / "1_Pooling" / "config.json"
    before = config.read_text()
    config.write_text(json.dumps({"pooling_mode_cls_token": True}))
    try:
        with Collection.open(tmp_path / "c", "w") as collection:
            assert collection.search("heart").hits  # the sparse vector does without
            with pytest.raises(EncoderMismatch, match=r"meaning.*lsr reindex"):
                collection.write([Document("d1", text="heart")])
    finally:
        config.write_text(before)


def test_more_dimensions_than_the_encoder_has_are_refused(tmp_path: Path, retriever: Path) -> None:
    configs = {"default": VectorConfig("bm25"), "meaning": VectorConfig(str(retriever), dense=True, dimensions=33)}
    with pytest.raises(QueryError, match=r"33.*has 32") as caught:
        Collection.create(tmp_path / "c", vectors=configs)
    assert caught.value.field == "vectors.meaning"
