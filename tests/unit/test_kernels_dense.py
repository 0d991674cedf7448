"""The kernel that scores dense rows, against the oracle that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kernels import oracle
from index.kernels.dense import score_dense_rows

pytestmark = pytest.mark.kernels

numbers = st.floats(-4, 4, width=32)


def scored(rows, values, scale, query):
    scores = np.empty(len(rows), dtype=np.float32)
    arrays = [np.array(values, dtype=np.int8), np.array(scale, dtype=np.float32)]
    for array in arrays:
        array.setflags(write=False)
    score_dense_rows(np.array(rows, dtype=np.int64), *arrays, np.array(query, dtype=np.float32).astype(float), scores)
    return scores.tolist()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_row_scores_its_canonical_dot_product(data):
    dims = data.draw(st.integers(1, 37))
    n_docs = data.draw(st.integers(1, 6))
    steps = st.lists(st.integers(-128, 127), min_size=dims, max_size=dims)
    values = data.draw(st.lists(steps, min_size=n_docs, max_size=n_docs))
    some_scale = st.one_of(st.just(0.0), st.floats(2**-20, 4, width=32))
    scale = data.draw(st.lists(some_scale, min_size=n_docs, max_size=n_docs))
    query = data.draw(st.lists(numbers, min_size=dims, max_size=dims))
    rows = data.draw(st.lists(st.integers(0, n_docs - 1), max_size=12))
    assert scored(rows, values, scale, query) == oracle.dense_scores(rows, values, scale, query)


LARGE = 2.0**53  # in float64, LARGE + 1 is LARGE


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({0: LARGE, 1: 1, 8: 1, 16: -LARGE}, 1.0),  # lane 0 loses a one; lane 1 keeps its own, as no single sum would
        ({0: LARGE, 1: 1, 2: 1, 3: -LARGE}, 1.0),  # (0 + 1) loses a one, (2 + 3) keeps it
        ({4: LARGE, 6: 1, 0: -LARGE}, 0.0),  # ((4 + 5) + (6 + 7)) loses it ...
        ({4: LARGE, 6: 1, 7: 1, 0: -LARGE}, 2.0),  # ... but not two of them, which (6 + 7) adds before
    ],
)
def test_products_are_added_in_eight_lanes_and_the_lanes_in_pairs(query, expected):
    weights = [query.get(at, 0.0) for at in range(17)]
    values = [[1] * 17]
    assert scored([0], values, [1.0], weights) == oracle.dense_scores([0], values, [1.0], weights) == [expected]
