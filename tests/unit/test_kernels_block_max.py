"""The kernels of exact search by block maxima, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.canonical_weights import stored
from index.kernels import oracle
from index.kernels.block_bounds import BLOCK, BLOCKS
from index.kernels.block_max import fill_maxima, search_blocks
from index.kernels.exhaustive import WINDOW
from index.kernels.heap import best_of
from index.kernels.superblock_scores import SUPERBLOCK

pytestmark = pytest.mark.kernels

N_TERMS = 9
EVERY = np.zeros(0, dtype=np.bool_)


def rows_of(generator, n_docs, n_terms=N_TERMS):
    """Rows whose terms come in runs of lines, so that blocks differ; impacts in quarters, so that scores tie."""
    rows = []
    for doc in range(n_docs):
        likely = (doc // 50) % n_terms
        held = [t for t in range(n_terms) if generator.random() < (0.8 if t == likely else 0.25)]
        rows.append({t: float(generator.integers(1, 30)) / 4 for t in held})
    return rows


def windowed(rows, dtype, term_type):
    entries, terms, start, docs, impacts = [0], [], [0], [], []
    for base in range(0, len(rows), WINDOW):
        window = rows[base : base + WINDOW]
        for term in sorted(set().union(*window)):
            postings = [(doc, row[term]) for doc, row in enumerate(window) if term in row]
            terms.append(term)
            docs += [doc for doc, _ in postings]
            impacts += [impact for _, impact in postings]
            start.append(len(docs))
        entries.append(len(terms))
    return (
        np.array(entries, dtype=np.int64), np.array(terms, dtype=term_type), np.array(start, dtype=np.int64),
        np.array(docs, dtype=np.uint16), stored(np.array(impacts, dtype=np.float32), dtype),
    )  # fmt: skip


def scale_of(rows):
    largest = [max((row.get(term, 0.0) for row in rows), default=0.0) for term in range(N_TERMS)]
    return (np.maximum(np.float32(largest), np.float32(1e-3)) / np.float32(255)).astype(np.float32)


def maxima_of(rows, n_frequent, dtype="float16", term_type=np.uint16):
    n = -(-len(rows) // SUPERBLOCK)
    starts, blocks = np.zeros(n_frequent * n, np.uint16), np.zeros(n_frequent * n * BLOCKS, np.uint8)
    fill_maxima(n_frequent, *windowed(rows, dtype, term_type), scale_of(rows), starts, blocks)
    return starts, blocks


def search(
    rows,
    line_docs,
    query,
    k,
    n_frequent,
    dtype="float16",
    term_type=np.uint16,
    most_visits=1 << 30,
    allowed=EVERY,
    room=16,
):
    n = -(-len(rows) // SUPERBLOCK)
    keys = np.zeros(k + room, np.int64)
    size = search_blocks(
        len(rows), *windowed(rows, dtype, term_type), *maxima_of(rows, n_frequent, dtype, term_type), scale_of(rows),
        line_docs, np.array(sorted(query), dtype=np.uint32), np.float32([query[term] for term in sorted(query)]),
        allowed, np.zeros(n, np.uint16), np.zeros(WINDOW // 8, np.uint16),
        np.full(N_TERMS * n, 7, np.uint16), np.zeros(n + 1, np.int32),
        most_visits, k, keys,
    )  # fmt: skip
    if size < 0:
        return None
    ids, scores = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.float32)
    best_of(keys[:size], ids, scores)
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


def expected_of(rows, line_docs, query, k, allowed=None):
    scores = np.empty(len(rows), np.float32)
    scores[line_docs] = oracle.canonical_scores([sorted(row.items()) for row in rows], query)
    return oracle.brute_force(scores, k, allowed)


queries = st.dictionaries(
    st.integers(0, N_TERMS - 1), st.integers(1, 9).map(lambda n: float(np.float32(n / 3))), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 700),
    queries,
    st.integers(1, 40),
    st.integers(1, N_TERMS),
    st.sampled_from(["float16", "float32"]),
    st.sampled_from([np.uint16, np.uint32]),
)
def test_skipping_gives_the_brute_force_ranking_with_ties(seed, n_docs, query, k, n_frequent, dtype, term_type):
    generator = np.random.default_rng(seed)
    rows = rows_of(generator, n_docs)
    if not any(rows):
        rows[0] = {0: 1.0}
    line_docs = generator.permutation(n_docs).astype(np.uint32)
    allowed = generator.random(n_docs) < 0.3 if seed % 2 else None
    expected = expected_of(rows, line_docs, query, k, allowed)
    found = search(
        rows, line_docs, query, k, n_frequent, dtype, term_type, allowed=EVERY if allowed is None else allowed
    )
    assert found == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, N_TERMS))
def test_maxima_are_the_largest_impacts_rounded_up(seed, n_docs, n_frequent):
    rows = rows_of(np.random.default_rng(seed), n_docs)
    rows[0] = dict.fromkeys(range(N_TERMS), 0.25)
    starts, blocks = maxima_of(rows, n_frequent)
    scale, n = scale_of(rows).astype(np.float64), -(-n_docs // SUPERBLOCK)
    for term in range(n_frequent):
        for block in range(n * BLOCKS):
            largest = max((row.get(term, 0.0) for row in rows[block * BLOCK : (block + 1) * BLOCK]), default=0.0)
            assert blocks[term * n * BLOCKS + block] == min(255, int(np.ceil(largest / scale[term])))
        before = [sum(term in row for row in rows[: s * SUPERBLOCK]) for s in range(n)]
        assert starts[term * n : (term + 1) * n].tolist() == before


def test_windows_are_searched_as_one_collection():
    rows = [{} for _ in range(WINDOW + 200)]
    for line in (5, WINDOW - 1, WINDOW, WINDOW + 64, len(rows) - 1):
        rows[line] = {3: 1.0, 7: line % 3 + 1.0}
    line_docs = np.arange(len(rows), dtype=np.uint32)[::-1].copy()
    query = {3: 1.0, 7: 2.0}
    for n_frequent in (1, 4, 8):
        assert search(rows, line_docs, query, 4, n_frequent) == expected_of(rows, line_docs, query, 4)


def test_a_search_that_skips_little_gives_up():
    rows = rows_of(np.random.default_rng(1), 1000)
    line_docs = np.arange(1000, dtype=np.uint32)
    assert search(rows, line_docs, {0: 1.0, 1: 1.0}, 900, 2, most_visits=3) is None
    assert search(rows, line_docs, {0: 1.0, 1: 1.0}, 900, 2, most_visits=16) is not None
