"""Batches, sparse rows and the vocabulary head against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from encoders.compute import projection
from encoders.compute.batches import MAX_ROWS, token_batches
from encoders.compute.projection import activate, project_and_pool
from encoders.compute.sparse_gradient import project_and_pool_with_gradient
from encoders.settings import Activation, Pooling, SideSettings, Windows
from encoders.sides.rows import merge_windows, prune

weights = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 2.0]),
)


@given(st.lists(st.integers(0, 300), max_size=300), st.integers(1, 1000), st.none() | st.integers(0, 100))
def test_batches_hold_each_text_once_and_few_tokens(
    lengths: list[int], max_tokens: int, max_padding: int | None
) -> None:
    batches = list(token_batches(lengths, max_tokens, max_padding))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[position] for position in batch)
        assert len(batch) == 1 or len(batch) * width <= max_tokens
        assert len(batch) <= MAX_ROWS
        assert max_padding is None or sum(width - lengths[position] for position in batch) <= max_padding


@given(weights, st.data())
def test_windows_merge_as_the_dense_rows_do(dense: np.ndarray, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 5))
    owners = sorted(data.draw(st.lists(st.integers(0, rows - 1), min_size=len(dense), max_size=len(dense))))
    for how, reduce in ((Windows.MAX, np.max), (Windows.SUM, np.sum)):
        expected = np.zeros((rows, dense.shape[1]), dtype=np.float32)
        for row in set(owners):
            expected[row] = reduce(dense[[i for i, owner in enumerate(owners) if owner == row]], axis=0)
        merged = merge_windows(csr_array(dense), owners, rows, how)
        assert merged.has_canonical_format
        assert np.array_equal(merged.toarray(), expected)


@given(weights, st.none() | st.integers(1, 10), st.sampled_from([0.0, 0.3, 0.5]))
def test_pruning_keeps_the_largest(dense: np.ndarray, limit: int | None, ratio: float) -> None:
    expected = np.zeros_like(dense)
    for row, values in enumerate(dense):
        order = [i for i in np.argsort(-values, kind="stable") if values[i] > ratio * values.max()]
        expected[row, order[:limit]] = values[order[:limit]]
    found = prune(csr_array(dense), SideSettings(max_active_dims=limit, prune_ratio=ratio))
    assert np.array_equal(found.toarray(), expected)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_TILE", 4)


def dense_head(
    hidden: torch.Tensor,
    lengths: list[int],
    weight: torch.Tensor,
    bias: torch.Tensor,
    pooling: Pooling,
    activation: Activation,
) -> torch.Tensor:
    votes = activate((hidden @ weight.T + bias) * 0.7, activation)
    rows, start = [], 0
    for length in lengths:
        text = votes[start : start + length]
        start += length
        if not length:
            rows.append(torch.zeros(weight.shape[0], dtype=hidden.dtype))
        elif pooling is Pooling.SUM:
            rows.append(text.sum(dim=0))
        else:
            rows.append(text[0] if pooling is Pooling.FIRST else text.amax(dim=0))
    return torch.stack(rows)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("pooling", list(Pooling))
@pytest.mark.parametrize("activation", [a for a in Activation if a is not Activation.IDENTITY])
def test_the_head_and_its_sparse_gradient_are_those_of_the_dense_one(pooling: Pooling, activation: Activation) -> None:
    generator = torch.Generator().manual_seed(7)
    for lengths in ([3, 0, 5, 1], [2], [0], [1, 1, 1]):
        tensors = [torch.randn(size, generator=generator) for size in ((sum(lengths), 6), (11, 6), (11,))]
        exact = [tensor.double().requires_grad_() for tensor in tensors]
        ours = [tensor.clone().requires_grad_() for tensor in tensors]
        expected = dense_head(exact[0], lengths, *exact[1:], pooling, activation)
        kwargs = {"pooling": pooling, "activation": activation, "scale": 0.7}
        found = project_and_pool_with_gradient(ours[0], lengths, *ours[1:], **kwargs)
        assert torch.allclose(found.double(), expected, atol=1e-5)
        with torch.inference_mode():
            assert torch.allclose(project_and_pool(tensors[0], lengths, *tensors[1:], **kwargs), found, atol=1e-5)
        if not any(lengths):
            continue
        upstream = torch.randn(expected.shape, generator=generator)
        (found * upstream).sum().backward()
        (expected * upstream.double()).sum().backward()
        for mine, theirs in zip(ours, exact, strict=True):
            assert torch.allclose(mine.grad.double(), theirs.grad, atol=1e-4)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_a_head_without_bias_and_in_bfloat16(lengths: list[int]) -> None:
    hidden, weight = torch.randn(sum(lengths), 8), torch.randn(30, 8)
    found = project_and_pool(
        hidden.bfloat16(), lengths, weight.bfloat16(), None, pooling=Pooling.MAX, activation=Activation.RELU
    )
    expected = dense_head(hidden, lengths, weight / 0.7, torch.zeros(30), Pooling.MAX, Activation.RELU)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=0.2, rtol=0.05)
