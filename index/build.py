"""Building: checked batches of vectors in, the arrays of a segment out.

The segment numbers its terms itself, by falling document frequency (ties by rising collection id), so that the
numbers are small, the query's hot weights lie together, and a vocabulary may grow without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from index.config import IndexConfig
from index.errors import VectorError
from index.inverted import build_inverted
from index.scoring import stored
from index.vectors import check_rows

Progress = Callable[[str, int, int], None]


def build_arrays(
    vectors: Any, config: IndexConfig, threads: int, progress: Progress | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return (counts, arrays by name) of a segment over `vectors`: a csr_array or an iterable of them.

    `progress` is called with (stage, done, total). Raises VectorError naming the row.
    """
    batches: Iterable[Any] = [vectors] if issparse(vectors) else vectors
    lengths, terms, impacts = [np.zeros(1, dtype=np.int64)], [], []
    n_docs, n_terms = 0, 0
    for batch in batches:
        rows = check_rows(batch, what="document", first_row=n_docs)
        try:
            kept = stored(rows.values, config.impact_dtype)
        except VectorError as error:
            raise VectorError(_locate(rows.values, rows.indptr, config.impact_dtype, n_docs)) from error
        row_lengths = np.diff(rows.indptr)
        # What rounds to nothing is nothing: the document does not hold the term.
        if not (present := kept > 0).all():
            starts = np.concatenate([[0], np.cumsum(present)])
            row_lengths = np.diff(starts[rows.indptr])
            kept = kept[present]
        lengths.append(row_lengths)
        terms.append(rows.terms[present])
        impacts.append(kept)
        n_docs += len(row_lengths)
        n_terms = max(n_terms, rows.n_terms)
        if progress is not None:
            progress("read", n_docs, n_docs)
    all_terms = np.concatenate(terms) if terms else np.zeros(0, dtype=np.uint32)
    impact_type = np.uint16 if config.impact_dtype == "float16" else np.float32
    all_impacts = np.concatenate(impacts) if impacts else np.zeros(0, dtype=impact_type)

    lookup_ids, inverse, frequencies = np.unique(all_terms, return_inverse=True, return_counts=True)
    order = np.lexsort((lookup_ids, -frequencies))
    numbers = np.empty(len(order), dtype=np.uint32)
    numbers[order] = np.arange(len(order), dtype=np.uint32)
    term_type = np.uint16 if len(order) <= 2**16 else np.uint32
    arrays: dict[str, NDArray[Any]] = {
        "terms": lookup_ids[order].astype(np.uint32),
        "lookup_ids": lookup_ids.astype(np.uint32),
        "lookup_numbers": numbers,
        "frequencies": frequencies[order].astype(np.uint32),
        "forward_start": np.cumsum(np.concatenate(lengths)),
        "forward_terms": numbers[inverse].astype(term_type),
        "forward_impacts": all_impacts,
    }
    counts = {
        "n_docs": n_docs,
        "n_terms": n_terms,
        "n_local": len(order),
        "nnz": len(all_terms),
        "max_impact": _largest(all_impacts),
    }
    arrays |= build_inverted(counts, arrays, config, threads, progress)
    return counts, arrays


def _largest(impacts: NDArray[Any]) -> float:
    if len(impacts) == 0:
        return 0.0
    # Float16 bits of numbers that are not negative compare as the numbers do.
    return float(impacts.max().view(np.float16) if impacts.dtype == np.uint16 else impacts.max())


def _locate(values: NDArray[np.float32], indptr: NDArray[np.int64], dtype: str, first_row: int) -> str:
    with np.errstate(over="ignore"):
        at = int(np.flatnonzero(~np.isfinite(values.astype(dtype)))[0])
    row = int(np.searchsorted(indptr, at, side="right")) - 1
    return f"document {first_row + row}: the weight {values[at]:g} is more than a {dtype} can hold"
