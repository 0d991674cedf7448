"""Building an index: bad input is refused, a failed build leaves no file, the bytes depend on the input alone."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array, random_array

from index import IndexConfig, SparseIndex
from index.arrays.new_arrays import ArraysInFolder
from index.building.choice import CANDIDATE_SEARCH, Choice, Observed, decide
from index.errors import ConfigError, VectorError

BLOCKS = IndexConfig(n_postings=20, short_list=4)


def documents(n=400, terms=120, seed=3):
    rng = np.random.default_rng(seed)
    matrix = random_array((n, terms), density=0.1, format="csr", rng=rng, dtype=np.float32)
    matrix.sort_indices()
    return csr_array(matrix)


def raw_row(indices, values, width=10):
    """A one-row matrix that SciPy has not checked."""
    matrix = csr_array((1, width), dtype=np.float32)
    matrix.indices, matrix.data = np.array(indices), np.array(values)
    matrix.indptr = np.array([0, len(indices)])
    return matrix


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (raw_row([1], [-1.0]), "negative"),
        (raw_row([1], [np.nan]), "not a finite"),
        (raw_row([1], [np.inf]), "not a finite"),
        (raw_row([1], [1e39]), "not a finite float32"),
        (raw_row([1], [70_000.0]), "more than a float16"),
        (raw_row([10], [1.0]), "not below the number of columns"),
        (raw_row([-1], [1.0]), "negative"),
        (raw_row([4, 2], [1.0, 1.0]), "must ascend"),
        (raw_row([4, 4], [1.0, 1.0]), "without duplicates"),
        (raw_row([1], [1 + 2j]), "real numbers"),
    ],
)
def test_a_hostile_matrix_is_refused_by_row_and_leaves_nothing(matrix, reason, tmp_path):
    with pytest.raises(VectorError, match=reason) as caught:
        SparseIndex.build([documents(7, 10), matrix], path=tmp_path / "index")
    if "real" not in reason:
        assert "document 7" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("matrix", [coo_array((2, 2)), np.zeros((2, 2)), [[0.0, 1.0]]])
def test_anything_but_a_csr_matrix_is_refused(matrix):
    with pytest.raises(VectorError, match="csr_array"):
        SparseIndex.build(matrix)


@pytest.mark.parametrize("indptr", [[0, 2, 1], [1, 1, 2], [0, 1, 900]])
def test_wild_row_starts_are_refused(indptr):
    matrix = documents(2, 50)
    matrix.indptr = np.array(indptr)
    with pytest.raises(VectorError, match="indptr"):
        SparseIndex.build(matrix)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_postings": -1}, {"n_postings": 1.5}, {"n_postings": False}, {"centroid_fraction": 0.0},
        {"centroid_fraction": 2.0}, {"summary_lines": 0},
        {"centroid_fraction": float("nan")}, {"max_fraction": 0.5}, {"impact_dtype": "float8"}, {"doc_cut": True},
        {"min_cluster_size": -1},
    ],
)  # fmt: skip
def test_a_configuration_out_of_range_is_refused(parameters):
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        IndexConfig(**parameters)


def test_the_bytes_do_not_depend_on_threads_or_batches(tmp_path):
    matrix = documents()
    SparseIndex.build(matrix, BLOCKS, path=tmp_path / "one", threads=1)
    SparseIndex.build((matrix[i : i + 90] for i in range(0, 400, 90)), BLOCKS, path=tmp_path / "two", threads=2)
    SparseIndex.build((matrix[[i]] for i in range(400)), BLOCKS, path=tmp_path / "three", threads=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")


@pytest.mark.parametrize(
    ("given", "nnz", "flat", "n_postings", "exact_lists"),
    [
        ({}, 1_000_000, False, 0, True),
        ({}, 10_000_000, False, 1000, True),
        ({}, 100_000_000, False, 1300, False),
        ({}, 935_000_000, False, 2000, False),
        ({}, 100_000_000, True, 0, True),
        ({"exact_lists": False}, 1_000_000, False, 1000, False),
        ({"exact_lists": True}, 100_000_000, False, 1300, True),
        ({"n_postings": 7}, 1_000_000, True, 7, True),
        ({"n_postings": 0}, 100_000_000, False, 0, True),
        ({"n_postings": 0, "exact_lists": False}, 1_000_000, False, 0, False),
    ],
)
def test_what_the_configuration_leaves_open_is_decided_by_size_and_shape(given, nnz, flat, n_postings, exact_lists):
    config, _ = decide(IndexConfig(**given), Observed(nnz // 100, nnz, 0.2 if flat else 0.5))
    assert (config.n_postings, config.exact_lists) == (n_postings, exact_lists)


@pytest.mark.parametrize(
    ("postings", "concentration", "n_postings"),
    [(10_000.0, 0.5, 0), (200_000.0, 0.5, 1000), (200_000.0, 0.2, 0)],
)
def test_sample_queries_decide_by_what_an_exact_search_of_them_costs(postings, concentration, n_postings):
    seen = Observed(100_000, 10_000_000, concentration, queries=50, query_terms=6.0, query_postings=postings)
    config, choice = decide(IndexConfig(), seen)
    assert config.n_postings == n_postings
    assert (seen.exact_cost <= CANDIDATE_SEARCH) == (postings == 10_000.0)
    why = choice.reasons["candidate_lists"]
    assert "below 0.35" in why if concentration == 0.2 else f"{seen.exact_cost / 1e3:,.0f} µs" in why
    assert Choice.from_json(choice.to_json()) == choice


def test_a_build_counts_the_terms_and_postings_of_sample_queries_and_stores_what_it_decided_by(tmp_path):
    documents = csr_array(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=np.float32))
    # The first query's terms have 3 and 1 postings; of the second's, the collection holds none.
    queries = csr_array(np.array([[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=np.float32))
    SparseIndex.build(documents, path=tmp_path / "index", queries=queries)
    choice = SparseIndex.open(tmp_path / "index", verify="full").choice
    assert choice.observed == Observed(3, 5, 0.7, queries=2, query_terms=1.0, query_postings=2.0)
    assert choice.reasons.keys() == SparseIndex.open(tmp_path / "index").structures.keys()
    memory = SparseIndex.build(documents, IndexConfig(n_postings=5, exact_lists=False))
    assert memory.structures == {
        "candidate_lists": True,
        "unpruned_postings": False,
        "block_maxima": False,
        "graph": False,
    }
    assert memory.choice.reasons["candidate_lists"] == "given: n_postings = 5"
    assert memory.choice.reasons["unpruned_postings"] == "given: exact_lists = false"


@pytest.mark.parametrize(
    ("values", "field", "hint"),
    [
        ({"n_posting": 5}, "n_posting", "did you mean n_postings"),
        ({"summary_energy": 0.4}, "summary_energy", "summary_lines"),
        ({"colour": 1}, "colour", "the parameters are n_postings, max_fraction"),
        ({"n_knn": 1001}, "n_knn", "from 0 to 1,000"),
        ({"max_fraction": 0.5}, "max_fraction", "at least 1 and at most 1000"),
        ({"centroid_fraction": 0}, "centroid_fraction", "above 0 and at most 1"),
        ({"exact_lists": 1}, "exact_lists", "true, false or null"),
        ({"block_maxima": True, "exact_lists": False}, "block_maxima", "unpruned postings"),
        ({"impact_dtype": "int8"}, "impact_dtype", "float16, float32"),
    ],
)
def test_a_wrong_build_parameter_is_named_with_what_is_right(values, field, hint):
    with pytest.raises(ConfigError, match=hint) as raised:
        IndexConfig.from_json(values)
    assert raised.value.field == field


def test_memory_in_addition_to_the_files_hardly_grows_with_the_collection(tmp_path):
    rng = np.random.default_rng(1)
    terms = np.sort(rng.permuted(np.tile(np.arange(64, dtype=np.int32), (5000, 1)), axis=1)[:, :32], axis=1)
    weights = rng.random(terms.size, dtype=np.float32) + 0.1
    batch = csr_array((weights, terms.ravel(), np.arange(0, terms.size + 1, 32)), shape=(5000, 64))

    def peak(batches):
        tracemalloc.start()
        try:
            index = SparseIndex.build(
                (batch for _ in range(batches)), IndexConfig(n_postings=10), path=tmp_path / f"{batches}", threads=1
            )
            return tracemalloc.get_traced_memory()[1], index.n_docs
        finally:
            tracemalloc.stop()

    (few, fewer_docs), (many, more_docs) = peak(20), peak(32)
    # An impact and its term alone are 6 bytes, 192 a document.
    assert (many - few) / (more_docs - fewer_docs) < 48


def test_weights_that_round_to_zero_are_not_stored():
    index = SparseIndex.build(csr_array(np.float32([[1e-9, 0.5], [0, 1e-9]])))
    assert index.nnz == 1
    assert index.document_frequencies([0, 1]).tolist() == [0, 1]
    assert index.search_one([0], [1.0], exact=True)[0].tolist() == []
    assert SparseIndex.build(csr_array(np.float32([[1e-9, 0.5]])), IndexConfig(impact_dtype="float32")).nnz == 2


def test_later_batches_may_be_wider():
    index = SparseIndex.build([csr_array(np.float32([[1, 2]])), csr_array(np.float32([[0, 1, 5]]))])
    assert (index.n_docs, index.n_terms) == (2, 3)
    assert index.search_one([2], [1.0])[0].tolist() == [1]


def test_no_batches_make_an_empty_index():
    assert SparseIndex.build([]).n_docs == 0


def test_an_existing_folder_is_not_overwritten(tmp_path):
    (tmp_path / "index").mkdir()
    with pytest.raises(FileExistsError):
        SparseIndex.build(documents(), path=tmp_path / "index")
    assert list((tmp_path / "index").iterdir()) == []


@pytest.mark.parametrize("when", ["read", "sketch", "exact lists", "largest", "lists"])
def test_a_build_that_is_interrupted_leaves_nothing(tmp_path, when):
    def progress(stage, done, total):
        if stage == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SparseIndex.build(documents(), BLOCKS, path=tmp_path / "index", progress=progress)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arrays", [0, 1, 6, 12])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, monkeypatch, arrays):
    left = iter(range(arrays))

    def reserve(descriptor, offset, size):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", reserve)
    monkeypatch.setattr(np, "memmap", lambda *arguments, dtype, shape, **keywords: np.zeros(shape, dtype))
    with pytest.raises(OSError, match="No space left"):
        SparseIndex.build(documents(), BLOCKS, path=tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_while_rows_are_read_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ArraysInFolder, "temporary", lambda self: open("/dev/full", "r+b", buffering=0))  # noqa: SIM115, PTH123
    with pytest.raises(OSError, match="No space left"):
        SparseIndex.build(documents(), path=tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_was_built(tmp_path):
    config = IndexConfig(n_postings=50, impact_dtype="float32")
    index = SparseIndex.build(documents(), config, path=tmp_path / "index")
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert (manifest["version"], manifest["n_docs"], manifest["n_terms"]) == (5, 400, 120)
    assert manifest["nnz"] == index.nnz == documents().nnz
    assert IndexConfig.from_json(manifest["config"]) == index.config == replace(config, exact_lists=True)
    assert set(manifest["files"]) == {file.name for file in (tmp_path / "index").glob("*.npy")}


def test_more_than_65536_terms_are_numbered_with_32_bits():
    rng = np.random.default_rng(0)
    matrix = csr_array(
        (np.ones(70_000, dtype=np.float32), rng.permutation(70_000), np.arange(0, 70_001, 35)), shape=(2000, 70_000)
    )
    matrix.sort_indices()
    index = SparseIndex.build(matrix, IndexConfig(n_postings=100))
    assert index._segment.term_type == np.uint32
    row = matrix[[1234]]
    for exact in (True, False):
        assert index.search_one(row.indices[:20], row.data[:20], 1, exact=exact)[0].tolist() == [1234]
