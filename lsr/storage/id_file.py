"""ids.npy: from an external id to its row, by binary search over hashes.

A uint64 array [2, n]: row 0 has the 64-bit BLAKE2b hashes of the n external ids, ascending; row 1 the document's row
for each. Different ids may have the same hash, so a lookup also compares the id itself (`find` gets a function that
reads it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.errors import CollectionCorrupt

IDS_FILE = "ids.npy"


def hash_ids(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Return the 64-bit hash of each external id, uint64[len(ids)]."""
    digests = b"".join(blake2b(identifier.encode(errors="surrogatepass"), digest_size=8).digest() for identifier in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


def write_id_file(path: Path, hashes: NDArray[np.uint64]) -> None:
    """Write the file for documents whose ids hash to `hashes`, in row order."""
    order = np.argsort(hashes, kind="stable")
    np.save(path, np.stack([hashes[order], order.astype(np.uint64)]), allow_pickle=False)


class IdFile:
    """An open ids.npy, mapped."""

    def __init__(self, path: Path, documents: int) -> None:
        """Map the file and check that it numbers `documents` rows; raises CollectionCorrupt."""
        try:
            table = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy reads the header with Python's tokenizer, which has many kinds of errors
            raise CollectionCorrupt(path, f"cannot be read as an array: {error}") from error
        if table.dtype != np.uint64 or table.shape != (2, documents):
            raise CollectionCorrupt(path, f"has shape {table.shape} of {table.dtype}, not (2, {documents}) of uint64")
        self._hashes: NDArray[np.uint64] = table[0]
        self._rows: NDArray[np.uint64] = table[1]
        if documents and int(self._rows.max()) >= documents:
            raise CollectionCorrupt(path, "contains the number of a row that does not exist")

    def find(
        self, ids: Sequence[str], hashes: NDArray[np.uint64], id_of_row: Callable[[int], str]
    ) -> NDArray[np.int64]:
        """Return each id's row, int64[len(ids)], -1 where it is not in this segment."""
        rows = np.full(len(ids), -1, dtype=np.int64)
        count = len(self._hashes)
        positions = np.searchsorted(self._hashes, hashes)
        inside = np.flatnonzero(positions < count)
        candidates = inside[self._hashes[positions[inside]] == hashes[inside]]
        for query in candidates:
            position = int(positions[query])
            while position < count and self._hashes[position] == hashes[query]:
                row = int(self._rows[position])
                if id_of_row(row) == ids[query]:
                    rows[query] = row
                    break
                position += 1
        return rows
