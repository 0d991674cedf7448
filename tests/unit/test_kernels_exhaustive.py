"""The kernels of exact search over full lists, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kernels import oracle
from index.kernels.exhaustive import best_of, impact_value, search_lists
from index.scoring import stored

pytestmark = pytest.mark.kernels

N_TERMS = 12
NOTHING = np.zeros(0, dtype=np.bool_)

documents = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 40).map(lambda n: n / 8), max_size=8),
    min_size=1,
    max_size=25,
)
queries = st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 9).map(float), min_size=1, max_size=6)


def search(rows, query, k, width, allowed, dtype):
    lists = [[(doc, row[term]) for doc, row in enumerate(rows) if term in row] for term in sorted(query)]
    start = np.concatenate([[0], np.cumsum([len(entries) for entries in lists])]).astype(np.int64)
    docs = np.array([doc for entries in lists for doc, _ in entries], dtype=np.uint32)
    impacts = stored(np.array([impact for entries in lists for _, impact in entries], dtype=np.float32), dtype)
    sums, heap = np.zeros(width, dtype=np.float64), np.zeros(k, dtype=np.int64)
    cursors = start[:-1].copy()
    size = 0
    # In two calls, as a search with a deadline makes them.
    middle = len(rows) // 2
    for first, last in ((0, middle), (middle, len(rows))):
        size = search_lists(
            first, last, docs, impacts, np.array([query[term] for term in sorted(query)], dtype=np.float32), cursors,
            start[1:], allowed, sums, np.zeros(width + 1, dtype=np.int64), heap, size,
        )  # fmt: skip
    assert not sums.any()
    ids, scores = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.float32)
    best_of(heap[:size], ids, scores)
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(documents, queries, st.integers(1, 9), st.integers(1, 12), st.sampled_from(["float16", "float32"]), st.data())
def test_exact_search_is_the_brute_force_ranking_with_ties(rows, query, k, width, dtype, data):
    allowed = NOTHING
    if data.draw(st.booleans()):
        allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    scores = np.float32(oracle.canonical_scores([sorted(row.items()) for row in rows], query))
    expected = oracle.brute_force(scores, k, allowed if len(allowed) else None)
    assert search(rows, query, k, width, allowed, dtype) == expected


def test_both_kernel_files_read_float16_alike():
    bits = np.arange(0, 0x7C00, 257).astype(np.uint16)
    assert [impact_value(b) for b in bits] == bits.view(np.float16).astype(np.float32).tolist()
