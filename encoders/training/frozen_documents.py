"""The input of a pooled head for the training documents. Where the body is not trained, it is computed once:

    pooled     float16 [texts, size]          p of each text, as from the dense teacher with the same backbone
    impacts    CSR over the vocabulary        BM25's impact of each word piece

A step is then a product of some vectors with some columns of the head, without a transformer. Where the body is trained
(a GPU's work), LiveDocuments reads the texts at each step.
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
        starts = range(0, len(texts), _BATCH)
        blocks = [_impacts(side, side.ids(texts[start : start + _BATCH])) for start in starts]
        self._impacts: csr_array = vstack(blocks, format="csr")

    def read(self, texts: Sequence[str], columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled float32 [texts, size] and impacts float32 [texts, columns]; `columns` int64, distinct."""
        places = [self._place[text] for text in texts]
        pooled = torch.from_numpy(self._pooled[places].astype(np.float32))
        return pooled, _of_columns(self._impacts[places], columns)


class LiveDocuments:
    """Documents that a body in training reads at each step."""

    def __init__(self, side: PooledSide) -> None:
        self._side = side

    def read(self, texts: Sequence[str], columns: Tensor) -> tuple[Tensor, Tensor]:
        """As FrozenDocuments; pooled has a gradient."""
        ids = self._side.ids(texts)
        return self._side.pooled(ids), _of_columns(_impacts(self._side, ids), columns)


def _impacts(side: PooledSide, ids: list[list[int]]) -> csr_array:
    keys, values = side.impacts(ids)
    where = (keys.numpy() // side.n_terms, keys.numpy() % side.n_terms)
    return csr_array((values.numpy(), where), shape=(len(ids), side.n_terms))


def _of_columns(impacts: csr_array, columns: Tensor) -> Tensor:
    """Return some columns of `impacts`, float32 [rows, columns]; `columns` int64, distinct."""
    column = np.full(impacts.shape[1], -1, dtype=np.int64)
    column[columns.numpy()] = np.arange(len(columns))
    wanted = column[impacts.indices]
    rows = np.repeat(np.arange(impacts.shape[0]), np.diff(impacts.indptr))
    dense = np.zeros((impacts.shape[0], len(columns)), dtype=np.float32)
    kept = wanted >= 0
    dense[rows[kept], wanted[kept]] = impacts.data[kept]
    return torch.from_numpy(dense)
