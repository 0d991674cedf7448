"""Indexes of earlier formats, brought up to date in memory when they are opened; the files stay as they are.

Version 1   lines stood in the order of the documents, so there was no doc_lines.npy and no line_docs.npy.
Version 2   there was no further.npy: those lines stood behind the others in lines.npy, in the same form, linked one to
            the next, and all canonical impacts lay beside.

A document keeps the number of its (first) line, so nothing else changes. It costs the time of one pass over the
documents and their size in memory, until the index is built or its collection merged anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexCorrupt
from index.kernels.chained_lines import count_chained, read_chained
from index.kernels.lines import LINE_BYTES, impact_values, line_views, pack_documents, terms_per_line
from index.new_arrays import ArraysInMemory
from index.packing import new_documents
from index.storage import VERSION

# Files that came after each version.
_SINCE_2 = ("doc_lines", "line_docs")
_SINCE_3 = ("further",)
ADDED_BY: Mapping[int, tuple[str, ...]] = {1: (*_SINCE_2, *_SINCE_3), 2: _SINCE_3, VERSION: ()}
_CHUNK = 1 << 15


def bring_up_to_date(folder: Path, version: int, arrays: dict[str, NDArray[Any]], n_docs: int) -> None:
    """Add to the arrays of an index of that version, and replace, what the current one has; raises IndexCorrupt."""
    if version == VERSION:
        return
    if version == 1:
        arrays["doc_lines"] = arrays["line_docs"] = np.arange(n_docs, dtype=np.uint32)
    old_lines, old_impacts = arrays["lines"], arrays["impacts"]
    term_type = arrays["entry_terms"].dtype
    width = terms_per_line(term_type)
    if len(old_lines) < n_docs or old_lines.shape[1] != LINE_BYTES:
        raise IndexCorrupt(
            folder / "lines.npy", f"holds {old_lines.shape}, not lines of 64 bytes for {n_docs} documents"
        )
    if old_impacts.shape != (len(old_lines), width):
        raise IndexCorrupt(folder / "impacts.npy", f"holds {old_impacts.shape}, not {len(old_lines), width}")
    line_terms, _, line_links = line_views(old_lines, term_type)
    n_terms = len(arrays["scale"])
    lengths = np.empty(n_docs, dtype=np.int64)
    count_chained(0, line_links, old_impacts, lengths)
    new = ArraysInMemory()
    documents, links = new_documents(lengths, term_type, old_impacts.dtype, arrays["scale"], new)
    for start in range(0, n_docs, _CHUNK):
        part = slice(start, min(n_docs, start + _CHUNK))
        indptr = np.concatenate([[0], np.cumsum(lengths[part])])
        terms, stored = np.empty(indptr[-1], dtype=np.uint32), np.empty(indptr[-1], dtype=old_impacts.dtype)
        read_chained(start, line_terms, line_links, old_impacts, indptr, terms, stored)
        if len(terms) and int(terms.max()) >= n_terms:
            raise IndexCorrupt(folder / "lines.npy", f"holds term {int(terms.max())} of {n_terms}")
        lines = np.arange(part.start, part.stop, dtype=np.uint32)
        pack_documents(lines, indptr, terms, impact_values(stored), stored, links[part], documents)
    arrays.update(new.arrays)
    for name in (*ADDED_BY[version], *new.arrays):
        arrays[name].setflags(write=False)
