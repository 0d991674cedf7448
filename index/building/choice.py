"""Which structures a build keeps: decided by what it sees of the collection, unless the configuration says it.

What it sees: the number of documents and impacts, how concentrated the impacts are (the share of a document's mass in
its sketch), and, where sample queries are given, how many postings the lists of a query hold. The decisions, each with
the numbers that it was made by, are stored in the manifest, so that a user can look them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import FLAT
from index.config import IndexConfig
from index.searching.exact import POSTING_COST, SUM_COST
from index.vectors import Rows

# Impacts up to which unpruned postings are kept, at 4 bytes per impact.
EXACT_LISTS = 1 << 25
# Impacts up to which exact search over unpruned postings takes no longer than a candidate search (some 40,000
# SPLADE-like documents, 0.1 ms), so that no candidate lists are needed. These are most of the cost of a build.
EXACT_ONLY = 1 << 22
# Nanoseconds of a candidate search: the same rule where sample queries say how many postings a query has.
CANDIDATE_SEARCH = 100_000.0
# n_postings at 100 million impacts. It grows with the fifth root of their number: about 2000 at MS MARCO's size
# (decisions 0106 and 0113).
_POSTINGS = 1300
_FEWEST_POSTINGS = 1000


@dataclass(frozen=True)
class Observed:
    """What a build sees of a collection.

    n_docs, impacts   documents, and impacts of all of them
    concentration     the share of the documents' mass that their sketches hold, at most .7
    queries           sample queries; 0: none are given, and the two means below are None
    query_terms       mean number of their terms that the collection holds
    query_postings    mean number of postings in the lists of these terms
    """

    n_docs: int
    impacts: int
    concentration: float
    queries: int = 0
    query_terms: float | None = None
    query_postings: float | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the impacts are so even, as BM25's are, that a sketch says too little about a document."""
        return self.concentration < FLAT

    @property
    def exact_cost(self) -> float | None:
        """Nanoseconds that an exact search over unpruned postings takes for a sample query; None without queries."""
        if self.query_postings is None:
            return None
        return POSTING_COST * self.query_postings + SUM_COST * self.n_docs


@dataclass(frozen=True)
class Choice:
    """The decisions of a build: what it saw, and for each structure the reason that it is kept or not."""

    observed: Observed
    reasons: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"observed": asdict(self.observed), "reasons": dict(self.reasons)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Choice:
        """Return the choice that `to_json` gave; raises KeyError, TypeError for other values."""
        reasons = {str(name): str(reason) for name, reason in values["reasons"].items()}
        return cls(Observed(**values["observed"]), reasons)


def observe(
    n_docs: int,
    impacts: int,
    concentration: float,
    ids: NDArray[np.uint32],
    frequencies: NDArray[np.int64],
    queries: Rows | None,
) -> Observed:
    """Return what a build sees.

    ids           uint32[n], the collection term ids of the documents' terms, in any order
    frequencies   int64[n], the number of documents that hold each
    """
    n = 0 if queries is None else len(queries.indptr) - 1
    if queries is None or n == 0 or len(ids) == 0:
        return Observed(n_docs, impacts, concentration)
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids, queries.terms, sorter=order), len(ids) - 1)
    held = ids[order[at]] == queries.terms
    postings = int(frequencies[order[at[held]]].sum(dtype=np.int64))
    return Observed(n_docs, impacts, concentration, n, round(int(held.sum()) / n, 1), round(postings / n, 1))


def decide(config: IndexConfig, seen: Observed) -> tuple[IndexConfig, Choice]:
    """Return the configuration with its open parameters decided, and the reasons."""
    n_postings, why_candidates = _candidate_lists(config, seen)
    exact_lists, why_exact = _unpruned_postings(config, seen, n_postings)
    reasons = {
        "candidate_lists": why_candidates,
        "unpruned_postings": why_exact,
        "block_maxima": _given("block_maxima", config.block_maxima)
        if config.block_maxima is not None
        else "not kept without a request: with many documents they make exact searches faster, for half as much again "
        "on disk",
        "graph": _given("n_knn", config.n_knn)
        if config.n_knn
        else "not kept without a request (n_knn): finding neighbours costs as much as a search for each document",
    }
    return replace(config, n_postings=n_postings, exact_lists=exact_lists), Choice(seen, reasons)


def _candidate_lists(config: IndexConfig, seen: Observed) -> tuple[int, str]:
    """Return how many postings a candidate list keeps, 0 for no lists, and why."""
    if config.n_postings is not None:
        return config.n_postings, _given("n_postings", config.n_postings)
    by_size = max(_FEWEST_POSTINGS, 100 * round(_POSTINGS / 100 * (seen.impacts / 100e6) ** 0.2))
    if config.exact_lists is False:
        return by_size, f"{by_size:,} postings per list, by the size: exact_lists = false leaves no other way to search"
    share = f"concentration {seen.concentration:.2f}"
    if seen.is_flat:
        return 0, f"{share}, below {FLAT}: too flat, candidate lists would miss hits; every search is exact"
    cost = seen.exact_cost
    if cost is not None:
        measured = f"an exact search of a sample query is estimated at {cost / 1e3:,.0f} µs"
        limit = f"{CANDIDATE_SEARCH / 1e3:,.0f} µs of a candidate search"
        if cost <= CANDIDATE_SEARCH:
            return 0, f"{measured}, at most the {limit}; every search is exact"
        return by_size, f"{share}; {measured}, above the {limit}; {by_size:,} postings per list, by the size"
    if seen.impacts <= EXACT_ONLY:
        return 0, f"{seen.impacts:,} impacts, at most {EXACT_ONLY:,}: exact search is as fast"
    return (
        by_size,
        f"{share}; {seen.impacts:,} impacts, above {EXACT_ONLY:,}; {by_size:,} postings per list, by the size",
    )


def _unpruned_postings(config: IndexConfig, seen: Observed, n_postings: int) -> tuple[bool, str]:
    """Return whether unpruned postings are kept, and why."""
    if config.exact_lists is not None:
        return config.exact_lists, _given("exact_lists", config.exact_lists)
    if config.block_maxima:
        return True, "block_maxima need them"
    if n_postings == 0:
        return True, "every search is exact"
    if seen.is_flat:
        return True, f"concentration {seen.concentration:.2f}, below {FLAT}: searches without parameters are exact"
    if seen.impacts <= EXACT_LISTS:
        return True, f"{seen.impacts:,} impacts, at most {EXACT_LISTS:,}, at 4 bytes each"
    return False, f"{seen.impacts:,} impacts, above {EXACT_LISTS:,}: 4 bytes each would be too much"


def _given(name: str, value: object) -> str:
    return f"given: {name} = {str(value).lower() if isinstance(value, bool) else value}"
