"""The heap of the kernels, against sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kernels import oracle
from index.kernels.heap import (
    best_of,
    doc_of,
    key_of,
    offer,
    sketch_key_of,
    sketch_threshold_of,
    threshold_of,
)

pytestmark = pytest.mark.kernels

scores = st.lists(st.floats(2**-20, 2**20, width=32) | st.sampled_from([1.0, 2.0]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_heap_holds_the_best_documents_whatever_their_order(given_scores, k, random):
    heap, size = np.zeros(k, dtype=np.int64), 0
    offered = list(enumerate(given_scores))
    random.shuffle(offered)
    for number, (doc, score) in enumerate(offered):
        size = offer(key_of(doc, np.float32(score)), heap, size)
        so_far = sorted((score for _, score in offered[: number + 1]), reverse=True)
        assert threshold_of(heap, size) == (so_far[k - 1] if len(so_far) >= k else 0.0)
    ids, found = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.float32)
    best_of(heap[:size], ids, found)
    assert list(zip(ids.tolist(), found.tolist(), strict=True)) == oracle.brute_force(np.float32(given_scores), k)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 2**31 - 1) | st.integers(1, 4), max_size=40), st.integers(1, 12))
def test_sketch_scores_are_kept_as_canonical_ones_are(given_scores, k):
    heap, size = np.zeros(k, dtype=np.int64), 0
    for doc, score in enumerate(given_scores):
        size = offer(sketch_key_of(doc, score), heap, size)
    expected = sorted(enumerate(given_scores), key=lambda hit: (-hit[1], hit[0]))[:k]
    keys = np.sort(heap[:size])[::-1]
    assert [(doc_of(key), key >> 32) for key in keys] == expected
    assert sketch_threshold_of(heap, size) == (expected[-1][1] if size == k else 0)


def test_a_sketch_score_above_31_bits_is_cut_off_and_the_largest_document_fits():
    last = 2**32 - 2
    key = sketch_key_of(last, 2**40)
    assert key > 0
    assert (doc_of(key), key >> 32) == (last, 2**31 - 1)
    assert doc_of(key_of(last, np.float32(3.4e38))) == last
