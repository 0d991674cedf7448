"""Building: batches of vectors in, the arrays of a segment out, in memory that hardly depends on the collection's size.

1. The batches are checked, rounded and kept in a temporary file, while terms are numbered and counted (`incoming`).
2. The segment numbers its terms by descending document frequency (ties by ascending collection id), so that the numbers
   are small, the query's hot weights lie together, and a vocabulary may grow without limit.
3. Documents are packed into lines (`packing`), and the temporary file is deleted.
4. Unpruned postings for exact search, window by window, if the configuration wants them (`unpruned_postings`).
5. Candidate lists: the largest impacts of each term, collected in one pass, then clustered and summarised list by list
   (`candidate_lists`).

Memory holds a few pieces of rows, and the candidate lists. Everything as large as the collection is a mapped file, if
there is a folder to write to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from index.arrays.folder import WITH_LEVELS
from index.arrays.new_arrays import NewArrays
from index.building.candidate_lists import build_blocks, largest_lists
from index.building.choice import decide, observe
from index.building.incoming import IncomingRows
from index.building.packing import line_share, pack_all
from index.building.unpruned_postings import build_block_maxima, build_windows, create_empty_windows
from index.config import IndexConfig
from index.vectors import Rows

Progress = Callable[[str, int, int], None]


def build_arrays(
    vectors: Any,
    config: IndexConfig,
    threads: int,
    arrays: NewArrays,
    progress: Progress | None = None,
    queries: Rows | None = None,
) -> tuple[dict[str, Any], IndexConfig]:
    """Create the arrays of a segment over `vectors`, a csr_array or an iterable of them; return (counts,
    configuration).

    The configuration is the given one, with its open parameters decided (`choice`), by the sample `queries` too.
    `progress` is called with (stage, done, total). Raises VectorError naming the row, OSError.
    """

    def report(stage: str, total: int) -> Callable[[int], None]:
        def report_done(done: int) -> None:
            if progress is not None:
                progress(stage, done, total)

        return report_done

    batches: Iterable[Any] = [vectors] if issparse(vectors) else vectors
    with arrays.temporary() as terms, arrays.temporary() as impacts:
        rows = IncomingRows(config.impact_dtype, terms, impacts)
        for batch in batches:
            rows.add(batch)
            report("read", rows.n_docs)(rows.n_docs)
        order = np.lexsort((rows.ids, -rows.frequencies))
        scale = (rows.largest[order] / np.float32(255.0)).astype(np.float32)
        frequencies = rows.frequencies[order]
        _create_tables(rows.ids[order], frequencies, scale, arrays)
        coherent = bool(config.block_maxima) and rows.nnz > 0
        packed = pack_all(
            rows, _inverse(order), scale, arrays, threads, report("sketch", rows.n_docs), coherent=coherent
        )
    n_docs, n_local = rows.n_docs, len(order)
    beta = line_share(packed.documents)
    config, choice = decide(config, observe(n_docs, rows.nnz, beta, rows.ids, rows.frequencies, queries))
    if config.exact_lists:
        lists_done = report("exact lists", n_docs)
        windows = build_windows(packed, n_local, rows.nnz, arrays, threads, lists_done, by_lines=coherent)
        if coherent:
            build_block_maxima(windows, n_docs, frequencies, scale, arrays)
    else:
        create_empty_windows(packed, arrays)
    n_keep = int((config.n_postings or 0) * config.max_fraction)
    lists = largest_lists(packed, frequencies, rows.ids[order], n_keep, report("largest", n_docs))
    build_blocks(lists, scale, packed, config, arrays, threads, report("lists", n_local))
    counts = {
        "n_docs": n_docs,
        "n_terms": rows.n_terms,
        "n_local": n_local,
        "nnz": rows.nnz,
        "max_impact": float(rows.largest.max(initial=0.0)),
        "beta": beta,
        "choice": choice.to_json(),
        "version": WITH_LEVELS,
    }
    return counts, config


def _create_tables(
    ids: NDArray[np.uint32], frequencies: NDArray[np.int64], scale: NDArray[np.float32], arrays: NewArrays
) -> None:
    """Create the tables of terms: `terms`, `lookup_ids`, `lookup_numbers`, `frequencies`, `scale`."""
    by_id = np.argsort(ids)
    for name, values in (
        ("terms", ids),
        ("lookup_ids", ids[by_id]),
        ("lookup_numbers", by_id.astype(np.uint32)),
        ("frequencies", frequencies.astype(np.uint32)),
        ("scale", scale),
    ):
        arrays.create(name, values.shape, values.dtype)[:] = values


def _inverse(order: NDArray[np.int64]) -> NDArray[np.uint32]:
    inverse = np.empty(len(order), dtype=np.uint32)
    inverse[order] = np.arange(len(order), dtype=np.uint32)
    return inverse
