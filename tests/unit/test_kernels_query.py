"""The kernel that checks and renumbers one query, against its oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kernels import oracle
from index.kernels.query import number_query

pytestmark = pytest.mark.kernels

weights = st.one_of(
    st.floats(0, 100, width=32), st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf, 3.4028234663852886e38])
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 40), weights), max_size=12, unique_by=lambda pair: pair[0]),
    st.sets(st.integers(0, 40), max_size=30),
    st.booleans(),
    st.data(),
)
def test_a_query_is_numbered_or_found_to_be_not_plain(pairs, held, in_order, data):
    if in_order:
        pairs = sorted(pairs)
    lookup = sorted(held)
    numbers = data.draw(st.permutations(range(len(lookup))))
    frequencies = {number: number + 1 for number in numbers}
    ids, given_weights = [pair[0] for pair in pairs], [float(np.float32(pair[1])) for pair in pairs]
    terms, out, totals = np.zeros(12, np.uint32), np.zeros(12, np.float32), np.zeros(2)
    n = number_query(
        np.array(ids, dtype=np.int64), np.array(given_weights, dtype=np.float32), np.array(lookup, dtype=np.uint32),
        np.array(numbers, dtype=np.uint32), np.array([frequencies[i] for i in range(len(lookup))], dtype=np.uint32),
        terms, out, totals,
    )  # fmt: skip
    expected = oracle.numbered_query(ids, given_weights, dict(zip(lookup, numbers, strict=True)), frequencies)
    if expected is None:
        assert n == -1
        return
    assert list(zip(terms[:n].tolist(), out[:n].tolist(), strict=True)) == expected[0]
    assert totals.tolist() == pytest.approx(list(expected[1:]))
