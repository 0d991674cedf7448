"""The Triton kernel against its definition, in Triton's interpreter: no GPU needed, only `pip install triton`.

With a GPU, TRITON_INTERPRET=0 runs the same tests compiled.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from encoders.compute import projection
from encoders.compute.projection import project_and_pool
from encoders.settings import Activation, Pooling

LENGTHS = [70, 1, 0, 64, 3]  # more than a block of positions, one, none, a block exactly, a few
N_TERMS, SIZE = 150, 72  # neither is a multiple of a block
DEVICE = "cpu" if os.environ["TRITON_INTERPRET"] == "1" else "cuda"
# The interpreter multiplies bfloat16 as if the bits were integers: a documented limitation.
DTYPES = [torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])]


@pytest.fixture
def fused() -> Any:
    """The kernel's module."""
    pytest.importorskip("triton", reason="triton is not installed; CUDA builds of torch bring it")
    from encoders.compute import projection_gpu

    return projection_gpu


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fused_kernel_takes_the_maximum_of_each_text_and_term(fused: Any, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(sum(LENGTHS), SIZE, generator=generator).to(DEVICE, dtype)
    weight = torch.randn(N_TERMS, SIZE, generator=generator).to(DEVICE, dtype)
    spans = [span for _, span in projection.spans_of(LENGTHS)]
    expected = torch.stack([(hidden[span].double() @ weight.double().T).amax(dim=0) for span in spans])
    found = fused.running_maximum(hidden, spans, weight)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("pooling", [Pooling.MAX, Pooling.FIRST])
def test_the_head_gives_the_same_weights_fused_and_in_tiles(
    fused: Any, monkeypatch: pytest.MonkeyPatch, pooling: Pooling
) -> None:
    generator = torch.Generator().manual_seed(1)
    arguments = (
        torch.randn(sum(LENGTHS), SIZE, generator=generator).to(DEVICE),
        LENGTHS,
        torch.randn(N_TERMS, SIZE, generator=generator).to(DEVICE),
        torch.randn(N_TERMS, generator=generator).to(DEVICE),
    )
    monkeypatch.setattr(projection, "_is_fused", lambda hidden: False)
    tiled = project_and_pool(*arguments, pooling=pooling, activation=Activation.LOG1P_RELU, scale=0.5)
    monkeypatch.setattr(projection, "_is_fused", lambda hidden: True)
    together = project_and_pool(*arguments, pooling=pooling, activation=Activation.LOG1P_RELU, scale=0.5)
    assert (tiled[2] == 0).all()
    assert tiled.max() > 1
    assert (tiled - together).abs().max() < 1e-5
