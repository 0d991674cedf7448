"""The kernels of exact search over unpruned postings, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.canonical_weights import stored
from index.kernels import exhaustive, oracle
from index.kernels.exhaustive import find_entry, search_windows
from index.kernels.heap import best_of

pytestmark = pytest.mark.kernels

N_TERMS = 12
NOTHING = np.zeros(0, dtype=np.bool_)
NO_LINES = np.zeros(0, dtype=np.uint32)

documents = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 40).map(lambda n: n / 8), max_size=8),
    min_size=1,
    max_size=25,
)
queries = st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 9).map(float), min_size=1, max_size=6)


def windowed(rows, dtype, term_type):
    """Unpruned postings by windows, as `search_windows` reads them."""
    entries, terms, start, docs, impacts = [0], [], [0], [], []
    for base in range(0, len(rows), exhaustive.WINDOW):
        window = rows[base : base + exhaustive.WINDOW]
        for term in sorted(set().union(*window)):
            postings = [(doc, row[term]) for doc, row in enumerate(window) if term in row]
            terms.append(term)
            docs += [doc for doc, _ in postings]
            impacts += [impact for _, impact in postings]
            start.append(len(docs))
        entries.append(len(terms))
    kept = stored(np.array(impacts, dtype=np.float32), dtype)
    return (
        np.array(entries, dtype=np.int64), np.array(terms, dtype=term_type), np.array(start, dtype=np.int64),
        np.array(docs, dtype=np.uint16), kept,
    )  # fmt: skip


def search(rows, query, k, allowed, dtype, term_type=np.uint16, room=1):
    arrays = windowed(rows, dtype, term_type)
    sums, keys = np.zeros(exhaustive.WINDOW, dtype=np.float64), np.zeros(k + room, dtype=np.int64)
    found, sample = np.zeros(exhaustive.WINDOW + 1, dtype=np.int32), np.zeros(exhaustive.WINDOW, dtype=np.int64)
    found_sums = np.zeros(exhaustive.WINDOW + 1, dtype=np.float64)
    n_windows = len(arrays[0]) - 1
    size = 0
    # In two calls, as a search with a deadline makes them.
    for first, last in ((0, n_windows // 2), (n_windows // 2, n_windows)):
        size = search_windows(
            first, last, len(rows), NO_LINES, *arrays, np.array(sorted(query), dtype=np.uint32),
            np.float32([query[term] for term in sorted(query)]), allowed, sums, found,
            found_sums, sample, k, keys, size,
        )  # fmt: skip
    assert not sums.any()
    ids, scores = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.float32)
    best_of(keys[:size], ids, scores)
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(documents, queries, st.integers(1, 9), st.sampled_from(["float16", "float32"]), st.data())
def test_exact_search_is_the_brute_force_ranking_with_ties(rows, query, k, dtype, data):
    allowed = NOTHING
    if data.draw(st.booleans()):
        allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    term_type = data.draw(st.sampled_from([np.uint16, np.uint32]))
    scores = np.float32(oracle.canonical_scores([sorted(row.items()) for row in rows], query))
    expected = oracle.brute_force(scores, k, allowed if len(allowed) else None)
    room = data.draw(st.sampled_from([1, 2, 30]))
    assert search(rows, query, k, allowed, dtype, term_type, room) == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.booleans(), st.booleans())
def test_a_threshold_from_a_sample_leaves_no_document_out(seed, k, with_ties, filtered):
    generator = np.random.default_rng(seed)
    impacts = generator.integers(1, 5, 1500) / 4 if with_ties else generator.exponential(1.0, 1500) + 0.01
    rows = [
        {0: float(np.float16(impact))} if held else {}
        for impact, held in zip(impacts, generator.random(1500) < 0.9, strict=True)
    ]
    allowed = generator.random(1500) < 0.5 if filtered else NOTHING
    scores = np.float32(oracle.canonical_scores([sorted(row.items()) for row in rows], {0: 1.5}))
    expected = oracle.brute_force(scores, k, allowed if filtered else None)
    assert search(rows, {0: 1.5}, k, allowed, "float16", room=64) == expected


def test_windows_are_searched_as_one_collection():
    rows = [{} for _ in range(2 * exhaustive.WINDOW + 3)]
    for doc in (5, exhaustive.WINDOW - 1, exhaustive.WINDOW, 2 * exhaustive.WINDOW, len(rows) - 1):
        rows[doc] = {3: 1.0, 7: doc % 3 + 1.0}
    query = {3: 1.0, 7: 2.0, 9: 5.0}
    scores = np.float32(oracle.canonical_scores([sorted(row.items()) for row in rows], query))
    assert search(rows, query, 4, NOTHING, "float16") == oracle.brute_force(scores, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), unique=True).map(sorted), st.integers(0, 62), st.integers(0, 5))
def test_a_windows_term_is_found_where_it_is(terms, term, ahead):
    held = np.array([7] * ahead + terms + [9, 9], dtype=np.uint16)
    found = find_entry(held, ahead, ahead + len(terms), term)
    assert found == (ahead + terms.index(term) if term in terms else -1)
