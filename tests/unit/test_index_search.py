"""What a search of a SparseIndex promises, on small collections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from index import IndexConfig, SearchOptions, SearchParameters, SparseIndex, canonical, score_rows, warm_kernels
from index.errors import SearchParameterError, SearchStopped, VectorError
from index.kernels import oracle
from index.kernels.approximate import search_approximately
from index.kernels.block_max import search_blocks
from index.kernels.exhaustive import search_windows
from index.kernels.forward import scan_documents, score_documents
from index.kernels.heap import best_of

SEARCH_KERNELS = (search_windows, search_blocks, best_of, search_approximately, score_documents, scan_documents)


def random_rows(n, terms, density, seed):
    rng = np.random.default_rng(seed)
    matrix = random_array((n, terms), density=density, format="csr", rng=rng, dtype=np.float32)
    matrix.data = rng.gamma(1.0, 0.7, len(matrix.data)).astype(np.float32) + np.float32(0.01)
    matrix.sort_indices()
    return csr_array(matrix)


DOCUMENTS = random_rows(600, 300, 0.08, seed=1)
EVEN, FEW = np.arange(600) % 2 == 0, np.arange(600) < 5
QUERIES = random_rows(25, 300, 0.04, seed=2)


@pytest.fixture(scope="module", params=[True, False], ids=["exact lists", "no exact lists"])
def index(request):
    return SparseIndex.build(DOCUMENTS, IndexConfig(n_postings=2000, centroid_fraction=0.2, exact_lists=request.param))


def canonical_scores(row):
    query = QUERIES[[row]]
    return score_rows(DOCUMENTS, query.indices, query.data)


def hits(found):
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


def test_exact_search_is_the_brute_force_over_canonical_scores(index):
    top = index.search(QUERIES, k=20, exact=True)
    for row in range(QUERIES.shape[0]):
        expected = oracle.brute_force(canonical_scores(row), 20)
        assert top.ids[row, : len(expected)].tolist() == [document for document, _ in expected]
        assert top.scores[row, : len(expected)].tolist() == [score for _, score in expected]


def test_canonical_scores_are_those_of_float16_impacts():
    rounded = DOCUMENTS.copy()
    rounded.data = rounded.data.astype(np.float16).astype(np.float32)
    dense = rounded.astype(np.float64) @ QUERIES.astype(np.float64)[[3]].T
    scores = canonical_scores(3)
    np.testing.assert_allclose(np.where(scores < 0, 0, scores), dense.toarray()[:, 0], rtol=1e-6)
    assert (canonical([0.1, 3.3333]) == np.float16([0.1, 3.3333])).all()


def test_approximate_scores_are_canonical_and_ranked(index):
    top = index.search(QUERIES, k=10, heap_factor=0.7)
    for row in range(QUERIES.shape[0]):
        scores = canonical_scores(row)
        assert top.scores[row].tolist() == scores[top.ids[row]].tolist()
        assert hits((top.ids[row], top.scores[row])) == sorted(
            hits((top.ids[row], top.scores[row])), key=lambda hit: (-hit[1], hit[0])
        )


def test_approximate_search_finds_nearly_everything(index):
    exact, approximate = index.search(QUERIES, exact=True), index.search(QUERIES, query_cut=12)
    found = [len(set(a) & set(b)) for a, b in zip(exact.ids, approximate.ids, strict=True)]
    assert np.mean(found) >= 9.5


def test_more_blocks_are_visited_with_a_lower_heap_factor(index):
    def visited(heap_factor):
        fresh = SparseIndex(index._segment, index.config, None)
        fresh.search(QUERIES, heap_factor=heap_factor)
        return fresh._searcher.scratch._free[0].candidates.counters[1]

    assert visited(0.2) > visited(1.0)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.005])
@pytest.mark.parametrize("exact", [True, False])
def test_filtered_search_returns_k_when_k_documents_match(index, share, exact):
    allowed = np.random.default_rng(5).random(600) < share
    for row in range(QUERIES.shape[0]):
        query = QUERIES[[row]]
        ids, _ = index.search_one(query.indices, query.data, 5, exact=exact, allowed=allowed)
        expected = oracle.brute_force(canonical_scores(row), 5, allowed)
        assert allowed[ids].all()
        assert len(ids) == len(expected)
        if exact:
            assert ids.tolist() == [document for document, _ in expected]


@pytest.mark.parametrize("exact_lists", [True, False])
def test_ties_rank_by_ascending_document_and_are_all_returned_on_request(exact_lists):
    same = csr_array(np.float32([[0, 1]] * 4 + [[0, 2]] + [[0, 1]] * 4))
    index = SparseIndex.build(same, IndexConfig(n_postings=9, exact_lists=exact_lists))
    for keywords in ({"exact": True}, {}, {"heap_factor": 1.0}):
        assert index.search_one([1], [1.0], 3, **keywords)[0].tolist() == [4, 0, 1]
    assert index.search_one([1], [1.0], 3, exact=True, ties=True)[0].tolist() == [4, 0, 1, 2, 3, 5, 6, 7, 8]
    assert index.search_one([1], [1.0], 1, exact=True, ties=True)[0].tolist() == [4]
    assert index.search_one([1], [1.0], 50, exact=True, ties=True)[0].tolist() == [4, 0, 1, 2, 3, 5, 6, 7, 8]


def test_exact_lists_and_a_scan_find_the_same():
    with_lists, without = (
        SparseIndex.build(DOCUMENTS, IndexConfig(n_postings=100, exact_lists=lists)) for lists in (True, False)
    )
    assert 4 * with_lists.nnz < with_lists.bytes - without.bytes < 4 * with_lists.nnz + 10 * 301
    for allowed in (None, np.arange(600) % 3 > 0):
        a, b = (i.search(QUERIES, k=50, exact=True, allowed=allowed) for i in (with_lists, without))
        assert (a.ids == b.ids).all()
        assert (a.scores == b.scores).all()


def test_a_small_collection_has_no_blocks_and_is_searched_exactly():
    index = SparseIndex.build(DOCUMENTS)
    assert (index.config.n_postings, index.config.exact_lists, len(index._segment.summaries)) == (0, True, 0)
    exact = index.search(QUERIES, exact=True)
    for keywords in ({}, {"query_cut": 1, "heap_factor": 1.0}, {"recall": 0.5}):
        assert (index.search(QUERIES, **keywords).ids == exact.ids).all()


def test_the_result_does_not_depend_on_the_threads(index):
    one, two = index.search(QUERIES, k=30), index.search(QUERIES, k=30, threads=2)
    assert (one.ids == two.ids).all()
    assert (one.scores == two.scores).all()


def test_searches_from_many_threads_do_not_disturb_each_other(index):
    expected = index.search(QUERIES, k=7)

    def search(row):
        query = QUERIES[[row % QUERIES.shape[0]]]
        return index.search_one(query.indices, query.data, 7)[0].tolist()

    with ThreadPoolExecutor(8) as pool:
        for row, ids in enumerate(pool.map(search, range(200))):
            assert ids == expected.ids[row % QUERIES.shape[0]].tolist()


def test_a_searched_index_stays_right_after_its_epochs_wrap(index):
    query = QUERIES[[0]]
    first = hits(index.search_one(query.indices, query.data, 9, heap_factor=0.7))
    for _ in range(300):
        assert hits(index.search_one(query.indices, query.data, 9, heap_factor=0.7)) == first


def test_term_order_in_a_query_does_not_matter(index):
    query = QUERIES[[4]]
    assert hits(index.search_one(query.indices, query.data)) == hits(
        index.search_one(query.indices[::-1], query.data[::-1])
    )


def test_k_above_the_collection_returns_every_match_and_pads(index):
    top = index.search(QUERIES[[0]], k=5000)
    matches = int((canonical_scores(0) >= 0).sum())
    assert top.ids.shape == (1, 5000)
    assert (top.ids[0, :matches] >= 0).all()
    assert (top.ids[0, matches:] == -1).all()
    assert (top.scores[0, matches:] == 0).all()


def test_a_document_without_a_shared_term_does_not_match():
    index = SparseIndex.build(csr_array(np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 0]])))
    assert index.search_one([0], [1.0], 3)[0].tolist() == [0]
    assert index.search_one([2], [1.0], 3)[0].tolist() == []


def test_an_empty_query_finds_nothing(index):
    assert index.search_one([], [])[0].tolist() == []
    assert index.search_one([7], [0.0])[0].tolist() == []
    assert (index.search(csr_array((2, 300), dtype=np.float32)).ids == -1).all()


def test_query_terms_newer_than_the_index_match_nothing(index):
    query = QUERIES[[1]]
    wider = np.append(query.indices, [300, 10**9]), np.append(query.data, [5.0, 5.0])
    assert hits(index.search_one(*wider)) == hits(index.search_one(query.indices, query.data))


@pytest.mark.parametrize("shape", [(0, 0), (0, 50), (3, 0), (3, 50)])
def test_a_collection_without_impacts_builds_opens_and_finds_nothing(shape, tmp_path):
    SparseIndex.build(csr_array(shape, dtype=np.float32), path=tmp_path / "index")
    index = SparseIndex.open(tmp_path / "index", verify="full")
    index.warm()
    assert (index.n_docs, index.n_terms, index.nnz) == (*shape, 0)
    for exact in (True, False):
        assert index.search_one([0], [1.0], exact=exact)[0].tolist() == []


def test_a_document_is_returned_as_it_is_stored(index):
    terms, impacts = index.document(17)
    row = DOCUMENTS[[17]]
    assert terms.tolist() == row.indices.tolist()
    assert impacts.tolist() == row.data.astype(np.float16).tolist()
    with pytest.raises(IndexError):
        index.document(600)
    with pytest.raises(IndexError):
        index.document(-1)


def test_rows_return_what_was_indexed(index):
    rows = index.rows(100, 250)
    assert rows.shape == (150, 300)
    assert (rows.indices == DOCUMENTS[100:250].indices).all()
    assert (rows.data == canonical(DOCUMENTS[100:250].data)).all()
    assert index.rows(0, 0).shape == (0, 300)
    with pytest.raises(IndexError):
        index.rows(10, 601)


def test_document_frequencies_count_documents(index):
    counts = np.bincount(DOCUMENTS.indices, minlength=300)
    terms = [5, 299, 5, 100_000]
    assert index.document_frequencies(terms).tolist() == [counts[5], counts[299], counts[5], 0]
    assert index.document_frequencies([]).tolist() == []


def test_a_search_stops_on_request(index):
    with pytest.raises(SearchStopped):
        index.search_one(QUERIES[[0]].indices, QUERIES[[0]].data, exact=True, should_stop=lambda: True)
    with pytest.raises(SearchStopped):
        index.search(QUERIES, should_stop=lambda: True)


@pytest.mark.parametrize(
    ("term_ids", "weights", "reason"),
    [
        ([1], [float("nan")], "finite"),
        ([1], [float("inf")], "finite"),
        ([1], [1e39], "finite"),
        ([1], [-0.5], "negative"),
        ([-1], [1.0], "negative"),
        ([3, 3], [1.0, 1.0], "twice"),
        ([1, 2], [1.0], "one weight per term id"),
        ([1.5], [1.0], "integers"),
        (["a"], [1.0], "integers"),
        ([1], [3e38], "float32"),
    ],
)
def test_a_hostile_query_is_refused(index, term_ids, weights, reason):
    with pytest.raises(VectorError, match=reason):
        index.search_one(term_ids, weights)


@pytest.mark.parametrize(
    "keywords",
    [
        {"k": 0}, {"k": -1}, {"k": 2.5}, {"k": True}, {"recall": 1.0}, {"recall": 0.9, "query_cut": 3},
        {"query_cut": 0}, {"heap_factor": 0.0}, {"heap_factor": 1.5}, {"heap_factor": float("nan")}, {"n_knn": -1},
        {"n_knn": 5},        {"allowed": np.ones(3, dtype=np.bool_)}, {"allowed": np.ones(600)},
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(index, keywords):
    with pytest.raises(SearchParameterError, match=next(iter(keywords))):
        index.search_one([1], [1.0], **keywords)
    if "threads" not in keywords:
        with pytest.raises(SearchParameterError):
            index.search(QUERIES, **keywords)


def test_an_unknown_search_option_is_refused(index):
    with pytest.raises(TypeError, match="heap_faktor"):
        index.search_one([1], [1.0], heap_faktor=0.5)


def test_search_options_are_the_search_parameters():
    assert tuple(SearchOptions.__annotations__) == SearchParameters._fields


def test_pending_rows_score_as_they_will_when_indexed(index):
    query = QUERIES[[2]]
    ids, scores = index.search_one(query.indices, query.data, 600, exact=True)
    assert score_rows(DOCUMENTS, query.indices, query.data)[ids].tolist() == scores.tolist()
    assert score_rows(DOCUMENTS[:0], query.indices, query.data).tolist() == []
    assert score_rows(DOCUMENTS[:2], [], []).tolist() == [-1.0, -1.0]
    assert score_rows(DOCUMENTS[:2], [100_000], [1.0]).tolist() == [-1.0, -1.0]


def test_a_recall_target_without_a_curve_is_met_exactly(index):
    assert (index.search(QUERIES, recall=0.9).ids == index.search(QUERIES, exact=True).ids).all()


def test_nothing_is_compiled_after_the_kernels_are_warm():
    warm_kernels()
    compiled = {kernel: len(kernel.signatures) for kernel in SEARCH_KERNELS}
    assert all(compiled.values())
    wide = csr_array((DOCUMENTS.data, DOCUMENTS.indices, DOCUMENTS.indptr), shape=(600, 70_000))
    searched = product((DOCUMENTS, wide), ({}, {"block_maxima": True}), ("float16", "float32"))
    for matrix, maxima, dtype in searched:
        index = SparseIndex.build(matrix, IndexConfig(n_postings=100, impact_dtype=dtype, **maxima))
        for keywords in (
            {},
            {"query_cut": 9},
            {"exact": True},
            {"allowed": np.arange(600) % 2 == 0},
            {"allowed": np.arange(600) < 5},
        ):
            index.search(QUERIES, **keywords)
    assert {kernel: len(kernel.signatures) for kernel in SEARCH_KERNELS} == compiled


@pytest.mark.parametrize("k", [1, 10, 100])
def test_parts_searched_exactly_and_merged_are_the_whole(index, k):
    cuts = [0, 150, 151, 420, 600]
    parts = [SparseIndex.build(DOCUMENTS[a:b]).search(QUERIES, k, exact=True) for a, b in pairwise(cuts)]
    ids = np.concatenate([np.where(p.ids >= 0, p.ids + a, -1) for p, a in zip(parts, cuts[:-1], strict=True)], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    whole = index.search(QUERIES, k, exact=True)
    assert (np.take_along_axis(scores, order, axis=1) == whole.scores).all()
    assert (np.take_along_axis(ids, order, axis=1) == whole.ids).all()
