"""Canonical weights and scores: the numbers that every path of a search agrees on.

A segment keeps each impact as float16 (or float32): the canonical impact. Every final score is the dot product with
these, summed in float64 by ascending term id and rounded once to float32. So a document scores the same while it is
pending, when it is sealed, and after any merge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.config import IMPACT_DTYPES
from index.errors import ConfigError, VectorError
from index.vectors import MAX_WEIGHT


def canonical(impacts: ArrayLike, dtype: str = "float16") -> NDArray[np.float32]:
    """Return the impacts as they are stored, as float32: rounded to `dtype` ("float16" or "float32").

    Raises VectorError for a negative, NaN or infinite impact, one above MAX_WEIGHT, and one that `dtype` cannot hold.
    """
    given = np.asarray(impacts)
    held: NDArray[Any] = stored(given, dtype).view(np.float16 if dtype == "float16" else np.float32)
    values: NDArray[np.float32] = held.astype(np.float32)
    return values


def stored(impacts: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return the impacts in their stored form: float16 as its bits in uint16[n], or float32[n].

    Raises VectorError as `canonical` does.
    """
    if dtype not in IMPACT_DTYPES:
        raise ConfigError(f"impact_dtype must be one of {', '.join(IMPACT_DTYPES)}, not {dtype!r}")
    with np.errstate(over="ignore", under="ignore"):
        rounded = impacts.astype(np.float32).astype(dtype)
    if not np.isfinite(rounded).all():
        raise VectorError(f"the weight {impacts[~np.isfinite(rounded)][0]} is not a finite {dtype}")
    if (rounded < 0).any():
        raise VectorError(f"the weight {impacts[rounded < 0][0]} is negative")
    if rounded.size and float(rounded.max()) > MAX_WEIGHT:
        raise VectorError(
            f"the weight {impacts[rounded > MAX_WEIGHT][0]} is above {MAX_WEIGHT:g}: a score might not fit in a float32"
        )
    # Minus zero compares as zero but has a bit that says otherwise.
    positive: NDArray[Any] = np.abs(rounded)
    return positive.view(np.uint16) if dtype == "float16" else positive
