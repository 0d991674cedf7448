"""Recall targets: the measured curve, where it is stored, and the searches that use it."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array

from index import IndexConfig, SparseIndex
from index.arrays.folder import verify_index
from index.errors import IndexCorrupt, SearchParameterError
from index.searching.calibration import Calibration, Point, exact_top

N_DOCS, N_TERMS = 2000, 500
CONFIG = IndexConfig(n_postings=60, exact_lists=False)


def topical_rows(n, seed, length):
    """Rows of a few topics each, so that there are clusters to find."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).permuted(np.tile(np.arange(N_TERMS), (60, 1)), axis=1)[:, :40]
    rows = np.zeros((n, N_TERMS), dtype=np.float32)
    for row in rows:
        terms = np.concatenate([topics[t] for t in rng.choice(60, 2, replace=False)])
        chosen = rng.choice(terms, length, replace=False)
        row[chosen] = rng.gamma(1.0, 0.8, length).astype(np.float32) + np.float32(0.02)
    return csr_array(rows)


DOCUMENTS = topical_rows(N_DOCS, 1, 40)
SAMPLE, HELD_OUT = topical_rows(300, 2, 12), topical_rows(300, 3, 12)


@pytest.fixture(scope="module")
def index():
    built = SparseIndex.build(DOCUMENTS, CONFIG)
    built.calibrate(SAMPLE)
    return built


def recall_of(index, queries, k, **how):
    exact, found = index.search(queries, k, exact=True), index.search(queries, k, **how)
    return float(np.mean(found.scores >= exact.scores[:, -1:]))


def test_all_queries_at_once_find_what_each_finds_exactly(index):
    exact = index.search(HELD_OUT, 30, exact=True)
    for row, (ids, scores) in enumerate(exact_top(index.rows, N_DOCS, HELD_OUT, 30)):
        assert ids.tolist() == exact.ids[row].tolist()
        assert scores.tolist() == exact.scores[row].tolist()


@pytest.mark.parametrize("k", [10, 100])
@pytest.mark.parametrize("target", [0.9, 0.95, 0.98])
def test_a_target_is_reached_on_queries_that_were_not_measured(index, k, target):
    # Three standard errors of a mean over 300 queries that differ by about a tenth.
    assert recall_of(index, HELD_OUT, k, recall=target) >= target - 3 * 0.1 / np.sqrt(300)


@pytest.mark.parametrize("n_parts", [4, 16])
def test_parts_searched_and_merged_find_no_less_than_the_whole(index, n_parts):
    cuts = np.linspace(0, N_DOCS, n_parts + 1).astype(int).tolist()
    exact, how = index.search(HELD_OUT, 10, exact=True), {"query_cut": 3, "heap_factor": 0.9}
    parts = [SparseIndex.build(DOCUMENTS[a:b], CONFIG).search(HELD_OUT, 10, **how) for a, b in pairwise(cuts)]
    merged = -np.sort(-np.concatenate([part.scores for part in parts], axis=1), axis=1)[:, :10]
    assert np.mean(merged >= exact.scores[:, -1:]) >= recall_of(index, HELD_OUT, 10, **how)


def test_a_lower_target_costs_less(index):
    costs = [point.cost for point in index.calibration.curves[10]]
    floors = [point.floor for point in index.calibration.curves[10]]
    assert len(costs) > 3
    assert costs == sorted(costs)
    assert floors == sorted(floors)
    assert all(point.floor <= point.recall for point in index.calibration.curves[10])


def test_the_curve_is_stored_with_the_index_and_the_files_stay_sound(tmp_path):
    built = SparseIndex.build(DOCUMENTS, CONFIG, path=tmp_path / "index", queries=SAMPLE[:40])
    assert built.calibration is not None
    assert SparseIndex.open(tmp_path / "index", verify="full").calibration == built.calibration
    again = built.calibrate(HELD_OUT[:30], source="others")
    assert SparseIndex.open(tmp_path / "index").calibration == again
    assert again.source == "others"
    assert again.queries == 30
    assert verify_index(tmp_path / "index") == []
    assert {path.suffix for path in (tmp_path / "index").iterdir()} == {".npy", ".json"}


def test_the_same_sample_gives_the_same_curve_whatever_the_threads():
    built = SparseIndex.build(DOCUMENTS, CONFIG)
    assert built.calibrate(SAMPLE[:40], threads=2).curves == built.calibrate(SAMPLE[:40]).curves


def test_queries_are_built_from_documents_when_none_are_given():
    built = SparseIndex.build(DOCUMENTS, CONFIG)
    found = built.calibrate()
    assert "documents" in found.source
    assert found.parameters(10, 0.9) is not None


def point(floor, cut, factor, beta=0.7):
    return Point(floor + 0.001, floor, cut, factor, beta, 1.0)


CURVES = Calibration(
    "2026-01-01T00:00:00+00:00",
    "a test",
    7,
    {10: (point(0.9, 3, 0.9), point(0.99, 6, 0.8)), 100: (point(0.9, 5, 1.0, 0.6), point(0.95, 8, 0.9))},
)


def test_between_two_measured_k_the_more_thorough_of_both_is_used():
    assert CURVES.parameters(10, 0.9) == (3, 0.9, 0.7, 0)
    assert CURVES.parameters(1, 0.9) == (3, 0.9, 0.7, 0)
    assert CURVES.parameters(50, 0.9) == (5, 0.9, 0.6, 0)
    assert CURVES.parameters(100, 0.94) == (8, 0.9, 0.7, 0)


def test_what_no_setting_reached_is_searched_exactly(index):
    assert CURVES.parameters(10, 0.995) is None
    assert CURVES.parameters(100, 0.96) is None
    assert CURVES.parameters(101, 0.5) is None
    beyond = index.search(HELD_OUT, 10, recall=0.999999)
    assert (beyond.ids == index.search(HELD_OUT, 10, exact=True).ids).all()


def test_a_curve_survives_json():
    assert Calibration.from_json(json.loads(json.dumps(CURVES.to_json()))) == CURVES


def test_an_unreadable_curve_is_refused(tmp_path):
    from index.arrays.folder import replace_manifest

    SparseIndex.build(DOCUMENTS[:50], path=tmp_path / "index")
    replace_manifest(tmp_path / "index", {"calibration": {"curves": {"ten": []}}})
    with pytest.raises(IndexCorrupt, match="calibration"):
        SparseIndex.open(tmp_path / "index")


def test_queries_may_know_fewer_or_more_terms_than_the_index():
    few = SAMPLE[:40]
    wide = csr_array((few.data, few.indices, few.indptr), shape=(40, N_TERMS + 50))
    built = SparseIndex.build(DOCUMENTS, CONFIG)
    assert built.calibrate(wide).curves == built.calibrate(few).curves
    assert built.calibrate(csr_array((3, 10), dtype=np.float32)).queries == 3


def test_a_target_and_other_search_parameters_together_are_refused(index):
    for parameter in ({"query_cut": 3}, {"heap_factor": 0.5}, {"n_knn": 0}):
        with pytest.raises(SearchParameterError, match="recall target"):
            index.search_one([1], [1.0], recall=0.9, **parameter)


def test_a_filtered_target_still_returns_k(index):
    allowed = np.random.default_rng(4).random(N_DOCS) < 0.05
    top = index.search(HELD_OUT, 10, recall=0.9, allowed=allowed)
    matching = index.search(HELD_OUT, 10, exact=True, allowed=allowed)
    assert ((top.ids >= 0).sum(axis=1) == (matching.ids >= 0).sum(axis=1)).all()
    assert allowed[top.ids[top.ids >= 0]].all()
