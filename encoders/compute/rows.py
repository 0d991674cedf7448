"""From dense blocks of weights to rows of a sparse matrix, in the order of the texts.

A dense block is rows x vocabulary (never x length). It stays on the device and is compacted there, before one copy to
the host.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack


def to_csr(weights: torch.Tensor) -> csr_array:
    """Return the positive entries of `weights` float32 [rows, terms] as CSR, sorted by term in each row."""
    active = weights > 0
    counts = active.sum(dim=1).cpu().numpy()
    indices = active.nonzero()[:, 1].to(torch.int32).cpu().numpy()
    values = weights[active].cpu().numpy()
    indptr = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    return csr_array((values, indices, indptr), shape=(weights.shape[0], weights.shape[1]))


def in_order(blocks: Sequence[csr_array], positions: Sequence[int], n_terms: int) -> csr_array:
    """Return the stacked rows of `blocks`, with stacked row i in row positions[i]."""
    if not blocks:
        empty: csr_array = csr_array(np.empty((0, n_terms), dtype=np.float32))
        return empty
    back: NDArray[np.int64] = np.empty(len(positions), dtype=np.int64)
    back[np.asarray(positions, dtype=np.int64)] = np.arange(len(positions))
    stacked: csr_array = vstack(blocks, format="csr")
    return stacked[back]
