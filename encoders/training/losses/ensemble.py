"""Heterogeneous ensemble distillation: teachers of different kinds made comparable, then averaged (Geng et al. 2024,
arXiv:2411.04403).

    t(q, d) = 30 * mean over teachers k of (t_k(q, d) - min_d t_k(q, d)) / (max_d t_k(q, d) - min_d t_k(q, d))

Min and max are over the query's candidates. A teacher that gives all of them the same score says nothing: 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SCALE = 30.0


def ensemble(scores: Sequence[NDArray[np.float32]], scale: float = SCALE) -> NDArray[np.float32]:
    """Return the combined scores, float32 [queries, candidates]; NaN, for a candidate that is not there, stays NaN.

    `scores` holds one float32 [queries, candidates] a teacher.
    """
    if not scores:
        raise ValueError("an ensemble needs one teacher at least")
    total = np.zeros_like(scores[0], dtype=np.float64)
    for one in scores:
        lowest = np.nanmin(one, axis=1, keepdims=True)
        span = np.nanmax(one, axis=1, keepdims=True) - lowest
        total += (one - lowest) / np.where(span > 0, span, 1.0)
    return (scale * total / len(scores)).astype(np.float32)
