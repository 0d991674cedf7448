"""Whether the difference between two systems is significant: paired tests over the same queries.

Two tests, because their assumptions differ: Student's paired t-test, and the randomisation test (Fisher; for retrieval
Smucker, Allan and Carterette, CIKM 2007), which flips the sign of each query's difference. The interval is a percentile
bootstrap of the mean difference over queries. Several comparisons are corrected by Holm's step-down procedure (Holm
1979), which controls the probability of one false claim among all of them.

Tests and bootstrap are SciPy's; the random numbers are seeded, so a report can be reproduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95
_SEED = 20_240_229
_BATCH_VALUES = 4_000_000  # random numbers held at once


@dataclass(frozen=True, slots=True)
class Difference:
    """System minus baseline over paired queries; `low` and `high` bound the mean's 95 % bootstrap interval."""

    queries: int
    mean: float
    low: float
    high: float
    p_t: float
    p_randomisation: float


def paired_difference(
    system: NDArray[np.float64], baseline: NDArray[np.float64], *, resamples: int = RESAMPLES
) -> Difference:
    """Compare two systems' values, float64[n] each; the i-th values belong to the same query.

    The order of the queries does not matter. With fewer than two queries, or no query that differs, there is nothing to
    test: both p values are 1. Raises ValueError for arrays of different lengths.
    """
    if system.shape != baseline.shape:
        raise ValueError(f"paired values must have the same length, not {len(system)} and {len(baseline)}")
    difference = np.sort(system - baseline)  # the random signs and samples are drawn by position
    n = len(difference)
    mean = float(difference.mean()) if n else 0.0
    if n < 2 or not difference.any():
        return Difference(n, mean, mean, mean, 1.0, 1.0)
    if np.ptp(difference) == 0.0:
        # All queries changed by the same amount: no variance, so t is infinite and the interval is a point.
        return Difference(n, mean, mean, mean, 0.0, _randomisation(difference, resamples))
    p_t = float(stats.ttest_1samp(difference, 0.0).pvalue)
    interval = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=resamples,
        batch=_batch(n),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Difference(n, mean, float(interval.low), float(interval.high), p_t, _randomisation(difference, resamples))


def mean_interval(values: NDArray[np.float64], *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of one system's values, float64[n], n >= 1."""
    if len(values) < 2 or np.ptp(values) == 0.0:
        return float(values.mean()), float(values.mean())
    interval = stats.bootstrap(
        (np.sort(values),),
        np.mean,
        n_resamples=resamples,
        batch=_batch(len(values)),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down procedure, in the same order."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return [float(value) for value in corrected]


def _randomisation(difference: NDArray[np.float64], resamples: int) -> float:
    """Return the two-sided p value of flipping signs; exact if there are at most `resamples` (of 2**n) patterns."""
    result = stats.permutation_test(
        (difference,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=_batch(len(difference)),
        alternative="two-sided",
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def _mean(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.mean(values, axis=axis)
    return result


def _batch(n: int) -> int:
    return max(1, _BATCH_VALUES // n)
