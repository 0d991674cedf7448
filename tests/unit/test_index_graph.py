"""The graph of nearest neighbours, built on request and searched with n_knn."""

from __future__ import annotations

import numpy as np
import pytest

from index import IndexConfig, SparseIndex
from index.errors import ConfigError, SearchParameterError
from tests.unit.test_index_recall import DOCUMENTS, HELD_OUT

CONFIG = IndexConfig(n_postings=60, exact_lists=False, n_knn=6)


@pytest.fixture(scope="module")
def index():
    return SparseIndex.build(DOCUMENTS, CONFIG, threads=1)


def test_neighbours_are_mostly_the_nearest_documents(index):
    scores = (DOCUMENTS[:200] @ DOCUMENTS.T).toarray()
    scores[np.arange(200), np.arange(200)] = 0
    nearest = np.argsort(-scores, axis=1)[:, :6]
    # The graph is built from sketches.
    found = index._segment.line_docs[index._segment.neighbours[index._segment.doc_lines[:200]]]
    assert np.mean([len(set(a) & set(b)) / 6 for a, b in zip(found.tolist(), nearest.tolist(), strict=True)]) > 0.5
    assert (found != np.arange(200)[:, np.newaxis]).all()


def test_the_graph_does_not_depend_on_threads_and_is_kept(index, tmp_path):
    written = SparseIndex.build(DOCUMENTS, CONFIG, path=tmp_path / "index", threads=2)
    assert (written._segment.neighbours == index._segment.neighbours).all()
    opened = SparseIndex.open(tmp_path / "index", verify="full")
    assert (opened._segment.neighbours == index._segment.neighbours).all()


def test_scoring_neighbours_finds_more(index):
    exact = index.search(HELD_OUT, 10, exact=True)

    def recall(n_knn):
        found = index.search(HELD_OUT, 10, query_cut=2, heap_factor=1.0, n_knn=n_knn)
        return np.mean(found.scores >= exact.scores[:, -1:])

    assert recall(0) < recall(3) < recall(6)


def test_neighbours_of_allowed_documents_only_are_returned(index):
    allowed = np.arange(DOCUMENTS.shape[0]) % 3 > 0
    top = index.search(HELD_OUT, 10, query_cut=2, n_knn=6, allowed=allowed)
    assert allowed[top.ids].all()


def test_more_neighbours_than_the_graph_has_are_refused(index):
    with pytest.raises(SearchParameterError, match="at most 6"):
        index.search_one([1], [1.0], n_knn=7)


def test_an_index_without_blocks_accepts_the_neighbours_of_its_configuration():
    # A collection has small segments, which are searched exactly, and large ones with the same configuration.
    small = SparseIndex.build(DOCUMENTS, IndexConfig(n_knn=6))
    exact = small.search(HELD_OUT, 10, exact=True)
    assert (small.search(HELD_OUT, 10, n_knn=6).ids == exact.ids).all()
    with pytest.raises(SearchParameterError, match="at most 6"):
        small.search(HELD_OUT, n_knn=7)


def test_documents_without_neighbours_are_their_own():
    lonely = SparseIndex.build(DOCUMENTS[:1], IndexConfig(n_postings=10, n_knn=3))
    assert lonely._segment.neighbours.tolist() == [[0, 0, 0]]
    assert lonely.search_one([int(DOCUMENTS[[0]].indices[0])], [1.0], 1, query_cut=1, n_knn=3)[0].tolist() == [0]


@pytest.mark.parametrize("n_knn", [-1, 1.5, True])
def test_an_invalid_number_of_neighbours_is_refused(n_knn):
    with pytest.raises(ConfigError, match="n_knn"):
        IndexConfig(n_knn=n_knn)


def test_damaged_neighbours_never_lead_outside_the_arrays(index, tmp_path):
    from dataclasses import replace

    wild = np.full_like(index._segment.neighbours, 2**32 - 1)
    wild.setflags(write=False)
    damaged = SparseIndex(replace(index._segment, neighbours=wild), CONFIG, None)
    top = damaged.search(HELD_OUT, 10, query_cut=2, n_knn=6)
    assert (top.ids < DOCUMENTS.shape[0]).all()
