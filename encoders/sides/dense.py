"""A dense retriever: the mean of a transformer's last hidden states, or the first of them, normalised to length 1.

    e(text) = normalise(mean or first of the last hidden states)

The same arithmetic as sentence-transformers' Transformer + Pooling + Normalize.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from encoders.compute.device import float32_products
from encoders.compute.transformer import Body
from encoders.sides.transformer_side import batches_of, work_on_each
from encoders.text.tokenization import Tokenization


class DenseModel:
    """Text to dense vectors, with one prompt. Two prompts may share a body. Safe to call from many threads."""

    def __init__(self, tokenization: Tokenization, body: Body, *, mean: bool) -> None:
        """`mean` of all tokens, special ones included; else the first token's states."""
        self.tokenization = tokenization
        self.body = body
        self._mean = mean

    @property
    def dense_size(self) -> int:
        """Numbers in a vector."""
        return self.body.hidden_size

    @property
    def dtype(self) -> str:
        """The precision that the model computes in, such as "bfloat16"."""
        return str(self.body.dtype).removeprefix("torch.")

    def encode_dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1; zeros for a blank text."""
        ids = self.tokenization.ids(texts)
        batches = batches_of([len(one) for one in ids], self.body.device, self.body.dtype)
        found = work_on_each(self._vectors, [[ids[at] for at in batch] for batch in batches], self.body.device)
        dense = np.empty((len(texts), self.dense_size), dtype=np.float32)
        for batch, block in zip(batches, found, strict=True):
            dense[batch] = block
        return without_blank(dense, texts)

    def pooled(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), dense_size] on the model's device; `ids` contain the special tokens."""
        parts = torch.split(self.body(ids).float(), [len(one) for one in ids])
        return functional.normalize(torch.stack([part.mean(dim=0) if self._mean else part[0] for part in parts]), dim=1)

    def _vectors(self, ids: list[list[int]]) -> NDArray[np.float32]:
        with torch.inference_mode(), float32_products(rows=sum(map(len, ids))):
            return self.pooled(ids).cpu().numpy()


def without_blank(dense: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    """Return dense vectors float32 [len(texts), size] with zeros for blank texts; changes the array."""
    dense[[at for at, text in enumerate(texts) if not text.strip()]] = 0.0
    return dense
