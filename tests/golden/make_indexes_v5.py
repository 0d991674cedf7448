"""Writes small indexes of format 5 that later versions must open, and what they must answer.

usage: python tests/golden/make_indexes_v5.py     (once, before format 5 is released; never afterwards)

The vectors and questions of format 3's: with levels, with block maxima, and of 32-bit terms, which have no levels.
"""

from __future__ import annotations

import json
import runpy
import tarfile
import tempfile
from pathlib import Path

from index import IndexConfig, SparseIndex

HERE = Path(__file__).parent
ARCHIVE = HERE / "indexes_v5.tar.xz"
ANSWERS = HERE / "indexes_v5.json"
KINDS = {
    "levels": (500, IndexConfig(n_postings=40, exact_lists=False)),
    "block-maxima": (500, IndexConfig(n_postings=40, block_maxima=True)),
    "uint32-float16": (70_000, IndexConfig(n_postings=40, exact_lists=False)),
}
V3 = runpy.run_path(str(HERE / "make_indexes_v3.py"))
answers = V3["answers"]


def main() -> None:
    """Write the archive and the answers."""
    expected = {}
    with tempfile.TemporaryDirectory() as name, tarfile.open(ARCHIVE, "w:xz") as archive:
        folder = Path(name)
        for kind, (n_terms, config) in KINDS.items():
            SparseIndex.build(V3["vectors"](100, n_terms, 90, seed=3), config, path=folder / kind)
            archive.add(folder / kind, kind)
            expected[kind] = answers(SparseIndex.open(folder / kind))
    ANSWERS.write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
