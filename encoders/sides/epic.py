"""EPIC's documents: expansion by prediction of importance with contextualization.

    weight[v]     = quality * max over positions i of importance[i] * f(logit[i, v])
    importance[i] = f(a . state[i] + c)                f(x) = log1p(softplus(x))
    quality       = sigmoid(d . state[CLS] + e)

A position votes for the vocabulary with the weight of its own token in the text, and the quality of the text scales
all weights (MacAvaney et al. 2020, as in OpenNIR; `state` is the input of the masked-LM head). f is never zero, so a
document is dense until it is cut to its largest weights: `max_active_dims`. The importance is inside the maximum, so
the activation has to come before it; tiles are still possible.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from encoders.compute.projection import activate, first_positions, tiles
from encoders.compute.transformer import Body, Projection
from encoders.settings import Activation, SideSettings
from encoders.sides.masked_lm import MaskedLMSide
from encoders.text.tokenization import Tokenization


class EpicSide(MaskedLMSide):
    """A masked language model whose positions vote with a learned importance, and a quality of the text."""

    def __init__(
        self,
        tokenization: Tokenization,
        settings: SideSettings,
        body: Body,
        projection: Projection,
        linear: nn.Linear,
    ) -> None:
        """`linear` [2, size] gives importance and quality, before their functions."""
        super().__init__(tokenization, settings, body, projection)
        self.linear = linear

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), vocabulary]."""
        hidden, states = self.body.with_states(ids)
        scores = self.linear(states).float()
        quality = torch.sigmoid(scores[first_positions([len(one) for one in ids]), 1])
        importance = activate(scores[:, 0], Activation.LOG1P_SOFTPLUS)
        everywhere = self.settings.pool_special_positions
        kept = [[True] * len(one) if everywhere else self.tokenization.own_positions(one) for one in ids]
        mask = torch.tensor([keep for one in kept for keep in one], device=hidden.device)
        lengths = [sum(one) for one in kept]
        hidden, importance = hidden[mask], importance[mask]
        weight, bias = self.projection.weight, self.projection.bias
        parts = []
        for tile in tiles(self.n_terms):
            inputs = (hidden, importance, weight[tile], None if bias is None else bias[tile], lengths)
            # With a gradient a tile is computed twice, so that the logits of all tiles never exist together.
            grad = torch.is_grad_enabled()
            parts.append(checkpoint(self._pool, *inputs, use_reentrant=False) if grad else self._pool(*inputs))
        weights = torch.cat(parts, dim=1) * quality[:, None]
        return weights * self.ordinary if self.settings.zero_special_ids else weights

    def _pool(
        self, hidden: Tensor, importance: Tensor, weight: Tensor, bias: Tensor | None, lengths: list[int]
    ) -> Tensor:
        """Return float32 [len(lengths), terms of the tile]; zeros for a text without a counted position."""
        logits = (hidden @ weight.T).float()
        if bias is not None:
            logits = logits + bias.float()
        votes = activate(logits * self.settings.logit_scale, self.settings.activation) * importance[:, None]
        none = votes.new_zeros(votes.shape[1])
        return torch.stack([part.amax(dim=0) if len(part) else none for part in torch.split(votes, lengths)])


class ScaledEpicSide(EpicSide):
    """EPIC as the LSR framework computes it: the importance scales the logits, before f, and a position that the
    tokenizer adds votes with a logit of 0.

    weight[v] = quality * max(f(0), max over positions i of f(importance[i] * logit[i, v]))
    """

    def _pool(
        self, hidden: Tensor, importance: Tensor, weight: Tensor, bias: Tensor | None, lengths: list[int]
    ) -> Tensor:
        """Return float32 [len(lengths), terms of the tile]; f(0) for a text without a counted position."""
        logits = (hidden @ weight.T).float()
        if bias is not None:
            logits = logits + bias.float()
        votes = activate(logits * self.settings.logit_scale * importance[:, None], self.settings.activation)
        least = activate(votes.new_zeros(votes.shape[1]), self.settings.activation)
        parts = torch.split(votes, lengths)
        return torch.stack([torch.maximum(part.amax(dim=0), least) if len(part) else least for part in parts])
