"""From hidden states to one weight per (text, term), without the batch x length x vocabulary logits.

SPLADE's head is `impact[b, v] = pool over i of f(hidden[b, i] @ weight[v] + bias[v])`. For pooling by maximum, f is
monotone, so the maximum of the raw products comes first, and bias and f are applied once per (b, v) instead of once
per (b, i, v). The vocabulary is processed in tiles that stay in the cache, and the texts are stored one after the
other without padding, so nothing larger than tokens x tile exists. Pooling by sum cannot swap the two steps, but uses
the same tiles.

On CUDA one fused kernel computes the maximum where Triton is installed (projection_gpu), with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.settings import Activation, Pooling

_TILE = 2048  # terms; 4,096 tokens x 2,048 terms of bfloat16, or 2,048 tokens of float32, are 16 MiB


def activate(logits: Tensor, activation: Activation) -> Tensor:
    """Return f of each logit, same shape and dtype."""
    match activation:
        case Activation.RELU:
            return F.relu(logits)
        case Activation.LOG1P_RELU:
            return torch.log1p(F.relu(logits))
        case Activation.LOG1P_LOG1P_RELU:
            return torch.log1p(torch.log1p(F.relu(logits)))
        case Activation.LOG1P_SOFTPLUS:
            return torch.log1p(F.softplus(logits))
        case Activation.IDENTITY:
            return logits


def project_and_pool(
    hidden: Tensor,
    lengths: list[int],
    weight: Tensor,
    bias: Tensor | None,
    *,
    pooling: Pooling,
    activation: Activation,
    scale: float = 1.0,
) -> Tensor:
    """Return the weights float32 [len(lengths), vocabulary] of texts that are stored one after the other in `hidden`.

    hidden [sum(lengths), size] and weight [vocabulary, size] share a floating dtype; bias [vocabulary] or None;
    each length is at least 0, and the weights of a text of length 0 are zeros. `scale` multiplies every logit. For
    inference only: `sparse_gradient` has the version with a gradient.
    """
    pooled = torch.zeros((len(lengths), weight.shape[0]), dtype=torch.float32, device=hidden.device)
    if not any(lengths):
        return pooled
    if pooling is Pooling.FIRST:
        hidden, lengths = hidden[first_positions(lengths)], [min(length, 1) for length in lengths]
    spans = spans_of(lengths)
    rows = [row for row, _ in spans]
    if pooling is not Pooling.SUM and _is_fused(hidden):
        from encoders.compute.projection_gpu import running_maximum

        best = running_maximum(hidden, [span for _, span in spans], weight)
        pooled[rows] = _finish(best, None if bias is None else bias.float(), scale, activation)
        return pooled
    for tile in tiles(weight.shape[0]):
        logits = F.linear(hidden, weight[tile])
        tile_bias = None if bias is None else bias[tile].float()
        found = torch.empty((len(spans), logits.shape[1]), dtype=torch.float32, device=hidden.device)
        if pooling is Pooling.SUM:
            weights = _finish(logits.float(), tile_bias, scale, activation)
            for into, (_, span) in zip(found, spans, strict=True):
                torch.sum(weights[span], dim=0, out=into)
        else:
            for into, (_, span) in zip(found, spans, strict=True):
                into.copy_(logits[span].amax(dim=0))
            found = _finish(found, tile_bias, scale, activation)
        pooled[rows, tile] = found
    return pooled


def tiles(vocabulary: int) -> Iterator[slice]:
    """Yield consecutive ranges of terms."""
    for start in range(0, vocabulary, _TILE):
        yield slice(start, min(start + _TILE, vocabulary))


def spans_of(lengths: list[int]) -> list[tuple[int, slice]]:
    """Return (row, slice of its positions) of each text that is not empty."""
    spans, first = [], 0
    for row, length in enumerate(lengths):
        if length:
            spans.append((row, slice(first, first + length)))
        first += length
    return spans


def first_positions(lengths: list[int]) -> list[int]:
    """Return the first position of each text that is not empty."""
    return [span.start for _, span in spans_of(lengths)]


def _is_fused(hidden: Tensor) -> bool:
    return hidden.is_cuda and find_spec("triton") is not None


def _finish(logits: Tensor, bias: Tensor | None, scale: float, activation: Activation) -> Tensor:
    if bias is not None:
        logits = logits + bias
    if scale != 1.0:
        logits = logits * scale
    return activate(logits, activation)
