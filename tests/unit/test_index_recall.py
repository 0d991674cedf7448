"""Recall targets: the measured curve, where it is stored, and the searches that use it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array

from index import IndexConfig, SearchParameters, SparseIndex, sparse_index
from index.arrays.folder import verify_index
from index.errors import IndexCorrupt, SearchParameterError
from index.searching import searcher
from index.searching.calibration import BUILD_SAMPLE, Calibration, Point, exact_top, pseudo_queries
from index.searching.parameters import HEAP_FACTOR, QUERY_CUT

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


@pytest.mark.parametrize("k", [10, 100])
def test_the_setting_of_a_search_that_names_none_is_measured_too(index, k):
    usual = index.calibration.usual[k]
    assert (usual.query_cut, usual.heap_factor) == (QUERY_CUT, HEAP_FACTOR)
    # By score, as the measurement counts: of documents that tie, each is right.
    exact, found = index.search(SAMPLE, k, exact=True), index.search(SAMPLE, k, query_cut=QUERY_CUT)
    n = {10: 300, 100: 150}[k]
    share = float(np.mean((found.scores >= exact.scores[:, -1:])[:n]))
    assert usual.recall == pytest.approx(share, abs=1e-6)


def test_a_curve_of_a_version_that_did_not_measure_the_usual_setting_is_read(index):
    stored = index.calibration.to_json()
    del stored["usual"]
    assert Calibration.from_json(stored) == replace(index.calibration, usual={})


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


def answer(index, row, k=10, **options):
    query = HELD_OUT[[row]]
    return index.answer_one(query.indices, query.data, k, SearchParameters(**options))


def without_cheap_exact_search(monkeypatch):
    """Exact search counts as dearer than any setting, as it is for a large collection."""
    monkeypatch.setattr(searcher, "_DOCUMENT_COST", 1e9)


def test_an_answer_names_the_recall_that_is_expected_of_it(index, monkeypatch):
    without_cheap_exact_search(monkeypatch)
    choice = index.calibration.choose(10, 0.9)
    found = answer(index, 0, recall=0.9)
    assert found.approximate
    assert found.expected_recall == choice.expected_recall
    assert 0.9 <= choice.expected_recall <= 1.0
    exact = answer(index, 0, exact=True)
    assert (exact.approximate, exact.expected_recall) == (False, 1.0)
    beyond = answer(index, 0, recall=0.999999)
    assert (beyond.approximate, beyond.expected_recall) == (False, 1.0)
    assert answer(index, 0, query_cut=4).expected_recall is None


def test_between_two_measured_k_the_lower_recall_is_expected():
    assert CURVES.choose(50, 0.9).expected_recall == pytest.approx(0.901)
    assert CURVES.choose(10, 0.95).expected_recall == pytest.approx(0.991)


def test_a_target_never_costs_more_than_exact_search(index, monkeypatch):
    without_cheap_exact_search(monkeypatch)
    assert answer(index, 1, recall=0.9).approximate
    monkeypatch.setattr(searcher, "_DOCUMENT_COST", 1e-6)
    cheap = answer(index, 1, recall=0.9)
    assert (cheap.approximate, cheap.expected_recall) == (False, 1.0)
    assert (index.search(HELD_OUT, 10, recall=0.9).ids == index.search(HELD_OUT, 10, exact=True).ids).all()


def test_unpruned_postings_are_searched_where_they_cost_less_than_the_setting(monkeypatch):
    both = SparseIndex.build(DOCUMENTS, IndexConfig(n_postings=60, exact_lists=True), queries=SAMPLE[:40])
    monkeypatch.setattr(searcher, "_FEW_POSTINGS", 0)
    monkeypatch.setattr(searcher.exact_search, "POSTING_COST", 1e-3)
    assert not answer(both, 2, recall=0.95).approximate
    monkeypatch.setattr(searcher.exact_search, "POSTING_COST", 1e9)
    assert answer(both, 2, recall=0.95).approximate


@pytest.mark.parametrize("target", [0.5, 0.95, 0.99, 0.999])
def test_an_index_without_a_curve_is_searched_thoroughly_for_a_target_and_says_that_it_does_not_know(
    monkeypatch, target
):
    without_cheap_exact_search(monkeypatch)
    built = SparseIndex.build(DOCUMENTS, CONFIG)
    assert built.calibration is None
    found = answer(built, 3, recall=target)
    assert (found.approximate, found.expected_recall) == (True, None)
    assert recall_of(built, HELD_OUT, 10, recall=target) >= target - 0.02


def test_a_build_that_makes_blocks_measures_targets_on_its_documents(monkeypatch, tmp_path):
    monkeypatch.setattr(sparse_index, "EXACT_ONLY", 1000)
    built = SparseIndex.build(DOCUMENTS, CONFIG, path=tmp_path / "index", threads=2)
    assert "documents" in built.calibration.source
    assert built.calibration.queries == BUILD_SAMPLE[10]
    assert SparseIndex.build(DOCUMENTS, CONFIG).calibration.curves == built.calibration.curves
    assert SparseIndex.open(tmp_path / "index", verify="full").calibration == built.calibration
    given = SparseIndex.build(DOCUMENTS, CONFIG, queries=SAMPLE[:40])
    assert given.calibration.source == "queries given to calibrate"
    assert SparseIndex.build(DOCUMENTS, IndexConfig(n_postings=0)).calibration is None


def test_documents_as_queries_count_for_less_than_queries_and_their_targets_are_met():
    built = SparseIndex.build(DOCUMENTS, CONFIG)
    own = pseudo_queries(built._segment, built.rows, 100, 12)
    counted = built._measure(own, "as queries", 1).curves[10]
    as_documents = built._measure(own, "as documents", 1, from_documents=True).curves[10]
    assert as_documents[0].recall < counted[0].recall - 0.006
    assert as_documents[-1].recall <= 0.994
    for target in (0.9, 0.95, 0.98):
        assert recall_of(built, HELD_OUT, 10, recall=target) >= target


def test_a_curve_that_is_measured_and_used_changes_no_file(tmp_path):
    built = SparseIndex.build(DOCUMENTS, CONFIG, path=tmp_path / "index", queries=SAMPLE[:40])
    before = (tmp_path / "index" / "manifest.json").read_bytes()
    found = built.measure(HELD_OUT[:60], source="others")
    assert built.calibration.source == "queries given to calibrate"
    built.use_calibration(found)
    assert built.calibration == found
    assert found.queries == 60
    assert (tmp_path / "index" / "manifest.json").read_bytes() == before


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
