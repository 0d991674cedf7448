"""Forward and backward pass of the vocabulary head: with all logits kept, and with the sparse gradient.

    python benchmarks/encoders_head_gradient.py

64 texts of 128 tokens, hidden size 384, 30,522 terms, about 100 active terms a text, float32.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor

from encoders.compute.projection import activate
from encoders.compute.sparse_gradient import project_and_pool_with_gradient
from encoders.settings import Activation, Pooling

TEXTS, LENGTH, SIZE, TERMS = 64, 128, 384, 30_522


def naive(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the weights by their definition."""
    logits = hidden.view(TEXTS, LENGTH, SIZE) @ weight.T + bias
    return activate(logits, Activation.LOG1P_RELU).amax(dim=1)


def sparse(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the same through the head of this project."""
    return project_and_pool_with_gradient(
        hidden, [LENGTH] * TEXTS, weight, bias, pooling=Pooling.MAX, activation=Activation.LOG1P_RELU
    )


def main() -> None:
    """Measure each in its own process."""
    if len(sys.argv) == 1:
        for name in ("naive", "sparse"):
            subprocess.run([sys.executable, __file__, name], check=True)
        return
    name = sys.argv[1]
    torch.manual_seed(0)
    hidden, weight = torch.randn(TEXTS * LENGTH, SIZE), torch.randn(TERMS, SIZE) * 0.05
    # The maximum of 128 standard normals, times the logits' spread, minus a number that leaves 100 of 30,522 above 0.
    bias = torch.full((TERMS,), -0.05 * SIZE**0.5 * 4.1)
    inputs = [tensor.requires_grad_() for tensor in (hidden, weight, bias)]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        weights = (naive if name == "naive" else sparse)(*inputs)
        weights.square().sum().backward()
        times.append(time.perf_counter() - started)
    print(
        json.dumps(
            {
                "head": name,
                "seconds": round(min(times), 3),
                "active_terms": round(float((weights > 0).sum() / TEXTS)),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
