"""SPLADE and its relatives: every position of the text votes for every term of the vocabulary.

    weight[v] = max (or sum) over positions i of f(logit[i, v]),   f = log1p(relu) in SPLADE

SPLADE (Formal et al. 2021, max pooling in v2), SPLADE-doc and OpenSearch's inference-free documents, SPARTA's
documents, TILDE (the CLS position alone), SPLADE-lexical (weights of the text's own tokens alone; in naver/splade
without padding, CLS, SEP and MASK, in sentence-transformers times a fixed weight of each token).
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.compute.projection import project_and_pool
from encoders.compute.sparse_gradient import project_and_pool_with_gradient
from encoders.compute.transformer import Body, Projection
from encoders.settings import SideSettings
from encoders.sides.transformer_side import TransformerSide
from encoders.text.tokenization import Tokenization


class MaskedLMSide(TransformerSide):
    """A masked language model with its vocabulary head."""

    def __init__(
        self,
        tokenization: Tokenization,
        settings: SideSettings,
        body: Body,
        projection: Projection,
        table: Tensor | None = None,
    ) -> None:
        """`table`, float32 [vocabulary], multiplies the weights of a `lexical` side, special tokens included."""
        super().__init__(tokenization, settings, int(projection.weight.shape[0]), body)
        self.projection = projection
        self.table = table
        # float32 [vocabulary]: 0 for the tokens that a lexical side without a table leaves out, as naver/splade does.
        self._counted = torch.ones_like(self.ordinary)
        left_out = tokenization.special_ids - {tokenization.unknown_id}
        self._counted[sorted(token for token in left_out if token < self.n_terms)] = 0.0

    @property
    def factors(self) -> Tensor:
        """float32 [vocabulary]: the factor of each token of a text on a `lexical` side."""
        return self._counted if self.table is None else self.table

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), vocabulary]."""
        hidden, lengths = self._read(ids)
        pool = project_and_pool_with_gradient if torch.is_grad_enabled() else project_and_pool
        weights = pool(
            hidden,
            lengths,
            self.projection.weight,
            self.projection.bias,
            pooling=self.settings.pooling,
            activation=self.settings.activation,
            scale=self.settings.logit_scale,
        )
        if self.settings.zero_special_ids:
            weights = weights * self.ordinary
        if self.settings.lexical:
            weights = weights * self._presence(ids)
        return weights

    def _read(self, ids: list[list[int]]) -> tuple[Tensor, list[int]]:
        """Return the hidden states that are pooled, and their number for each text."""
        hidden = self.body(ids)
        if self.settings.pool_special_positions:
            return hidden, [len(one) for one in ids]
        kept = [self.tokenization.own_positions(one) for one in ids]
        mask = torch.tensor([keep for one in kept for keep in one], device=hidden.device)
        return hidden[mask], [sum(one) for one in kept]

    def _presence(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), vocabulary]: the factor of each token of the text, 0 elsewhere."""
        presence = torch.zeros((len(ids), self.n_terms), device=self.ordinary.device)
        for row, one in zip(presence, ids, strict=True):
            row[one] = 1.0
        return presence * self.factors
