"""Float32 products by oneDNN: the same numbers, and only inside its context."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import encoders.compute.device as module
from encoders.compute.device import ThroughOneDNN


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every product that oneDNN computed."""
    rows: list[int] = []
    compute = torch.ops.mkldnn._linear_pointwise

    def count(inputs: torch.Tensor, *rest: object) -> torch.Tensor:
        rows.append(inputs.numel() // inputs.shape[-1])
        return compute(inputs, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", count)
    return rows


@pytest.mark.parametrize("bias", [False, True])
def test_the_products_are_those_of_torch(counted: list[int], bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 70, bias=bias)
    inputs = torch.randn(4, 100, 48)
    with torch.inference_mode():
        expected = layer(inputs)
        with ThroughOneDNN():
            found = layer(inputs)
            tile = F.linear(inputs.flatten(0, 1), layer.weight[10:40])
    assert (found - expected).abs().max() < 1e-5
    assert (tile - inputs.flatten(0, 1) @ layer.weight[10:40].T).abs().max() < 1e-5
    assert counted == [400, 400]


def test_gradients_half_precision_and_few_rows_stay_with_torch(counted: list[int]) -> None:
    layer = torch.nn.Linear(8, 8)
    many = torch.randn(300, 8)
    with ThroughOneDNN():
        layer(many).sum().backward()
        with torch.inference_mode():
            layer(many[:9])
            F.linear(many.bfloat16(), layer.weight.bfloat16())
    assert layer.weight.grad is not None
    assert counted == []


@pytest.mark.parametrize(("helps", "rows", "products"), [(True, 300, 1), (True, 200, 0), (False, 300, 0)])
def test_onednn_is_used_where_it_helps_and_for_many_rows(
    counted: list[int], monkeypatch: pytest.MonkeyPatch, helps: bool, rows: int, products: int
) -> None:
    monkeypatch.setattr(module, "_HELPS", helps)
    with torch.inference_mode(), module.float32_products(rows):
        torch.nn.Linear(8, 8)(torch.randn(rows, 8))
    assert len(counted) == products
