"""The largest weights of a pooled head in one pass, against the same in separate passes of torch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from encoders.compute.head_rows import HeadRows
from encoders.compute.rows import to_csr
from encoders.settings import Family, SideSettings
from encoders.sides.rows import prune


def drawn(rows: int, n_terms: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Small integers, so that weights tie: head, bias, factor, pooled vectors."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n_terms, 3), (n_terms,), (n_terms,), (rows, 3))
    head, bias, factor, pooled = (
        torch.randint(-3, 4, shape, generator=generator, dtype=torch.float32) for shape in shapes
    )
    return head, bias - 2.0, factor, pooled


def in_separate_passes(
    parts: tuple[torch.Tensor, ...], known: np.ndarray, keys: np.ndarray, impacts: np.ndarray, limit: int | None
) -> csr_array:
    head, bias, factor, pooled = parts
    weights = torch.relu(pooled @ head.T + bias)
    weights[:, 0] = 0.0  # the silent term
    weights[torch.from_numpy(~known)] = 0.0
    n_terms = len(bias)
    weights.view(-1)[torch.from_numpy(keys)] += torch.from_numpy(impacts) * torch.relu(factor)[keys % n_terms]
    return prune(to_csr(weights), SideSettings(family=Family.POOLED, max_active_dims=limit))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 5),
    n_terms=st.integers(1, 70),
    limit=st.none() | st.integers(1, 40),
    seed=st.integers(0, 1000),
    halves=st.booleans(),
)
def test_one_pass_finds_what_separate_passes_find(
    rows: int, n_terms: int, limit: int | None, seed: int, halves: bool
) -> None:
    rng = np.random.default_rng(seed)
    parts = drawn(rows, n_terms, seed)
    known = rng.random(rows) < 0.8
    keys = np.flatnonzero((rng.random(rows * n_terms) < 0.2) & (np.arange(rows * n_terms) % n_terms > 0))
    impacts = rng.integers(1, 3, len(keys)).astype(np.float32)
    if halves:  # 127 in each row, so that the steps of bfloat16 are integers and the result is exact
        parts[0][:, 0] = 127.0
        parts[3][:, 0] = 0.0
    head, bias, factor, pooled = parts
    rows_of = HeadRows(head, bias, factor, torch.tensor([0]), halves=halves)
    found = rows_of(pooled.numpy(), known, keys, impacts, limit)
    wanted = in_separate_passes(parts, known, keys, impacts, limit)
    assert found.shape == wanted.shape
    np.testing.assert_array_equal(found.indptr, wanted.indptr)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.data, wanted.data)


def test_a_head_in_int8_loses_nothing_in_bfloat16() -> None:
    rng = np.random.default_rng(1)
    integers = rng.integers(-127, 128, (50, 16)).astype(np.float32)
    integers[:, 3] = 127.0
    weight = torch.from_numpy(integers * rng.uniform(0.001, 0.02, (50, 1)).astype(np.float32))
    pooled = torch.from_numpy(rng.normal(size=(4, 16)).astype(np.float32)).bfloat16().float()
    rows_of = HeadRows(weight, torch.zeros(50), torch.zeros(50), torch.tensor([], dtype=torch.int64), halves=True)
    no_keys, no_impacts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    found = rows_of(pooled.numpy(), np.ones(4, dtype=np.bool_), no_keys, no_impacts, None).toarray()
    exact = torch.relu(pooled @ weight.T).numpy()
    # The product itself is rounded to bfloat16, which has 8 bits.
    np.testing.assert_allclose(found, exact, rtol=2**-8, atol=1e-6)
    rounded = torch.relu(pooled @ weight.bfloat16().float().T).numpy()
    assert np.abs(rounded - exact).max() > 1e-4  # a head that is rounded itself differs


def test_no_texts_have_no_rows() -> None:
    head, bias, factor, _ = drawn(1, 20, 1)
    rows_of = HeadRows(head, bias, factor, torch.tensor([0]), halves=False)
    none = np.empty((0, 3), dtype=np.float32)
    found = rows_of(none, np.empty(0, np.bool_), np.empty(0, np.int64), np.empty(0, np.float32), 5)
    assert found.shape == (0, 20)


@pytest.mark.parametrize("halves", [False, True])
def test_the_head_is_not_changed(halves: bool) -> None:
    head, bias, factor, pooled = drawn(2, 20, 4)
    before = [part.clone() for part in (head, bias, factor)]
    rows_of = HeadRows(head, bias, factor, torch.tensor([0]), halves=halves)
    rows_of(pooled.numpy(), np.ones(2, np.bool_), np.empty(0, np.int64), np.empty(0, np.float32), 3)
    for part, was in zip((head, bias, factor), before, strict=True):
        torch.testing.assert_close(part, was)
