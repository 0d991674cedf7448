"""SPLADE and its relatives: every position of the text votes for every term of the vocabulary.

    weight[v] = max (or sum) over positions i of f(logit[i, v]),   f = log1p(relu) in SPLADE

SPLADE (Formal et al. 2021, max pooling in v2), SPLADE-doc and OpenSearch's inference-free documents, SPARTA's
documents, TILDE (the CLS position alone), SPLADE-lexical (weights of the text's own tokens alone).
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.projection import project_and_pool
from encoders.sides.settings import SideSettings
from encoders.sides.transformer_side import TransformerSide
from encoders.tokenization import Tokenization
from encoders.transformer import Body, Projection


class MaskedLMSide(TransformerSide):
    """A masked language model with its vocabulary head."""

    def __init__(self, tokenization: Tokenization, settings: SideSettings, body: Body, projection: Projection) -> None:
        super().__init__(tokenization, settings, int(projection.weight.shape[0]), body.device)
        self._body = body
        self._projection = projection
        self._special = torch.tensor(sorted(tokenization.special_ids), dtype=torch.int64, device=body.device)

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), vocabulary]."""
        hidden = self._body(ids)
        lengths = [len(one) for one in ids]
        if not self.settings.pool_special_positions:
            kept = [[token not in self.tokenization.special_ids for token in one] for one in ids]
            hidden = hidden[torch.tensor([keep for one in kept for keep in one], device=hidden.device)]
            lengths = [sum(one) for one in kept]
        weights = project_and_pool(
            hidden,
            lengths,
            self._projection.weight,
            self._projection.bias,
            pooling=self.settings.pooling,
            activation=self.settings.activation,
            scale=self.settings.logit_scale,
        )
        if self.settings.zero_special_ids:
            weights[:, self._special] = 0.0
        if self.settings.lexical:
            weights = weights * self._presence(ids)
        return weights

    def _presence(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), vocabulary]: 1 for each token of the text that is not a special one."""
        presence = torch.zeros((len(ids), self._n_terms), device=self._body.device)
        for row, one in zip(presence, ids, strict=True):
            row[torch.tensor(one, device=presence.device)] = 1.0
        presence[:, self._special] = 0.0
        return presence
