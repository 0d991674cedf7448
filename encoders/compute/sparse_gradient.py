"""The vocabulary head with a gradient whose cost depends on the active terms, not on length x vocabulary.

The gradient of a maximum reaches only the winning position, and that of relu only the active terms. So the forward
pass finds winner and maximum of each (text, term) in vocabulary tiles and keeps nothing else; the backward pass
computes only products with a gradient: a few hundred (position, term) pairs per document instead of length x 30,522.

    logit[b, v] = hidden[winner[b, v]] @ weight[v] + bias[v]
    grad_hidden = S @ weight,  grad_weight = S.T @ hidden,  S[winner[b, v], v] = grad[b, v], sparse

Pooling by sum has no such property; its backward pass computes the logits again, tile by tile, so that memory stays
at tokens x tile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from encoders.compute.projection import activate, first_positions, spans_of, tiles
from encoders.settings import Activation, Pooling

_CHUNK = 65_536  # active pairs per step of the backward pass: x hidden size x 4 bytes


def project_and_pool_with_gradient(
    hidden: Tensor,
    lengths: list[int],
    weight: Tensor,
    bias: Tensor | None,
    *,
    pooling: Pooling,
    activation: Activation,
    scale: float = 1.0,
) -> Tensor:
    """Return what `projection.project_and_pool` returns, with gradients to hidden, weight and bias.

    Shapes as there. The head computes in float32 whatever the precision of the body, as training under autocast needs.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden, weight = hidden.float(), weight.float()
        bias = torch.zeros(weight.shape[0], device=weight.device) if bias is None else bias.float()
        if pooling is Pooling.FIRST:
            hidden, lengths = hidden[first_positions(lengths)], [min(length, 1) for length in lengths]
        if pooling is Pooling.SUM:
            pooled: Tensor = _SumOverPositions.apply(  # type: ignore[no-untyped-call]
                hidden, weight, bias, lengths, activation, scale
            )
            return pooled
        logits: Tensor = _MaxOverPositions.apply(hidden, weight, bias, lengths)  # type: ignore[no-untyped-call]
        there = torch.tensor(lengths, device=hidden.device)[:, None] > 0
        return torch.where(there, activate(logits * scale, activation), 0.0)


class _MaxOverPositions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
        shape = (len(lengths), weight.shape[0])
        best = torch.zeros(shape, device=hidden.device)
        winner = torch.zeros(shape, dtype=torch.int32, device=hidden.device)
        for tile in tiles(weight.shape[0]):
            logits = hidden @ weight[tile].T
            for row, span in spans_of(lengths):
                found = logits[span].max(dim=0)
                best[row, tile] = found.values
                winner[row, tile] = (found.indices + span.start).int()
        ctx.save_for_backward(hidden, weight, winner)
        return best + bias

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        (gradient,) = gradients
        hidden, weight, winner = ctx.saved_tensors
        rows, terms = gradient.nonzero(as_tuple=True)
        values = gradient[rows, terms]
        positions = winner[rows, terms].long()
        to_hidden = torch.zeros_like(hidden)
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None  # not of a frozen head
        for start in range(0, len(terms), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            factor = values[chunk, None]
            to_hidden.index_add_(0, positions[chunk], factor * weight[terms[chunk]])
            if to_weight is not None:
                to_weight.index_add_(0, terms[chunk], factor * hidden[positions[chunk]])
        return to_hidden, to_weight, gradient.sum(dim=0), None


class _SumOverPositions(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int], activation: Activation, scale: float
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias)
        ctx.rest = (lengths, activation, scale)
        pooled = torch.zeros((len(lengths), weight.shape[0]), device=hidden.device)
        for tile in tiles(weight.shape[0]):
            pooled[:, tile] = _summed(hidden, weight[tile], bias[tile], lengths, activation, scale)
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        (gradient,) = gradients
        hidden, weight, bias = (tensor.detach() for tensor in ctx.saved_tensors)
        hidden.requires_grad_()
        to_hidden, to_weight, to_bias = torch.zeros_like(hidden), torch.zeros_like(weight), torch.zeros_like(bias)
        for tile in tiles(weight.shape[0]):
            inputs = (hidden, weight[tile].requires_grad_(), bias[tile].requires_grad_())
            with torch.enable_grad():
                pooled = _summed(*inputs, *ctx.rest)
                found = torch.autograd.grad(pooled, inputs, gradient[:, tile])
            to_hidden += found[0]
            to_weight[tile], to_bias[tile] = found[1], found[2]
        return to_hidden, to_weight, to_bias, None, None, None


def _summed(
    hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int], activation: Activation, scale: float
) -> Tensor:
    """Return float32 [len(lengths), terms of the tile]."""
    weights = activate((hidden @ weight.T + bias) * scale, activation)
    return torch.stack([part.sum(dim=0) for part in torch.split(weights, lengths)])
