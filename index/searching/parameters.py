"""What a caller may ask of a search, with the checks: how thorough it is, and which documents it returns."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from index.errors import SearchParameterError

# The setting of the candidate search where a search names none.
QUERY_CUT = 12
HEAP_FACTOR = 0.7

EVERYTHING = np.zeros(0, dtype=np.bool_)
EVERYTHING.setflags(write=False)


class SearchParameters(NamedTuple):
    """How thorough a search is. None: the index decides.

    exact         rank-safe, instead of approximate
    recall        the recall@k to reach, below 1; instead of the three parameters below, which are then read from the
                  measured curve (see `SparseIndex.calibrate`); an index without a curve is searched thoroughly, and
                  the recall is unknown. Never costs more than exact search
    query_cut     how many of the heaviest query terms lead to candidates
    heap_factor   above 0 and at most 1: a lower one visits more blocks
    n_knn         neighbours of each hit to score, too; at most as many as the index was built with
    """

    exact: bool = False
    recall: float | None = None
    query_cut: int | None = None
    heap_factor: float | None = None
    n_knn: int | None = None

    def check(self, neighbours: int) -> None:
        """Raise SearchParameterError naming the parameter that is out of range.

        neighbours   how many of each document the index has
        """
        if self.recall is not None:
            if not 0.0 < self.recall < 1.0:
                raise SearchParameterError(
                    f"recall must be above 0 and below 1 (exact=True gives 1), not {self.recall!r}"
                )
            if self.query_cut is not None or self.heap_factor is not None or self.n_knn is not None:
                raise SearchParameterError(
                    "give a recall target or query_cut, heap_factor and n_knn, not both: "
                    "a recall target chooses these three from the measured curve"
                )
        if self.query_cut is not None:
            positive_integer("query_cut", self.query_cut)
        if self.heap_factor is not None and not 0.0 < self.heap_factor <= 1.0:
            raise SearchParameterError(f"heap_factor must be above 0 and at most 1, not {self.heap_factor!r}")
        if self.n_knn is not None:
            _check_neighbours(self.n_knn, neighbours)


class SearchOptions(TypedDict, total=False):
    """The fields of SearchParameters as keyword arguments, with its defaults."""

    exact: bool
    recall: float | None
    query_cut: int | None
    heap_factor: float | None
    n_knn: int | None


class Selection(NamedTuple):
    """Which documents a search returns.

    k         the best k
    allowed   bool[n_docs]: only these; bool[0]: any
    ties      with exact search, also all that score as the k-th does
    """

    k: int
    allowed: NDArray[np.bool_] = EVERYTHING
    ties: bool = False


def check_selection(n_docs: int, k: object, allowed: NDArray[np.bool_] | None, *, ties: bool = False) -> Selection:
    """Return the selection of a search over n_docs documents; raise SearchParameterError naming what is wrong."""
    documents = EVERYTHING if allowed is None or n_docs == 0 else _check_allowed(allowed, n_docs)
    return Selection(positive_integer("k", k), documents, ties)


def positive_integer(name: str, value: Any) -> int:
    """Return an integer above 0; raises SearchParameterError naming the parameter."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SearchParameterError(f"{name} must be an integer above 0, not {value!r}")
    return int(value)


def _check_neighbours(n_knn: object, neighbours: int) -> None:
    if isinstance(n_knn, bool) or not isinstance(n_knn, int) or n_knn < 0:
        raise SearchParameterError(f"n_knn must be an integer of at least 0, not {n_knn!r}")
    if n_knn > neighbours:
        built = f"with {neighbours} neighbours per document" if neighbours else "without a graph of nearest neighbours"
        raise SearchParameterError(f"n_knn must be at most {neighbours}, not {n_knn}: this index was built {built}")


def _check_allowed(allowed: NDArray[np.bool_], n_docs: int) -> NDArray[np.bool_]:
    if not isinstance(allowed, np.ndarray) or allowed.dtype != np.bool_ or allowed.shape != (n_docs,):
        raise SearchParameterError(f"allowed must be a bool array of {n_docs} documents")
    view = np.ascontiguousarray(allowed).view()
    view.setflags(write=False)
    return view
