"""Indexes with block maxima: the same answers as without, checked files, and when a build makes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from index import IndexConfig, SparseIndex
from index.arrays.folder import read_manifest, replace_manifest, verify_index
from index.arrays.segment import BLOCK_MAXIMA
from index.errors import ConfigError, IndexCorrupt
from index.searching import exact

N_DOCS, N_TERMS = 3000, 80
MAXIMA = IndexConfig(n_postings=0, block_maxima=True)
PLAIN = IndexConfig(n_postings=0, block_maxima=False)


def flat_rows(n, seed, length, quarters=True):
    """Rows of a few topics each, of even impacts; with ties."""
    generator = np.random.default_rng(seed)
    topics = np.random.default_rng(0).permuted(np.tile(np.arange(N_TERMS), (20, 1)), axis=1)[:, :25]
    rows = np.zeros((n, N_TERMS), dtype=np.float32)
    for row in rows:
        terms = np.unique(topics[generator.choice(20, 2, replace=False)])
        chosen = generator.choice(terms, min(length, len(terms)), replace=False)
        row[chosen] = generator.integers(2, 9, len(chosen)) / 4 if quarters else generator.uniform(0.3, 1, len(chosen))
    return csr_array(rows)


DOCUMENTS, QUERIES = flat_rows(N_DOCS, 1, 22), flat_rows(60, 2, 4)


@pytest.fixture(scope="module", autouse=True)
def searched():
    """Counts the searches that block maxima answered."""
    with pytest.MonkeyPatch.context() as patch:
        answers = []
        real = exact._search_blocks
        patch.setattr(exact, "_search_blocks", lambda *args: answers.append(real(*args)) or answers[-1])
        patch.setattr(exact, "_VISIT_COST", 1e-6)
        yield answers


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maxima")
    return SparseIndex.build(DOCUMENTS, MAXIMA, folder / "index"), SparseIndex.build(DOCUMENTS, PLAIN)


@pytest.mark.parametrize("k", [1, 10, 100, 300])
def test_answers_are_those_of_the_index_without_maxima(indexes, searched, k):
    with_maxima, plain = indexes
    before = len(searched)
    found, expected = with_maxima.search(QUERIES, k, exact=True), plain.search(QUERIES, k, exact=True)
    assert (found.ids == expected.ids).all()
    assert (found.scores == expected.scores).all()
    assert len(searched) > before
    assert all(answer is not None for answer in searched[before:])


def test_ties_filters_matches_rows_and_scores_are_those_of_the_index_without_maxima(indexes):
    with_maxima, plain = indexes
    allowed = np.random.default_rng(3).random(N_DOCS) < 0.4
    few = np.random.default_rng(4).random(N_DOCS) < 0.005
    for i in range(20):
        query = QUERIES[[i]]
        terms, weights = query.indices, query.data
        for options in ({"ties": True}, {"allowed": allowed}, {"allowed": few}, {"allowed": allowed, "ties": True}):
            for k in (7, 64):
                found = with_maxima.search_one(terms, weights, k, exact=True, **options)
                expected = plain.search_one(terms, weights, k, exact=True, **options)
                assert found[0].tolist() == expected[0].tolist()
                assert found[1].tolist() == expected[1].tolist()
        assert (with_maxima.matching(terms) == plain.matching(terms)).all()
    assert (with_maxima.rows(5, 900) != plain.rows(5, 900)).nnz == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 60), st.sampled_from(["float16", "float32"]))
def test_any_collection_is_searched_as_without_maxima(seed, n, k, dtype):
    documents, queries = flat_rows(n, seed, 12, quarters=seed % 2 == 0), flat_rows(5, seed + 1, 3)
    indexes = [
        SparseIndex.build(documents, IndexConfig(n_postings=0, impact_dtype=dtype, block_maxima=maxima), threads=1)
        for maxima in (True, False)
    ]
    found, expected = (index.search(queries, k, exact=True) for index in indexes)
    assert (found.ids == expected.ids).all()
    assert (found.scores == expected.scores).all()


@pytest.mark.parametrize("visits_per_hit", [0, 8])
def test_a_query_that_visits_too_much_is_added_up(indexes, searched, monkeypatch, visits_per_hit):
    with_maxima, plain = indexes
    monkeypatch.setattr(exact, "_VISIT_COST", 1e4)
    monkeypatch.setattr(exact, "_VISITS_PER_HIT", visits_per_hit)
    before = len(searched)
    found, expected = with_maxima.search(QUERIES, 20, exact=True), plain.search(QUERIES, 20, exact=True)
    assert all(answer is None for answer in searched[before:])
    assert (found.ids == expected.ids).all()


def test_the_index_is_the_same_in_a_folder_and_for_any_batches_and_threads(indexes, tmp_path):
    batches = [DOCUMENTS[first : first + 700] for first in range(0, N_DOCS, 700)]
    SparseIndex.build(batches, MAXIMA, tmp_path / "index", threads=1)
    first, second = (read_manifest(folder)["files"] for folder in (indexes[0].path, tmp_path / "index"))
    assert first == second
    memory = SparseIndex.build(DOCUMENTS, MAXIMA)
    assert memory.bytes == indexes[0].bytes
    assert (memory.search(QUERIES, 10).ids == indexes[0].search(QUERIES, 10).ids).all()


def test_only_an_index_with_maxima_has_their_arrays(indexes, tmp_path):
    SparseIndex.build(DOCUMENTS[:100], PLAIN, tmp_path / "plain")
    assert "block_maxima.npy" not in read_manifest(tmp_path / "plain")["files"]
    assert "block_maxima.npy" in read_manifest(indexes[0].path)["files"]
    assert indexes[0].config.block_maxima is True
    assert verify_index(indexes[0].path) == []


@pytest.mark.parametrize("name", BLOCK_MAXIMA)
def test_a_damaged_array_is_found_and_named(tmp_path, name):
    SparseIndex.build(DOCUMENTS[:500], MAXIMA, tmp_path / "index")
    path = tmp_path / "index" / f"{name}.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IndexCorrupt, match=name):
        SparseIndex.open(tmp_path / "index", verify="full")
    path.write_bytes(whole[:-1])
    with pytest.raises(IndexCorrupt, match=name):
        SparseIndex.open(tmp_path / "index")
    path.unlink()
    with pytest.raises(IndexCorrupt, match=name):
        SparseIndex.open(tmp_path / "index")


@pytest.mark.parametrize("name", BLOCK_MAXIMA)
def test_an_array_of_another_shape_is_refused_when_it_is_opened(tmp_path, name):
    SparseIndex.build(DOCUMENTS[:500], MAXIMA, tmp_path / "index")
    path = tmp_path / "index" / f"{name}.npy"
    np.save(path, np.load(path)[:, :-1])
    files = read_manifest(tmp_path / "index")["files"]
    files[path.name]["bytes"] = path.stat().st_size
    replace_manifest(tmp_path / "index", {"files": files})
    with pytest.raises(IndexCorrupt, match=name):
        SparseIndex.open(tmp_path / "index")


def test_damaged_values_never_lead_out_of_an_array(tmp_path):
    SparseIndex.build(DOCUMENTS[:500], MAXIMA, tmp_path / "index")
    generator = np.random.default_rng(5)
    for name in (*BLOCK_MAXIMA, "posting_docs", "line_docs"):
        array = np.load(tmp_path / "index" / f"{name}.npy", mmap_mode="r+")
        array[:] = generator.integers(0, np.iinfo(array.dtype).max, array.shape, endpoint=True, dtype=array.dtype)
        array.flush()
    damaged = SparseIndex.open(tmp_path / "index")
    for k in (10, 400):
        assert (damaged.search(QUERIES, k, exact=True).ids < 500).all()


def test_a_manifest_without_the_arrays_is_refused(tmp_path):
    SparseIndex.build(DOCUMENTS[:100], PLAIN, tmp_path / "index")
    replace_manifest(tmp_path / "index", {"version": 4})
    with pytest.raises(IndexCorrupt, match="superblock_starts"):
        SparseIndex.open(tmp_path / "index")


def test_a_build_makes_them_on_request_only():
    assert not SparseIndex.build(DOCUMENTS[:400])._segment.has_block_maxima
    with_blocks = SparseIndex.build(DOCUMENTS, IndexConfig(n_postings=60, block_maxima=True))
    assert with_blocks._segment.has_block_maxima
    assert with_blocks._segment.has_blocks
    plain = SparseIndex.build(DOCUMENTS, PLAIN)
    for i in range(10):
        query = QUERIES[[i]]
        ids, scores = with_blocks.search_one(query.indices, query.data, 10, query_cut=8, heap_factor=0.3)
        assert len(ids) == 10
        assert scores.tolist() == plain.score(query.indices, query.data, ids).tolist()


def test_an_empty_collection_has_none():
    empty = SparseIndex.build(csr_array((3, 5), dtype=np.float32), MAXIMA)
    assert not empty._segment.has_block_maxima
    assert (empty.search(QUERIES, 2, exact=True).ids == -1).all()


def test_maxima_without_unpruned_postings_are_refused_and_the_setting_survives_json():
    with pytest.raises(ConfigError, match="block_maxima"):
        IndexConfig(block_maxima=True, exact_lists=False)
    for config in (MAXIMA, PLAIN, IndexConfig()):
        assert IndexConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert "block_maxima" not in IndexConfig().to_json()
