"""Several lists of scores as one: each list brought to a common scale, weighted, and added up.

A list is a query against one named vector, or scores from elsewhere. All documents of all lists are candidates, and
each candidate has its true score in every list (`legs.complete` computes those that a list was too short for), so what
a document gets does not depend on how deep the lists were cut.

    rrf      weight / (k + rank)                      0 where the list does not hold it      (Cormack et al. 2009)
    scaled   weight * (score - least) / (most - least)    least is the lowest score that is possible: 0 of a sparse
                                                      vector, -1 of a cosine; most is the list's maximum
    minmax   the same, with the list's minimum as `least`; 0 below it
    zscore   weight * (score - mean) / deviation      of the list
    sum      weight * score

Where a list has one value only, `minmax` gives 1 to what reaches it, `zscore` gives 0. A maximum that is not above the
minimum gives 0 in `scaled`: such a list says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsr.search.request import Method

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class List:
    """One list over n candidates.

    scores   float64[n], each candidate's score in this list; `least` where it does not match
    ranks    int64[n], from 1 by descending score; 0 for a candidate that the list does not hold
    least    the lowest score that is possible
    """

    scores: Floats
    ranks: NDArray[np.int64]
    least: float = 0.0


def contributions(lists: Sequence[List], weights: Sequence[float], method: Method, k: int) -> Floats:
    """Return what each list contributes to each candidate's score, float64[lists, n]."""
    return np.array(
        [weight * _normalised(one, method, k) for one, weight in zip(lists, weights, strict=True)], dtype=np.float64
    ).reshape(len(lists), -1)


def _normalised(one: List, method: Method, k: int) -> Floats:
    if method == "rrf":
        return np.where(one.ranks > 0, 1.0 / (k + one.ranks), 0.0)
    if method == "sum":
        return one.scores
    held = np.sort(one.scores[one.ranks > 0])  # sums of them must not depend on how the documents are stored
    if not len(held):
        return np.zeros(len(one.scores))
    most = float(held.max())
    if method == "zscore":
        deviation = float(held.std())
        return (one.scores - held.mean()) / deviation if deviation > 0 else np.zeros(len(one.scores))
    least = one.least if method == "scaled" else float(held.min())
    if most > least:
        return np.maximum((one.scores - least) / (most - least), 0.0)
    return np.zeros(len(one.scores)) if method == "scaled" else np.where(one.scores >= most, 1.0, 0.0)
