"""One weight for each token of the text, and no expansion.

    weight[v] = max (or sum) over positions i with token v of f(linear(hidden[i]))

DeepCT (f = identity), DeepImpact and TILDEv2 (relu, on text that was expanded before), uniCOIL (relu; repeated query
tokens are summed, of repeated document tokens the maximum counts, as in Pyserini). The token CLS never counts with
`pool_special_positions`; without, no position counts that the tokenizer added.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.compute.projection import activate
from encoders.compute.transformer import Body
from encoders.settings import Pooling, SideSettings
from encoders.sides.transformer_side import TransformerSide
from encoders.text.tokenization import Tokenization


class MLPSide(TransformerSide):
    """A transformer and a linear layer from its hidden states to one number."""

    def __init__(
        self, tokenization: Tokenization, settings: SideSettings, body: Body, linear: nn.Linear, n_terms: int
    ) -> None:
        super().__init__(tokenization, settings, n_terms, body)
        self.linear = linear

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), n_terms]."""
        hidden = self.body(ids)
        weights = activate(self.linear(hidden).float()[:, 0] * self.settings.logit_scale, self.settings.activation)
        keep = torch.tensor([keep for one in ids for keep in self._counted(one)], device=hidden.device)
        weights = torch.where(keep, weights, 0.0)
        rows = torch.repeat_interleave(
            torch.arange(len(ids), device=hidden.device), torch.tensor([len(one) for one in ids], device=hidden.device)
        )
        flat = rows * self.n_terms + torch.tensor([token for one in ids for token in one], device=hidden.device)
        pooled = torch.zeros(len(ids) * self.n_terms, device=hidden.device)
        reduce = "sum" if self.settings.pooling is Pooling.SUM else "amax"
        pooled = pooled.scatter_reduce(0, flat, weights, reduce).view(len(ids), self.n_terms)
        if self.settings.zero_special_ids:
            pooled = pooled * self.ordinary
        return pooled

    def _counted(self, ids: list[int]) -> list[bool]:
        if self.settings.pool_special_positions:
            return [token != ids[0] for token in ids]  # Pyserini leaves out the token CLS, wherever it is
        return self.tokenization.own_positions(ids)
