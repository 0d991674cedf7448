"""From hidden states to one weight a (text, term), without the batch x length x vocabulary logits.

SPLADE's head is `impact[b, v] = pool over i of f(hidden[b, i] @ weight[v] + bias[v])`. For pooling by maximum, f is
monotone, so the maximum of the raw products comes first, and bias and f are applied once per (b, v) instead of once
per (b, i, v). The vocabulary is taken in tiles that stay in the cache, and the texts lie one behind the other without
padding, so nothing larger than tokens x tile exists. Pooling by sum cannot swap the two, but is tiled the same way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.sides.settings import Activation, Pooling

_TILE = 2048  # terms; 4,096 tokens x 2,048 terms of bfloat16 are 16 MB


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
    """Return the weights float32 [len(lengths), vocabulary] of texts that lie one behind the other in `hidden`.

    hidden [sum(lengths), size] and weight [vocabulary, size] share a floating dtype; bias [vocabulary] or None;
    each length is at least 0, and a text of length 0 gets zeros. `scale` multiplies every logit. Inference only.
    """
    vocabulary = weight.shape[0]
    pooled = torch.zeros((len(lengths), vocabulary), dtype=torch.float32, device=hidden.device)
    if not any(lengths):
        return pooled
    if pooling is Pooling.FIRST:
        ends = torch.tensor(lengths, device=hidden.device).cumsum(0)
        starts = [int(end) - length for end, length in zip(ends, lengths, strict=True) if length]
        hidden, lengths = hidden[starts], [min(length, 1) for length in lengths]
    spans = _spans(lengths)
    rows = [row for row, _ in spans]
    for start in range(0, vocabulary, _TILE):
        stop = min(start + _TILE, vocabulary)
        logits = hidden @ weight[start:stop].T
        tile_bias = None if bias is None else bias[start:stop].float()
        tile = torch.empty((len(spans), stop - start), dtype=torch.float32, device=hidden.device)
        if pooling is Pooling.SUM:
            weights = _finish(logits.float(), tile_bias, scale, activation)
            for into, (_, span) in zip(tile, spans, strict=True):
                torch.sum(weights[span], dim=0, out=into)
        else:
            for into, (_, span) in zip(tile, spans, strict=True):
                into.copy_(logits[span].amax(dim=0))
            tile = _finish(tile, tile_bias, scale, activation)
        pooled[rows, start:stop] = tile
    return pooled


def _finish(logits: Tensor, bias: Tensor | None, scale: float, activation: Activation) -> Tensor:
    if bias is not None:
        logits = logits + bias
    if scale != 1.0:
        logits = logits * scale
    return activate(logits, activation)


def _spans(lengths: list[int]) -> list[tuple[int, slice]]:
    """Return (row, where its positions lie) of each text that is not empty."""
    spans, first = [], 0
    for row, length in enumerate(lengths):
        if length:
            spans.append((row, slice(first, first + length)))
        first += length
    return spans
