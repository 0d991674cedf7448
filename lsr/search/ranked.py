"""What the stages hand to the page: a whole ranking, and the answer around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.results import (
    Total,
)
from lsr.search.fusion import Floats
from lsr.search.grouping import Kept
from lsr.search.legs import EncodedLeg
from lsr.search.plan import Plan
from lsr.search.rows import Rows, RowSpace


@dataclass(frozen=True, slots=True)
class Ranked:
    """A whole ranking, before a page of it is fetched: best first.

    rows           int64[n]                    scores        float64[n]
    shares         float64[lists, n]           what each list contributed
    raw            float64[lists, n]           each list's own scores
    ranks          int64[lists, n]             from 1; 0 where a list does not hold the document
    rescored       bool[n]                     whether a dense similarity is among them (the last list)
    boosted        float64[boosts, n]
    """

    rows: Rows
    scores: Floats
    shares: Floats
    raw: Floats
    ranks: NDArray[np.int64]
    rescored: NDArray[np.bool_]
    boosted: Floats

    def take(self, order: NDArray[np.int64]) -> Ranked:
        """Return some of it, in this order."""
        return Ranked(
            self.rows[order],
            self.scores[order],
            self.shares[:, order],
            self.raw[:, order],
            self.ranks[:, order],
            self.rescored[order],
            self.boosted[:, order],
        )


@dataclass(slots=True)
class Answered:
    """A search that is done but for its pages: what `page` needs, and what a cursor keeps."""

    space: RowSpace
    plan: Plan
    legs: list[EncodedLeg | None]  # None for scores from elsewhere
    ranked: Ranked
    kept: list[Kept]
    facets: dict[str, Any]
    total: Total
    approximate: bool
    warnings: list[str]
    partial: bool
    timings: dict[str, float]
    expected_recall: float | None = 1.0  # the lowest of the first stages'; None: not measured
