"""Pending documents as rows of the catalog: a document as JSON, its vectors as numbers. Encodes and decodes.

A vector's bytes are its number of terms (uint32), the term numbers (uint32, ascending) and the weights (float32), all
little-endian; several named vectors follow each other in alphabetical order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import PreparedRows
from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.storage.catalog_schema import PendingRow


def encode_rows(first_row: int, documents: Sequence[Document], vectors: Mapping[str, PreparedRows]) -> list[PendingRow]:
    """Return documents as rows, numbered from `first_row`; `vectors[name]` has a row for each document."""
    packed = [vectors[name].packed() for name in sorted(vectors)]
    joined = packed[0] if len(packed) == 1 else list(map(b"".join, zip(*packed, strict=True)))
    return [
        PendingRow(
            first_row + at,
            document.id,
            orjson.dumps(
                {
                    "id": document.id,
                    "title": document.title,
                    "text": document.text,
                    "parent": document.parent,
                    "metadata": dict(document.metadata),
                }
            ),
            joined[at],
        )
        for at, document in enumerate(documents)
    ]


def decode_rows(rows: Sequence[PendingRow], names: Sequence[str]) -> tuple[list[Document], dict[str, csr_array]]:
    """Return the documents and, for each name, their vectors as csr_array float32 [len(rows), terms].

    Raises CollectionCorrupt for content that `encode_rows` cannot have written.
    """
    try:
        documents = [Document(**orjson.loads(row.document)) for row in rows]
        return documents, _unpack([row.vectors for row in rows], sorted(names))
    except (ValueError, TypeError) as error:
        reason = f"table pending, rows {rows[0].row} to {rows[-1].row}: {error}"
        raise CollectionCorrupt("catalog.sqlite", reason) from error


def _unpack(packed: Sequence[bytes], names: Sequence[str]) -> dict[str, csr_array]:
    """Read all rows at once: `at` is where the next vector of each row begins, in words of four bytes."""
    words = np.frombuffer(b"".join(packed), dtype="<u4")
    ends = np.fromiter(accumulate(map(len, packed)), dtype=np.int64, count=len(packed)) >> 2
    at = ends - (np.fromiter(map(len, packed), dtype=np.int64, count=len(packed)) >> 2)
    matrices = {}
    for name in names:
        if (at >= ends).any():
            raise ValueError(f"a vector {name!r} is missing")
        lengths = words[at].astype(np.int64)
        if (at + 1 + 2 * lengths > ends).any():
            raise ValueError(f"a vector {name!r} is truncated")
        start = np.zeros(len(packed) + 1, dtype=np.int64)
        np.cumsum(lengths, out=start[1:])
        entries = np.arange(int(start[-1])) + np.repeat(at + 1 - start[:-1], lengths)
        term_ids: NDArray[np.int64] = words[entries].astype(np.int64)
        weights = words[entries + np.repeat(lengths, lengths)].view("<f4").astype(np.float32)
        width = int(term_ids.max()) + 1 if len(term_ids) else 1
        matrices[name] = csr_array((weights, term_ids, start), shape=(len(packed), width))
        at = at + 1 + 2 * lengths
    if (at != ends).any():
        raise ValueError("there are extra bytes after the vectors")
    return matrices
