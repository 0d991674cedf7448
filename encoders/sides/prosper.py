"""PROSPER: a decoder's last position votes for every term, and its text's own terms are made up for where it is low.

    w  = log1p(relu(logits of the last position))
    w' = residual(log1p(relu(hidden state of the last position)))        a linear layer [vocabulary, size]
    W  = w + literal * (max(w') - w')                                    literal[v] = 1 if v is in the text, else 0

With causal attention only the last position has seen the whole text. A term of the text always gains; training raises
the gain of those that the model weighs too low, such as a model number of a product. W is the vector; the regulariser
is that of w alone, so a text keeps its own terms. Special tokens have no gain. In training the scores see only the
largest weights (encoders.training.losses.focus) and the queries have length 1. Song et al. 2025, "LLMs as Sparse
Retrievers: A Framework for First-Stage Product Search" (arXiv:2510.18527), equations 5 to 11.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.compute.projection import project_and_pool
from encoders.compute.sparse_gradient import project_and_pool_with_gradient
from encoders.compute.transformer import Body, Projection
from encoders.settings import Pooling, SideSettings
from encoders.sides.masked_lm import MaskedLMSide
from encoders.text.tokenization import Tokenization


class ProsperSide(MaskedLMSide):
    """A causal language model with its vocabulary head and the literal residual network."""

    def __init__(
        self,
        tokenization: Tokenization,
        settings: SideSettings,
        body: Body,
        projection: Projection,
        residual: nn.Linear,
    ) -> None:
        """`residual` [vocabulary, size] gives w', before its maximum."""
        super().__init__(tokenization, settings, body, projection)
        self.residual = residual

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return W, float32 [len(ids), vocabulary]."""
        return self.weights_and_base(ids)[0]

    def weights_and_base(self, ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return W and w, float32 [len(ids), vocabulary] each; zeros for a text without a token."""
        some = [one for one in ids if one]
        lengths = [min(len(one), 1) for one in ids]
        ends = torch.tensor([len(one) for one in some]).cumsum(0) - 1
        if not some:
            empty = torch.zeros((len(ids), self.n_terms), device=self.body.device)
            return empty, empty
        last = self.body(some)[ends.to(self.body.device)]
        pool = project_and_pool_with_gradient if torch.is_grad_enabled() else project_and_pool
        base = pool(
            last,
            lengths,
            self.projection.weight,
            self.projection.bias,
            pooling=Pooling.MAX,  # of one position
            activation=self.settings.activation,
            scale=self.settings.logit_scale,
        )
        with torch.autocast(last.device.type, enabled=False):
            reinforcing = self.residual(torch.log1p(torch.relu(last)).to(self.residual.weight.dtype)).float()
        gain = reinforcing.amax(dim=1, keepdim=True) - reinforcing
        filled = torch.tensor([length > 0 for length in lengths], device=last.device)
        every = torch.zeros_like(base).masked_scatter(filled[:, None].expand_as(base), gain)
        weights = base + self._presence(ids) * every
        if self.settings.zero_special_ids:
            weights, base = weights * self.ordinary, base * self.ordinary
        return weights, base
