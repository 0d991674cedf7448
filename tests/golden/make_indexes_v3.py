"""Writes small indexes of format 3 that later versions must open, and what they must answer.

usage: python tests/golden/make_indexes_v3.py     (once, before format 3 is released; never afterwards)

One index for each type of term numbers and impacts, with blocks and with many documents of several lines.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from index import IndexConfig, SparseIndex

HERE = Path(__file__).parent
ARCHIVE = HERE / "indexes_v3.tar.xz"
ANSWERS = HERE / "indexes_v3.json"
KINDS = {
    "uint16-float16": (500, IndexConfig(n_postings=40, exact_lists=False)),
    "uint16-float32": (500, IndexConfig(n_postings=40, exact_lists=True, impact_dtype="float32")),
    "uint32-float16": (70_000, IndexConfig(n_postings=40, exact_lists=False)),
}


def vectors(n_docs: int, n_terms: int, most: int, seed: int) -> csr_array:
    """Rows of 1 .. most terms; from 70,000 terms on each occurs, so that their numbers need 32 bits."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(min(n_terms, 500), rng.integers(1, most), replace=False)) for _ in range(n_docs)]
    if n_terms > 500:
        rows.append(np.arange(n_terms))
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    data = rng.gamma(1.0, 0.5, indptr[-1]).astype(np.float32) + np.float32(0.01)
    return csr_array((data, np.concatenate(rows), indptr), shape=(len(rows), n_terms))


def answers(index: SparseIndex) -> dict[str, object]:
    """Return what exact and approximate searches find, and the sum of every document's impacts."""
    queries = vectors(10, 500, 12, seed=7)
    queries = csr_array((queries.data, queries.indices, queries.indptr), shape=(10, index.n_terms))
    found = {}
    for name, exact in (("exact", True), ("approximate", False)):
        top = index.search(queries, 10, exact=exact, query_cut=8, heap_factor=0.8)
        found[name] = [top.ids.tolist(), top.scores.tolist()]
    rows = index.rows(0, index.n_docs)
    return {**found, "terms": np.diff(rows.indptr).tolist(), "impacts": float(rows.data.sum(dtype=np.float64))}


def main() -> None:
    """Write the archive and the answers."""
    expected = {}
    with tempfile.TemporaryDirectory() as name, tarfile.open(ARCHIVE, "w:xz") as archive:
        folder = Path(name)
        for kind, (n_terms, config) in KINDS.items():
            SparseIndex.build(vectors(100, n_terms, 90, seed=3), config, path=folder / kind)
            archive.add(folder / kind, kind)
            expected[kind] = answers(SparseIndex.open(folder / kind))
    ANSWERS.write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
