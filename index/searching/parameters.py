"""What a caller may ask of a search, checked and put together: the knobs, the recall target, the filter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.errors import SearchParameterError

EVERYTHING = np.zeros(0, dtype=np.bool_)
EVERYTHING.setflags(write=False)


class SearchParameters(NamedTuple):
    """How to search. None is for the index to decide; `allowed` is bool[n_docs], or bool[0] for every document."""

    k: int
    exact: bool = False
    recall: float | None = None
    query_cut: int | None = None
    heap_factor: float | None = None
    n_knn: int | None = None
    allowed: NDArray[np.bool_] = EVERYTHING
    ties: bool = False


def check_parameters(
    n_docs: int,
    neighbours: int,
    k: object,
    exact: bool,
    recall: float | None,
    query_cut: int | None,
    heap_factor: float | None,
    n_knn: int | None,
    allowed: NDArray[np.bool_] | None,
    ties: bool = False,
) -> SearchParameters:
    """Return the parameters of a search, of an index of n_docs documents and so many neighbours for each, checked.

    Raises SearchParameterError naming the one that is out of range.
    """
    if recall is not None:
        if not 0.0 < recall < 1.0:
            raise SearchParameterError(f"recall must be above 0 and below 1 (exact=True gives 1), not {recall!r}")
        if query_cut is not None or heap_factor is not None or n_knn is not None:
            raise SearchParameterError(
                "give a recall target or the knobs query_cut, heap_factor and n_knn, not both: "
                "recall chooses them from the measured curve"
            )
    if query_cut is not None:
        query_cut = whole("query_cut", query_cut)
    if heap_factor is not None and not 0.0 < heap_factor <= 1.0:
        raise SearchParameterError(f"heap_factor must be above 0 and at most 1, not {heap_factor!r}")
    if n_knn is not None:
        _check_neighbours(n_knn, neighbours)
    documents = EVERYTHING if allowed is None or n_docs == 0 else _check_allowed(allowed, n_docs)
    return SearchParameters(whole("k", k), exact, recall, query_cut, heap_factor, n_knn, documents, ties)


def whole(name: str, value: Any) -> int:
    """Return a whole number above 0; raises SearchParameterError naming the parameter."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SearchParameterError(f"{name} must be a whole number above 0, not {value!r}")
    return int(value)


def _check_neighbours(n_knn: object, neighbours: int) -> None:
    if isinstance(n_knn, bool) or not isinstance(n_knn, int) or n_knn < 0:
        raise SearchParameterError(f"n_knn must be a whole number, not {n_knn!r}")
    if n_knn > neighbours:
        there = f"with {neighbours} neighbours a document" if neighbours else "without a graph of nearest neighbours"
        raise SearchParameterError(f"n_knn must be at most {neighbours}, not {n_knn}: this index was built {there}")


def _check_allowed(allowed: NDArray[np.bool_], n_docs: int) -> NDArray[np.bool_]:
    if not isinstance(allowed, np.ndarray) or allowed.dtype != np.bool_ or allowed.shape != (n_docs,):
        raise SearchParameterError(f"allowed must be a bool array of {n_docs} documents")
    view = np.ascontiguousarray(allowed).view()
    view.setflags(write=False)
    return view
