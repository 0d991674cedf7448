"""The sparse index: vectors in, ranked document numbers out.

`SparseIndex` is the public class; everything else serves it. The names are loaded lazily (PEP 562), so that
importing this package, or its errors alone, does not load Numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from index.arrays.folder import Problem, verify_index
    from index.canonical_weights import canonical
    from index.config import IndexConfig
    from index.dense_rows import DenseRows, quantise, verify_dense
    from index.prepared_rows import PreparedRows, score_rows
    from index.searching.parameters import SearchOptions, SearchParameters
    from index.sparse_index import SparseIndex, TopK
    from index.vectors import MAX_TERMS, MAX_WEIGHT
    from index.warming import warm_kernels

_HOME = {
    "DenseRows": "index.dense_rows",
    "IndexConfig": "index.config",
    "MAX_TERMS": "index.vectors",
    "MAX_WEIGHT": "index.vectors",
    "PreparedRows": "index.prepared_rows",
    "Problem": "index.arrays.folder",
    "SearchOptions": "index.searching.parameters",
    "SearchParameters": "index.searching.parameters",
    "SparseIndex": "index.sparse_index",
    "TopK": "index.sparse_index",
    "canonical": "index.canonical_weights",
    "quantise": "index.dense_rows",
    "score_rows": "index.prepared_rows",
    "verify_dense": "index.dense_rows",
    "verify_index": "index.arrays.folder",
    "warm_kernels": "index.warming",
}

__all__ = [
    "MAX_TERMS",
    "MAX_WEIGHT",
    "DenseRows",
    "IndexConfig",
    "PreparedRows",
    "Problem",
    "SearchOptions",
    "SearchParameters",
    "SparseIndex",
    "TopK",
    "canonical",
    "quantise",
    "score_rows",
    "verify_dense",
    "verify_index",
    "warm_kernels",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'index' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
