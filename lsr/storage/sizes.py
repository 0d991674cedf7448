"""The bytes of a collection's files, by what they hold.

catalog      settings, vocabularies, deletions and pending documents
documents    texts, metadata and ids
forward      of a sparse vector: its terms, each document's impacts and sketch
candidates   of a sparse vector: blocks and summaries, which the approximate search reads
postings     of a sparse vector: unpruned postings, which exact search reads
neighbours   of a sparse vector: the nearest documents of each
dense        of a dense vector: its rows
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from lsr.results import StoredBytes
from lsr.storage.segment import SEGMENTS_FOLDER

KINDS: Final = ("catalog", "documents", "forward", "candidates", "postings", "neighbours", "dense")
_CANDIDATES: Final = ("list_", "block_start", "block_docs", "summaries")
_POSTINGS: Final = ("window_", "entry_", "posting_", "superblock_", "block_maxima")


def sizes_on_disk(folder: Path, dense: Collection[str]) -> tuple[StoredBytes, ...]:
    """Return the bytes of a collection's files; its snapshots, which share most of them, are not counted.

    dense   the names of its dense vectors
    """
    return sizes_by_kind(_files(folder), dense)


def sizes_by_kind(files: Iterable[tuple[str, int]], dense: Collection[str]) -> tuple[StoredBytes, ...]:
    """Return the bytes of files, given by their path inside the collection's folder and their size."""
    sums: Counter[tuple[str, str | None]] = Counter()
    for path, size in files:
        sums[_kind(PurePosixPath(path), dense)] += size
    order = sorted(sums, key=lambda one: (one[1] is not None, one[1] or "", KINDS.index(one[0])))
    return tuple(StoredBytes(kind, vector, sums[kind, vector]) for kind, vector in order)


def _kind(path: PurePosixPath, dense: Collection[str]) -> tuple[str, str | None]:
    """Return what a file holds, and the named vector that it belongs to: segments/UUID/vectors/NAME/FILE."""
    if path.parts[0] != SEGMENTS_FOLDER:
        return "catalog", None
    if len(path.parts) < 5:
        return "documents", None
    vector = path.parts[3]
    if vector in dense:
        return "dense", vector
    if path.name.startswith(_CANDIDATES):
        return "candidates", vector
    if path.name.startswith(_POSTINGS):
        return "postings", vector
    return ("neighbours" if path.name.startswith("neighbours") else "forward"), vector


def _files(folder: Path) -> Iterable[tuple[str, int]]:
    for parent, folders, names in os.walk(folder):
        if "snapshots" in folders:
            folders.remove("snapshots")
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - called often
            try:
                yield os.path.relpath(path, folder), os.stat(path).st_size  # noqa: PTH116
            except FileNotFoundError:
                continue  # removed by a merge in between
