"""The kernels that build candidate lists and search them, against the oracles that define them.

Impacts are integers and scales powers of two, so that sums in float32 are exact and equal the oracle's.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from index.arrays.new_arrays import ArraysInMemory, new_documents
from index.canonical_weights import stored
from index.kernels import oracle
from index.kernels.blocks import BlockShape, BuildScratch, NewBlocks, build_lists
from index.kernels.candidate_arrays import (
    AllowedDocuments,
    CandidateLists,
    CandidateParameters,
    CandidateScratch,
    Query,
)
from index.kernels.candidates import find_candidates
from index.kernels.clustering import cluster_list
from index.kernels.lines import LINE_BYTES, line_views, pack_documents, terms_per_line
from index.kernels.summaries import summarise_block

pytestmark = pytest.mark.kernels

N_TERMS = 30
ROOM = 32
SCALE = np.float32([2.0 ** (term % 3) for term in range(N_TERMS)] + [0, 0])
NOTHING = np.zeros(0, dtype=np.bool_)

sketches = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 255), min_size=1, max_size=28), min_size=1, max_size=14
)


def packed(documents, term_type=np.uint16, impact_type="float32"):
    """Pack documents given as {term: steps}; with uint16 and float16, further lines have levels."""
    rows = [sorted(document.items()) for document in documents]
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=start[1:])
    terms = np.array([term for row in rows for term, _ in row], dtype=np.uint32)
    steps = np.array([steps for row in rows for _, steps in row], dtype=np.float32)
    impacts, lines = (steps * SCALE[terms]).astype(np.float32), np.arange(len(rows), dtype=np.uint32)
    kept = stored(impacts, impact_type)
    made, links = new_documents(np.diff(start), np.dtype(term_type), kept.dtype, SCALE[:N_TERMS], ArraysInMemory())
    pack_documents(lines, start, terms, impacts, kept, links, made)
    return made


def heaviest(document, n):
    """The n heaviest terms of {term: steps}, with their impacts, as lines order them."""
    order = sorted(document, key=lambda term: (-document[term] * SCALE[term], term))
    return {term: float(document[term] * SCALE[term]) for term in order[:n]}


@settings(max_examples=40, deadline=None)
@given(sketches, st.data())
def test_clusters_are_those_of_the_nearest_centroids(documents, data):
    n_centroids = data.draw(st.integers(1, len(documents)))
    min_size, cut, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 20)), data.draw(st.integers(0, 2**32))
    docs = np.arange(len(documents), dtype=np.uint32)
    terms, steps = packed(documents)[:2]
    heads = np.full(ROOM, -1, dtype=np.int32)
    blocks, starts = np.empty(len(documents), dtype=np.uint32), np.empty(n_centroids + 1, dtype=np.int64)
    n = cluster_list(docs, seed, n_centroids, min_size, cut, terms, steps, SCALE, heads, blocks, starts)
    centroids = oracle.drawn_centroids(len(documents), n_centroids, seed)
    expected = oracle.cluster_list([heaviest(document, cut) for document in documents], centroids, min_size)
    assert [blocks[starts[b] : starts[b + 1]].tolist() for b in range(n)] == expected
    assert (heads == -1).all()


@settings(max_examples=40, deadline=None)
@given(sketches, st.integers(1, 2), st.sampled_from([np.uint16, np.uint32]))
def test_a_summary_holds_the_largest_of_the_maximum(documents, n_lines, term_type):
    width = terms_per_line(np.dtype(term_type))
    out = line_views(np.zeros((5, LINE_BYTES), dtype=np.uint8), np.dtype(term_type))
    maxima, touched = np.zeros(ROOM, dtype=np.uint8), np.zeros(ROOM + 1, dtype=np.int64)
    docs = np.arange(len(documents), dtype=np.uint32)
    summarise_block(docs, n_lines, packed(documents, term_type), SCALE, maxima, touched, *out[:2], 2)
    found = []
    for place in range(n_lines * width):
        steps = out[1][2 + place // width, width * np.dtype(term_type).itemsize + place % width]
        if steps:
            found.append((int(out[0][2 + place // width, place % width]), int(steps)))
    assert found == oracle.block_summary(documents, SCALE, n_lines * width)
    assert not maxima.any()
    assert not out[1][[0, 1, 4]].any()


def inverted(documents, term_type, centroid_fraction, short, impact_type="float32"):
    """Build uncut lists over the documents; returns (CandidateLists, Documents), and the lists as sets."""
    lists = [[doc for doc, sketch in enumerate(documents) if term in sketch] for term in range(N_TERMS)]
    start = np.zeros(N_TERMS + 1, dtype=np.int64)
    np.cumsum([len(docs) for docs in lists], out=start[1:])
    docs = np.array([doc for docs in lists for doc in docs], dtype=np.uint32)
    made = packed(documents, term_type, impact_type)
    summaries = line_views(np.zeros((2 * len(docs), LINE_BYTES), dtype=np.uint8), np.dtype(term_type))
    out = NewBlocks(
        np.zeros(len(docs), dtype=np.uint32), np.zeros(len(docs), dtype=np.uint32), *summaries[:2],
        np.zeros(N_TERMS, dtype=np.int64),
    )  # fmt: skip
    scratch = BuildScratch(
        np.full(ROOM, -1, dtype=np.int32), np.zeros(ROOM, dtype=np.uint8), np.zeros(ROOM + 1, dtype=np.int64)
    )
    shape = BlockShape(centroid_fraction, min_cluster_size=2, short_list=short, doc_cut=8, summary_lines=2)
    build_lists(start, docs, np.arange(N_TERMS), shape, made, SCALE, scratch, out)

    def offsets(sizes):
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    list_summary = offsets(np.where(np.diff(start) > short, 2 * out.list_blocks, 0))
    block_start = offsets(out.sizes[: out.list_blocks.sum()]).astype(np.uint32)
    blocks = CandidateLists(offsets(out.list_blocks), list_summary, block_start, out.docs, *summaries[:2])
    return (blocks, made), [set(docs) for docs in lists]


def candidates(query, n, arrays, n_docs, *, heap_factor, beta, allowed=NOTHING, line_docs=None, epoch=0, mark=0):
    """Run find_candidates on a query {term: weight}; returns (documents, scores, counters), best first."""
    line_docs = np.arange(n_docs, dtype=np.uint32) if line_docs is None else line_docs
    terms = np.array(sorted(query), dtype=np.uint32)
    weights = np.array([query[term] for term in sorted(query)], dtype=np.float32)
    scratch = CandidateScratch(
        per_step=np.zeros(1 << 16, dtype=np.uint16),  # unused places of further lines hold the largest number
        per_unit=np.zeros(1 << 16, dtype=np.float32),
        visited=np.full(n_docs, mark, dtype=np.uint8),
        epoch=np.full(1, epoch, dtype=np.int64),
        estimates=np.zeros(1000, dtype=np.int64),
        order=np.zeros(1000, dtype=np.int64),
        batch=np.zeros(257, dtype=np.int64),
        firsts=np.zeros(256, dtype=np.int64),
        heap=np.zeros(n, dtype=np.int64),
        counters=np.zeros(4, dtype=np.int64),
    )
    lists, made = arrays
    found = find_candidates(
        Query(terms, weights), CandidateParameters(100, np.float32(heap_factor), np.float32(beta), 0), lists, made,
        SCALE, np.zeros((0, 0), dtype=np.uint32), AllowedDocuments(allowed, line_docs), scratch,
    )  # fmt: skip
    assert not scratch.per_step.any()
    assert not scratch.per_unit.any()
    keys = np.sort(scratch.heap[:found])[::-1]
    return (0xFFFFFFFF - (keys & 0xFFFFFFFF)).tolist(), (keys >> 32).tolist(), scratch.counters


@settings(max_examples=40, deadline=None)
@given(
    sketches,
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 9), max_size=6),
    st.integers(1, 8),
    st.sampled_from([(np.uint16, "float16"), (np.uint16, "float32"), (np.uint32, "float16")]),
    st.sampled_from([(0.1, 1), (0.5, 4)]),
)
@example(
    [{0: 1}, {0: 2, **dict.fromkeys(range(1, 28), 200)}], {0: 1}, 1, (np.uint32, "float32"), (0.1, 1)
)  # the match is in a further line
def test_uncut_candidate_search_finds_the_best_sketch_scores(documents, query, n, types, shape):
    term_type, impact_type = types
    arrays, lists = inverted(documents, term_type, *shape, impact_type)
    # A block is never skipped with heap_factor 0, a document never dropped with beta 0.
    docs, scores, _ = candidates(query, n, arrays, len(documents), heap_factor=0, beta=0)
    width = terms_per_line(np.dtype(term_type))
    with_levels = types == (np.uint16, "float16")
    expected = oracle.candidates_trivial_but_slow(documents, query, SCALE, lists, n, width, with_levels=with_levels)
    # Scores tie, so documents are compared by their scores.
    assert scores == expected
    assert len(docs) == len(set(docs)) == len(expected)


@settings(max_examples=20, deadline=None)
@given(sketches, st.data())
def test_candidates_are_allowed_documents_only(documents, data):
    arrays, _ = inverted(documents, np.uint16, 0.3, 3)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(documents), max_size=len(documents))))
    query = dict.fromkeys(documents[0], 1.0)
    line_docs = np.array(data.draw(st.permutations(range(len(documents)))), dtype=np.uint32)
    docs, _, _ = candidates(
        query, 20, arrays, len(documents), heap_factor=0, beta=0, allowed=allowed, line_docs=line_docs
    )
    matching = [line for line, sketch in enumerate(documents) if set(sketch) & set(documents[0])]
    assert set(docs) == {line for line in matching if allowed[line_docs[line]]}


@settings(max_examples=20, deadline=None)
@given(sketches, st.integers(1, 3))
def test_cutting_scores_no_more_and_finds_documents_that_score(documents, n):
    arrays, _ = inverted(documents, np.uint16, 0.5, 1)
    query = dict.fromkeys(documents[-1], 1.0)
    _, _, all_counters = candidates(query, n, arrays, len(documents), heap_factor=0, beta=0)
    docs, scores, counters = candidates(query, n, arrays, len(documents), heap_factor=1, beta=0.9)
    assert (counters <= all_counters).all()
    assert all(score > 0 for score in scores)
    assert len(docs) == len(set(docs))


def test_documents_of_many_terms_are_scored_whole():
    documents = [{term: 255 - term for term in range(N_TERMS)}, {0: 200, 29: 255}]
    arrays, _ = inverted(documents, np.uint32, 0.5, 1)
    docs, _, _ = candidates({29: 1.0}, 1, arrays, 2, heap_factor=0, beta=0)
    assert docs == [1]


def test_marks_of_earlier_queries_are_cleared_when_their_numbers_run_out():
    documents = [{0: 200}, {0: 100, 1: 50}]
    arrays, _ = inverted(documents, np.uint16, 0.5, 1)
    for epoch, mark in ((0, 0), (254, 1), (255, 1)):
        docs, _, _ = candidates({0: 1.0}, 2, arrays, 2, heap_factor=0, beta=0, epoch=epoch, mark=mark)
        assert docs == [0, 1]
