"""The input of a pooled head for the training documents, computed once: the body is not trained and never changes.

    pooled     float16 [texts, size]          p of each text, as from the dense teacher with the same backbone
    impacts    CSR over the vocabulary        BM25's impact of each word piece

A step is then a product of some vectors with some columns of the head, without a transformer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor

from encoders.sides.pooled import PooledSide

_BATCH = 1024  # texts


class FrozenDocuments:
    """Documents by their texts."""

    def __init__(self, side: PooledSide, texts: Sequence[str], pooled: NDArray[np.float16]) -> None:
        """`pooled` float16 [len(texts), size], row i of texts[i]."""
        self._place = {text: place for place, text in enumerate(texts)}
        self._pooled = pooled
        blocks = []
        for start in range(0, len(texts), _BATCH):
            keys, values = side.impacts(side.ids(texts[start : start + _BATCH]))
            rows = min(_BATCH, len(texts) - start)
            where = (keys.numpy() // side.n_terms, keys.numpy() % side.n_terms)
            blocks.append(csr_array((values.numpy(), where), shape=(rows, side.n_terms)))
        self._impacts: csr_array = vstack(blocks, format="csr")

    def read(self, texts: Sequence[str], columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled float32 [texts, size] and impacts float32 [texts, columns]; `columns` int64, distinct."""
        places = [self._place[text] for text in texts]
        impacts = self._impacts[places]
        column = np.full(self._impacts.shape[1], -1, dtype=np.int64)
        column[columns.numpy()] = np.arange(len(columns))
        wanted = column[impacts.indices]
        rows = np.repeat(np.arange(len(places)), np.diff(impacts.indptr))
        dense = np.zeros((len(places), len(columns)), dtype=np.float32)
        kept = wanted >= 0
        dense[rows[kept], wanted[kept]] = impacts.data[kept]
        return torch.from_numpy(self._pooled[places].astype(np.float32)), torch.from_numpy(dense)
