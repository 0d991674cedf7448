"""The kernels that number terms and invert documents, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.arrays.new_arrays import ArraysInMemory, new_documents
from index.canonical_weights import stored
from index.kernels import oracle
from index.kernels.lines import pack_documents
from index.kernels.numbering import fill_slots, number_terms
from index.kernels.postings import collect_largest, count_postings, fill_postings, keep_largest, sort_key

pytestmark = pytest.mark.kernels

N_TERMS = 16  # more than a line of 32-bit terms holds

documents = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), st.integers(1, 60).map(lambda n: n / 8), max_size=N_TERMS), max_size=30
)


def packed(rows, impact_type, term_type=np.uint32):
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    terms = np.array([term for row in rows for term in sorted(row)], dtype=np.uint32)
    values = np.array([row[term] for row in rows for term in sorted(row)], dtype=np.float32)
    kept = stored(values, impact_type)
    lines, scale = np.arange(len(rows), dtype=np.uint32), np.ones(N_TERMS, dtype=np.float32)
    made, links = new_documents(np.diff(start), np.dtype(term_type), kept.dtype, scale, ArraysInMemory())
    pack_documents(lines, start, terms, values, kept, links, made)
    return made


@settings(max_examples=40, deadline=None)
@given(documents, st.integers(1, 6), st.integers(1, 7), st.sampled_from(["float16", "float32"]))
def test_a_list_collected_in_pieces_keeps_the_largest_impacts(rows, n_keep, piece, impact_type):
    made = packed(rows, impact_type)
    lists = [[(doc, row[term]) for doc, row in enumerate(rows) if term in row] for term in range(N_TERMS)]
    room = [2 * n_keep if len(entries) > n_keep else len(entries) for entries in lists]
    start = np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
    filled, floors = np.zeros(N_TERMS, dtype=np.int64), np.full(N_TERMS, -1, dtype=np.int64)
    docs, keys = np.zeros(start[-1], dtype=np.uint32), np.zeros(start[-1], dtype=np.uint16)
    for first in range(0, len(rows), piece):
        last = min(len(rows), first + piece)
        collect_largest(first, last, made, n_keep, start, filled, floors, docs, keys)
    for term, entries in enumerate(lists):
        at = slice(start[term], start[term] + filled[term])
        if filled[term] > n_keep:
            keep_largest(docs[at], keys[at], n_keep)
        kept = docs[at][: min(n_keep, len(entries))].tolist()
        # The upper half of a float32 distinguishes eighths up to 7.5, too.
        assert kept == oracle.largest_postings([(doc, int(8 * impact)) for doc, impact in entries], n_keep)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_sort_keys_compare_as_impacts_do(dtype):
    impacts = np.array([0, 1e-7, 0.25, 0.5, 0.75, 1, 3, 700, 60_000], dtype=dtype)
    keys = [sort_key(impact) for impact in stored(impacts, np.dtype(dtype).name)]
    assert keys == sorted(set(keys))
    assert 0 <= keys[0] <= keys[-1] < 2**16


@settings(max_examples=40, deadline=None)
@given(documents, st.data())
def test_postings_of_a_range_are_counted_and_ascend(rows, data):
    first = data.draw(st.integers(0, len(rows)))
    last = data.draw(st.integers(first, len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    # Line i is that of document order[i].
    made = packed([rows[doc] for doc in order], "float16")
    lines = np.argsort(np.array(order, dtype=np.int64)).astype(np.uint32)[first:last]
    counts = np.full(N_TERMS, 99, dtype=np.int64)
    count_postings(lines, made, counts)
    expected = [[(doc - first, rows[doc][t]) for doc in range(first, last) if t in rows[doc]] for t in range(N_TERMS)]
    assert counts.tolist() == [len(entries) for entries in expected]
    docs, impacts = np.zeros(counts.sum(), dtype=np.uint16), np.zeros(counts.sum(), dtype=np.uint16)
    fill_postings(lines, made, np.cumsum(counts) - counts, docs, impacts)
    found = zip(docs.tolist(), impacts.view(np.float16).tolist(), strict=True)
    assert list(found) == [entry for entries in expected for entry in entries]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_terms_are_numbered_as_they_come_and_counted(entries):
    terms = np.array([term for term, _ in entries], dtype=np.uint32)
    keys = np.array([key for _, key in entries], dtype=np.uint16)
    slots, room = np.full(4, -1, dtype=np.int32), 2
    ids, frequencies, largest = np.zeros(room, np.uint32), np.zeros(room, np.int64), np.zeros(room, np.uint32)
    numbers = np.zeros(len(terms), dtype=np.uint32)
    done = n = 0
    while True:
        done, n = number_terms(done, terms, keys, slots, ids, frequencies, largest, n, numbers)
        if done == len(terms):
            break
        assert n == len(ids)  # it stops only when the table is half full
        slots = np.full(2 * len(slots), -1, dtype=np.int32)
        fill_slots(ids, slots)
        ids, frequencies, largest = (np.concatenate([held, held * 0]) for held in (ids, frequencies, largest))
    order = list(dict.fromkeys(terms.tolist()))
    assert ids[:n].tolist() == order
    assert numbers.tolist() == [order.index(term) for term in terms.tolist()]
    assert frequencies[:n].tolist() == [terms.tolist().count(term) for term in order]
    assert largest[:n].tolist() == [max(key for t, key in entries if t == term) for term in order]
