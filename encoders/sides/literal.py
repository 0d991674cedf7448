"""A document side that starts as BM25 and learns from there: a literal residual path.

    weight[v]    = literal[v] if the text contains v, else expansion[v]
    literal[v]   = factor[v] * tf / (tf + k1 * (1 - b + b * length / average_length))
    factor[v]    = max over positions i with token v of relu(w . hidden[i] + c)           starts at w = 0, c = 1
    expansion[v] = log1p(relu(max over positions i of logit[i, v]))                       starts at or near 0

With idf as the query side, the dot product at the start is BM25 over word pieces, and everything learned adds to it.
The head does not change the text's own terms, which it would first have to learn to copy. tf and length are those of
the whole text; the model reads its first max_length tokens, and a token that occurs only later keeps the factor 1, so
a long text falls back to BM25 and not to zero. Special tokens have no weight. After PROSPER's literal residual
network, with BM25's saturation instead of a constant.

An expansion that starts at zero has no gradient through relu, so training uses a surrogate: the gradient of
log1p(softplus(x)), whose slope becomes small below zero instead of zero (a straight-through estimator, Bengio et al.
2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from encoders.compute.projection import activate, project_and_pool
from encoders.compute.sparse_gradient import project_and_pool_with_gradient
from encoders.compute.transformer import Body, Projection
from encoders.errors import SettingError
from encoders.settings import Activation, Pooling, SideSettings, Windows
from encoders.sides.bm25_impacts import BM25Impacts
from encoders.sides.masked_lm import MaskedLMSide
from encoders.text.tokenization import Tokenization


class LiteralSide(MaskedLMSide):
    """A masked language model's expansion on top of BM25 impacts times a learned factor."""

    def __init__(
        self,
        tokenization: Tokenization,
        settings: SideSettings,
        body: Body,
        projection: Projection,
        linear: nn.Linear,
    ) -> None:
        """`linear` [1, size] gives the factor; it stays in float32, so that at the start the factor is exactly 1."""
        if settings.windows is not Windows.TRUNCATE or settings.pooling is not Pooling.MAX:
            raise SettingError("a literal side reads one window and pools by maximum")
        super().__init__(tokenization, settings, body, projection)
        self.linear = linear.float()
        self._impacts = BM25Impacts(settings, tokenization, self.n_terms)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return every token of each text; `weights` drops the tokens that the model does not read."""
        return self.tokenization.ids(texts, truncate=False)

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), vocabulary]; `ids` are whole texts."""
        limit = self.settings.max_length
        # The last token is the closing special token, if the tokenizer has one.
        read = [one if limit is None or len(one) <= limit else one[: limit - 1] + one[-1:] for one in ids]
        hidden = self.body(read)
        literal, absent = self._literal(hidden, read, ids)
        return literal + self._expansion(hidden, read) * absent

    def _expansion(self, hidden: Tensor, read: list[list[int]]) -> Tensor:
        lengths = [len(one) for one in read]
        if not self.settings.pool_special_positions:
            keep = [self.tokenization.own_positions(one) for one in read]
            hidden = hidden[torch.tensor([k for one in keep for k in one], device=hidden.device)]
            lengths = [sum(one) for one in keep]
        training = torch.is_grad_enabled()
        logits = (project_and_pool_with_gradient if training else project_and_pool)(
            hidden,
            lengths,
            self.projection.weight,
            self.projection.bias,
            pooling=Pooling.MAX,
            activation=Activation.IDENTITY,
            scale=self.settings.logit_scale,
        )
        return (surrogate_log1p_relu(logits) if training else activate(logits, Activation.LOG1P_RELU)) * self.ordinary

    def _literal(self, hidden: Tensor, read: list[list[int]], ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the literal weights, and 1 for each term that is not in the text, float32 [len(ids), n_terms]."""
        keys, impacts = self._impacts(ids)
        read_keys, ordinary = self._impacts.keys(read)
        with torch.autocast(hidden.device.type, enabled=False):
            factors = torch.relu(self.linear(hidden.float())[:, 0])
        factor = torch.ones(len(keys), device=hidden.device).scatter_reduce(
            0,
            torch.searchsorted(keys, read_keys).to(hidden.device),
            factors[ordinary.to(hidden.device)],
            "amax",
            include_self=False,
        )
        keys, flat = keys.to(hidden.device), torch.zeros(len(ids) * self.n_terms, device=hidden.device)
        literal = flat.scatter(0, keys, impacts.to(hidden.device) * factor).view(len(ids), self.n_terms)
        return literal, torch.ones_like(flat).index_fill_(0, keys, 0.0).view(len(ids), self.n_terms)


def surrogate_log1p_relu(logits: Tensor) -> Tensor:
    """Return log1p(relu(x)) with the gradient of log1p(softplus(x)): never zero, but small far below zero."""
    weights: Tensor = _SurrogateLog1pRelu.apply(logits)  # type: ignore[no-untyped-call]
    return weights


class _SurrogateLog1pRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return torch.log1p(torch.relu(logits))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        return gradients[0] * torch.sigmoid(logits) / (1.0 + nn.functional.softplus(logits))
