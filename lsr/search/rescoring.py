"""Rescoring: the first candidates of a ranking get the similarity of a dense vector as one more list.

Only the candidates' vectors are read, from a mapped file. Filters, totals and facets are decided before, and documents
beyond the candidates stay below them, in the order they came. A document without a dense vector contributes 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsr.search.fusion import Floats, List, contributions
from lsr.search.request import Method, Rescore
from lsr.search.rows import Rows, RowSpace

LEAST_COSINE = -1.0


def similarities(
    space: RowSpace, using: str, rows: Rows, query: NDArray[np.float32]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (cosines float64[n], which documents have a vector bool[n])."""
    scores, present = space.dense_scores(using, rows, query)
    return scores.astype(np.float64), present


def rescored(
    cosines: Floats, present: NDArray[np.bool_], rescore: Rescore, method: Method, k: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Return (what the dense list contributes to each candidate float64[n], its rank there int64[n], 0 without one)."""
    ranks = np.zeros(len(cosines), dtype=np.int64)
    order = np.argsort(-cosines[present], kind="stable")
    ranks[np.flatnonzero(present)[order]] = np.arange(1, len(order) + 1)
    one = List(cosines, ranks, least=LEAST_COSINE)
    return np.where(present, contributions([one], [rescore.weight], method, k)[0], 0.0), ranks
