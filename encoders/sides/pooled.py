"""BM25 impacts, and an expansion from the pooled vector that a dense retriever computes for the text.

    weight[v]    = factor[v] * impact[v] + relu(u_v . p + b_v)
    p            = mean of the hidden states of the first max_length tokens, normalised to length 1
    impact[v]    = BM25's over word pieces (encoders.sides.bm25_impacts), 0 where v is not in the text

A vocabulary head reads every position, which costs a small model as much as its body. Here the body is a dense
retriever, whose pooled vector already represents the topic of the text; its product with one static vector per term
gives the terms that belong to the topic: TILDE's head (one position, Zhuang & Zuccon 2021) on a trained embedding.
With idf queries the score is

    sum over v of q of idf[v] * factor[v] * impact[v]    +    sum over v of q of idf[v] * relu(u_v . p + b_v)

which is BM25 plus, apart from the relu, the product of p with the sum of the query's term vectors: a dense retriever
with a bag of words as its query side. It is sparse because b is negative. Special tokens have no weight.

Where the model reads no word that it knows (an emoji, 300 times x: [UNK] only), p says nothing: there is no expansion,
and the dense vector is zeros, as for an empty text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from encoders.compute.batches import compute_each
from encoders.compute.device import float32_products
from encoders.compute.head_rows import HeadRows
from encoders.compute.rows import in_order, to_csr
from encoders.compute.static_body import StaticBody
from encoders.compute.transformer import Body
from encoders.errors import SettingError
from encoders.settings import SideSettings, Windows
from encoders.sides.bm25_impacts import BM25Impacts
from encoders.sides.dense import without_blank
from encoders.sides.rows import prune
from encoders.sides.transformer_side import TransformerSide, work_on_each
from encoders.text.tokenization import Tokenization

_HEAD_ROWS = 64  # texts whose products are computed together: 8 MB of float32 for 30,000 terms
_SLOPE = 20.0  # of the surrogate gradient: how fast it becomes small below zero


class PooledHead(nn.Module):
    """The learned part of a pooled side: expansion.weight [n_terms, size], expansion.bias and factor [n_terms]."""

    def __init__(self, size: int, n_terms: int) -> None:
        """Starts at BM25 alone: factors of 1, no expansion."""
        super().__init__()
        self.expansion = nn.Linear(size, n_terms)
        nn.init.zeros_(self.expansion.weight)
        nn.init.zeros_(self.expansion.bias)
        self.factor = nn.Parameter(torch.ones(n_terms))

    def forward(self, pooled: Tensor, impacts: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return weights of pooled float32 [n, size] and impacts float32 [n, terms]; `columns` int64 [terms] are
        the numbers of those terms, None: all terms."""
        weight: Tensor = self.expansion.weight
        bias: Tensor = self.expansion.bias
        factor: Tensor = self.factor
        if columns is not None:
            weight, bias, factor = weight[columns], bias[columns], factor[columns]
        logits = functional.linear(pooled, weight, bias)
        expansion: Tensor = _SurrogateRelu.apply(logits) if torch.is_grad_enabled() else torch.relu(logits)  # type: ignore[no-untyped-call]
        return impacts * torch.relu(factor) + expansion


class PooledSide(TransformerSide):
    """A dense retriever's body with a PooledHead."""

    def __init__(self, tokenization: Tokenization, settings: SideSettings, body: Body, head: PooledHead) -> None:
        if settings.windows is not Windows.TRUNCATE:
            raise SettingError("a pooled side reads one window")
        super().__init__(tokenization, settings, len(head.factor), body)
        self.head = head.float()
        self.impacts = BM25Impacts(settings, tokenization, self.n_terms)
        self._special = torch.nonzero(self.ordinary == 0)[:, 0]
        unknown = tokenization.unknown_id
        self.wordless = frozenset(tokenization.special_ids) | ({unknown} if unknown is not None else set())
        # A static body is in float32; its dtype is that of the head's products.
        self._halves = isinstance(body, StaticBody) and body.dtype == torch.bfloat16
        self._packed_head: HeadRows | None = None

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return every token of each text; `pooled` drops the tokens that the model does not read."""
        return self.tokenization.ids(texts, truncate=False)

    def read(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text that the model reads."""
        return self._read(self.ids(texts))

    def pooled(self, ids: list[list[int]]) -> Tensor:
        """Return p, float32 [len(ids), size]."""
        read = self._read(ids)
        if isinstance(self.body, StaticBody):
            return functional.normalize(self.body.means(read), dim=1)
        parts = torch.split(self.body(read).float(), [len(one) for one in read])
        return functional.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=1)

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), n_terms]; `ids` are whole texts."""
        return self.weights_of(self.pooled(ids), ids)

    def weights_of(self, pooled: Tensor, ids: list[list[int]]) -> Tensor:
        """Return the weights of texts with known p, float32 [len(ids), n_terms]."""
        keys, values = (part.to(pooled.device) for part in self.impacts(ids))
        known = torch.from_numpy(self._reads_words(ids)).to(pooled.device)
        with torch.autocast(pooled.device.type, enabled=False):
            if not torch.is_grad_enabled():
                return self._computed(pooled, keys, values, known)
            flat = torch.zeros(len(ids) * self.n_terms, device=pooled.device)
            flat[keys] = values
            weights: Tensor = self.head(pooled, flat.view(len(ids), self.n_terms))
            literal = flat.view(len(ids), self.n_terms) * torch.relu(self.head.factor)
            return torch.where(known[:, None], weights, literal) * self.ordinary

    def _computed(self, pooled: Tensor, keys: Tensor, values: Tensor, known: Tensor) -> Tensor:
        """Return the head's weights without a gradient: only the terms of the texts are touched again."""
        weights: Tensor = self.head.expansion(pooled).relu_()
        if not known.all():
            weights[~known] = 0.0
        weights.view(-1)[keys] += values * torch.relu(self.head.factor)[keys % self.n_terms]
        weights[:, self._special] = 0.0
        return weights

    @property
    def dense_size(self) -> int:
        """Numbers in p."""
        return self.body.hidden_size

    def encode_dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return p of each text, float32 [len(texts), dense_size]; zeros for one without a known word."""
        ids = self.tokenization.ids(texts)
        return self._without_wordless(self._all_pooled(ids), ids, texts)

    def encode_with_dense(self, texts: Sequence[str]) -> tuple[csr_array, NDArray[np.float32]]:
        """Return `encode` and `encode_dense` of the texts, from one pass of the model."""
        ids = self.ids(texts)
        pooled = self._all_pooled(ids)
        matrix = prune(self._all_weights(pooled, ids), self.settings)
        return matrix, self._without_wordless(pooled, ids, texts)

    def _encode(self, ids: list[list[int]]) -> csr_array:
        return self._all_weights(self._all_pooled(ids), ids)

    def _read(self, ids: list[list[int]]) -> list[list[int]]:
        """Return the tokens that the model reads: the first, and the closing special one."""
        limit = self.settings.max_length
        return [one if limit is None or len(one) <= limit else one[: limit - 1] + one[-1:] for one in ids]

    def _reads_words(self, ids: list[list[int]]) -> NDArray[np.bool_]:
        """Return for which texts the model reads a token that is neither special nor unknown, bool [len(ids)]."""
        return np.array([not self.wordless.issuperset(one) for one in self._read(ids)], dtype=np.bool_)

    def _without_wordless(
        self, pooled: NDArray[np.float32], ids: list[list[int]], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """Set p to zeros, in place, where the model reads no known word, and where the text is blank."""
        pooled[~self._reads_words(ids)] = 0.0
        return without_blank(pooled, texts)

    def _all_pooled(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Return p of each text, float32 [len(ids), size], computed in batches of similar length."""
        read = self._read(ids)
        batches = self._batches(read)
        found = work_on_each(
            self._pooled_without_gradient, [[read[at] for at in batch] for batch in batches], self._device
        )
        pooled = np.empty((len(ids), self.dense_size), dtype=np.float32)
        for batch, block in zip(batches, found, strict=True):
            pooled[batch] = block
        return pooled

    def _all_weights(self, pooled: NDArray[np.float32], ids: list[list[int]]) -> csr_array:
        """Return the weights of texts with known p, at most max_active_dims for each, in blocks: the head's weights,
        which no cache holds, are read once for each."""
        blocks = [slice(first, first + _HEAD_ROWS) for first in range(0, len(ids), _HEAD_ROWS)]
        if self._device.type != "cpu":
            with torch.inference_mode():
                parts = [
                    to_csr(self.weights_of(torch.from_numpy(pooled[at]).to(self._device), ids[at])) for at in blocks
                ]
            return in_order(parts, range(len(ids)), self.n_terms)
        head = self._head_rows()

        def largest(block: slice) -> csr_array:
            part = ids[block]
            keys, impacts = self.impacts(part)
            with torch.inference_mode():
                known = self._reads_words(part)
                return head(pooled[block], known, keys.numpy(), impacts.numpy(), self.settings.max_active_dims)

        return in_order(compute_each(largest, blocks), range(len(ids)), self.n_terms)

    def _head_rows(self) -> HeadRows:
        """Return the head as it is now; one of a static body in bfloat16, which is for inference only, is kept."""
        if self._packed_head is not None:
            return self._packed_head
        with torch.no_grad():
            expansion = self.head.expansion
            made = HeadRows(expansion.weight, expansion.bias, self.head.factor, self._special, halves=self._halves)
        if self._halves:
            self._packed_head = made
        return made

    def _pooled_without_gradient(self, ids: list[list[int]]) -> NDArray[np.float32]:
        with torch.inference_mode(), float32_products(rows=sum(map(len, ids))):
            return self.pooled(ids).cpu().numpy()


class _SurrogateRelu(torch.autograd.Function):
    """relu with the gradient of a sigmoid: a term below zero can still become active (a straight-through estimator,
    Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return torch.relu(logits)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * torch.sigmoid(logits * _SLOPE)
