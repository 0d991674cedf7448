"""The kernels that build lists and search them, against the oracles that define them.

Impacts are whole numbers and scales powers of two, so that sums in float32 are exact and equal the oracle's.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.inverted import line_views
from index.kernels import oracle
from index.kernels.blocks import build_lists, cluster_list, largest_postings, summarise_list
from index.kernels.candidates import find_candidates
from index.kernels.lines import LINE_BYTES, pack_lines

pytestmark = pytest.mark.kernels

N_TERMS = 30
ROOM = 32
SCALE = np.float32([2.0 ** (term % 3) for term in range(N_TERMS)] + [0, 0])
NOTHING = np.zeros(0, dtype=np.bool_)

sketches = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 255), min_size=1, max_size=28), min_size=1, max_size=14
)


def lines_of(documents, term_type=np.uint16):
    """Pack documents given as {term: steps}."""
    rows = [sorted(document.items()) for document in documents]
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=start[1:])
    terms = np.array([term for row in rows for term, _ in row], dtype=np.uint32)
    steps = np.array([steps for row in rows for _, steps in row], dtype=np.float32)
    views = line_views(np.zeros((4 * len(rows), LINE_BYTES), dtype=np.uint8), np.dtype(term_type))
    pack_lines(0, start, terms, (steps * SCALE[terms]).astype(np.float32), 1 / SCALE[:N_TERMS], len(rows), *views)
    return views


def heaviest(document, n):
    """The n heaviest terms of {term: steps}, with their impacts, as lines order them."""
    order = sorted(document, key=lambda term: (-document[term] * SCALE[term], term))
    return {term: float(document[term] * SCALE[term]) for term in order[:n]}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 600), max_size=12), min_size=1, max_size=4), st.integers(1, 8))
def test_a_pruned_list_keeps_the_largest_impacts(lists, n_keep):
    start = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(keys) for keys in lists], out=start[1:])
    kept = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([min(n_keep, len(keys)) for keys in lists], out=kept[1:])
    docs = np.array([doc for keys in lists for doc in range(len(keys))], dtype=np.uint32)
    kept_docs = np.empty(kept[-1], dtype=np.uint32)
    keys_array = np.array([key for keys in lists for key in keys], dtype=np.uint16)
    largest_postings(start, docs, keys_array, n_keep, kept, kept_docs)
    for i, keys in enumerate(lists):
        expected = oracle.largest_postings(list(enumerate(keys)), n_keep)
        assert kept_docs[kept[i] : kept[i + 1]].tolist() == expected


@settings(max_examples=40, deadline=None)
@given(sketches, st.data())
def test_clusters_are_those_of_the_nearest_centroids(documents, data):
    n_centroids = data.draw(st.integers(1, len(documents)))
    min_size, cut, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 20)), data.draw(st.integers(0, 2**32))
    docs = np.arange(len(documents), dtype=np.uint32)
    terms, steps, _ = lines_of(documents)
    heads = np.full(ROOM, -1, dtype=np.int32)
    blocks, starts = np.empty(len(documents), dtype=np.uint32), np.empty(n_centroids + 1, dtype=np.int64)
    n = cluster_list(docs, seed, n_centroids, min_size, cut, terms, steps, SCALE, heads, blocks, starts)
    centroids = oracle.drawn_centroids(len(documents), n_centroids, seed)
    expected = oracle.cluster_list([heaviest(document, cut) for document in documents], centroids, min_size)
    assert [blocks[starts[b] : starts[b + 1]].tolist() for b in range(n)] == expected
    assert (heads == -1).all()


@settings(max_examples=40, deadline=None)
@given(sketches, st.sampled_from([0.1, 0.4, 1.0]), st.data())
def test_summaries_are_cut_maxima_stored_by_term(documents, energy, data):
    bounds = sorted(data.draw(st.sets(st.integers(1, len(documents)), min_size=1)) | {0, len(documents)})
    starts = np.array(bounds, dtype=np.int64)
    maxima, row_of = np.zeros(ROOM, dtype=np.uint8), np.zeros(ROOM, dtype=np.int64)
    touched = np.zeros(ROOM, dtype=np.int64)
    terms, ends, in_blocks, values = summarise_list(
        np.arange(len(documents), dtype=np.uint32), starts, energy, *lines_of(documents), SCALE, maxima, touched, row_of
    )
    found = {}
    for row, term in enumerate(terms.tolist()):
        for entry in range(ends[row], ends[row + 1]):
            found[term, int(in_blocks[entry])] = int(values[entry])
    expected = {}
    for block in range(len(bounds) - 1):
        summary = oracle.summarise_block(documents[bounds[block] : bounds[block + 1]], SCALE, energy)
        expected |= {(term, block): steps for term, steps in summary.items()}
    assert found == expected
    assert list(found) == sorted(found)
    assert not maxima.any()
    assert not row_of.any()


def inverted(documents, term_type, centroid_fraction):
    """Build full lists over the documents; returns the arrays that find_candidates takes, and the lists as sets."""
    lists = [[doc for doc, sketch in enumerate(documents) if term in sketch] for term in range(N_TERMS)]
    start = np.zeros(N_TERMS + 1, dtype=np.int64)
    np.cumsum([len(docs) for docs in lists], out=start[1:])
    docs = np.array([doc for docs in lists for doc in docs], dtype=np.uint32)
    views = lines_of(documents, term_type)
    list_blocks, list_rows, block_sizes, block_docs, row_terms, row_sizes, entry_blocks, entry_values = build_lists(
        start, docs, np.arange(N_TERMS), centroid_fraction, 2, 2**16, 8, 0.4, *views, SCALE,
        np.full(ROOM, -1, dtype=np.int32), np.zeros(ROOM, dtype=np.uint8), np.zeros(ROOM, dtype=np.int64),
        np.zeros(ROOM, dtype=np.int64),
    )  # fmt: skip

    def offsets(sizes):
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    list_row = offsets(list_rows)
    stops = offsets(row_sizes)
    list_entry = stops[list_row]
    row_end = (stops[1:] - np.repeat(list_entry[:-1], list_rows)).astype(np.uint32)
    arrays = (
        offsets(list_blocks), offsets(block_sizes).astype(np.uint32), block_docs, list_row, list_entry,
        row_terms.astype(term_type), row_end, entry_blocks, entry_values, *views,
    )  # fmt: skip
    return arrays, [set(docs) for docs in lists]


@settings(max_examples=40, deadline=None)
@given(
    sketches,
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 9), max_size=6),
    st.integers(1, 8),
    st.sampled_from([np.uint16, np.uint32]),
    st.sampled_from([0.1, 0.5]),
)
def test_uncut_candidate_search_finds_the_best_sketch_scores(documents, query, n, term_type, centroid_fraction):
    arrays, lists = inverted(documents, term_type, centroid_fraction)
    terms = np.array(sorted(query), dtype=np.uint32)
    weights = np.array([query[term] for term in sorted(query)], dtype=np.float32)
    table, visited = np.zeros(ROOM, dtype=np.float32), np.zeros(len(documents), dtype=np.uint8)
    scores, docs = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.uint32)
    # A block is never skipped with heap_factor 0, a document never dropped with beta 0.
    found = find_candidates(
        terms, weights, 100, np.float32(0), np.float32(0), NOTHING, SCALE, *arrays, table, visited, 1,
        np.zeros(2**17, dtype=np.float32), np.zeros(2**17, dtype=np.uint32), np.zeros(256, dtype=np.int64),
        scores, docs, np.zeros(4, dtype=np.int64),
    )  # fmt: skip
    expected = oracle.candidates_trivial_but_slow(documents, {t: float(w) for t, w in query.items()}, SCALE, lists, n)
    assert sorted(scores[:found].tolist(), reverse=True) == expected
    assert len(set(docs[:found].tolist())) == found
    assert not table.any()


@settings(max_examples=20, deadline=None)
@given(sketches, st.data())
def test_candidates_are_allowed_documents_only(documents, data):
    arrays, _ = inverted(documents, np.uint16, 0.3)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(documents), max_size=len(documents))))
    terms = np.array(sorted(documents[0]), dtype=np.uint32)
    scores, docs = np.zeros(20, dtype=np.float32), np.zeros(20, dtype=np.uint32)
    found = find_candidates(
        terms, np.ones(len(terms), dtype=np.float32), 100, np.float32(0), np.float32(0), allowed, SCALE, *arrays,
        np.zeros(ROOM, dtype=np.float32), np.zeros(len(documents), dtype=np.uint8), 1,
        np.zeros(2**17, dtype=np.float32), np.zeros(2**17, dtype=np.uint32), np.zeros(256, dtype=np.int64),
        scores, docs, np.zeros(4, dtype=np.int64),
    )  # fmt: skip
    matching = {d for d, sketch in enumerate(documents) if allowed[d] and set(sketch) & set(documents[0])}
    assert set(docs[:found].tolist()) == matching
