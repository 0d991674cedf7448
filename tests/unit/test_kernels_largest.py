"""The k largest of many keys, against sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kernels.heap import key_of
from index.kernels.largest import keep, score_of, select_largest, threshold_from_sample

pytestmark = pytest.mark.kernels

values = st.lists(st.integers(0, 2**62) | st.integers(0, 3), min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(values, st.data())
def test_the_largest_come_first_and_the_smallest_of_them_is_returned(given_keys, data):
    k = data.draw(st.integers(1, len(given_keys)))
    keys = np.array([*given_keys, 7], dtype=np.int64)
    smallest = select_largest(keys, len(given_keys), k)
    expected = sorted(given_keys, reverse=True)
    assert sorted(keys[:k].tolist(), reverse=True) == expected[:k]
    assert smallest == expected[k - 1]
    assert sorted(keys[:-1].tolist(), reverse=True) == expected
    assert keys[-1] == 7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(2**-20, 2**20, width=32), min_size=1, max_size=80), st.integers(1, 9), st.integers(1, 20))
def test_a_buffer_keeps_the_best_and_its_threshold_is_never_too_high(scores, k, room):
    keys, size, threshold = np.zeros(k + room, dtype=np.int64), 0, np.float32(0.0)
    for doc, score in enumerate(scores):
        size, threshold = keep(key_of(doc, np.float32(score)), k, keys, size, threshold)
        so_far = sorted(scores[: doc + 1], reverse=True)
        assert threshold <= (so_far[k - 1] if len(so_far) >= k else 0.0)
        assert size < len(keys)
    kept = sorted((float(score_of(key)) for key in keys[:size]), reverse=True)
    assert kept[:k] == sorted(scores, reverse=True)[:k]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 500), st.booleans())
def test_at_least_k_sums_reach_the_threshold_from_a_sample(seed, n, k, with_ties):
    generator = np.random.default_rng(seed)
    sums = generator.integers(0, 4, n).astype(np.float64) if with_ties else generator.exponential(1.0, n)
    threshold = threshold_from_sample(sums, k, np.zeros(n // 16 + 1, dtype=np.int64))
    assert threshold == 0.0 or np.count_nonzero(sums.astype(np.float32) >= threshold) >= k


def test_a_threshold_from_a_sample_leaves_few_to_look_at():
    sums = np.random.default_rng(3).exponential(1.0, 1 << 16)
    for k, most in ((10, 400), (100, 1000), (1000, 1600)):
        threshold = threshold_from_sample(sums, k, np.zeros(1 << 16, dtype=np.int64))
        assert k <= np.count_nonzero(sums >= threshold) <= most
