"""Pending documents as rows of the catalog: a document as JSON, its vectors as numbers. Encodes and decodes.

A vector's bytes are its number of terms (uint32), the term numbers (uint32, ascending) and the weights (float32), all
little-endian; those of several names follow each other in alphabetical order. Behind them stand the dense vectors, in
alphabetical order too: a scale (float32), and a row of int8, padded with zeros to a multiple of four bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import DenseRows, PreparedRows
from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.storage.catalog_schema import PendingRow
from lsr.storage.sorted_runs import Quantised


def encode_rows(
    first_row: int,
    documents: Sequence[Document],
    vectors: Mapping[str, PreparedRows],
    dense: Mapping[str, DenseRows] | None = None,
) -> list[PendingRow]:
    """Return documents as rows with numbers from `first_row` on; `vectors[name]`, `dense[name]` have a row for each."""
    packed = [vectors[name].packed() for name in sorted(vectors)]
    packed += [_packed_dense(rows) for _, rows in sorted((dense or {}).items())]
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


def decode_rows(
    rows: Sequence[PendingRow], names: Sequence[str], dense: Mapping[str, int]
) -> tuple[list[Document], dict[str, csr_array], dict[str, Quantised]]:
    """Return the documents, for each name their vectors as csr_array float32 [len(rows), terms], and their dense ones.

    `dense` are the dimensions of each dense vector: the result has int8[len(rows), dims] and float32[len(rows)] for it.
    Raises CollectionCorrupt for content that `encode_rows` cannot have made.
    """
    try:
        documents = [Document(**orjson.loads(row.document)) for row in rows]
        return documents, *_unpack([row.vectors for row in rows], sorted(names), dict(sorted(dense.items())))
    except (ValueError, TypeError) as error:
        reason = f"table pending, rows {rows[0].row} to {rows[-1].row}: {error}"
        raise CollectionCorrupt("catalog.sqlite", reason) from error


def _packed_dense(rows: DenseRows) -> list[bytes]:
    values, scale = rows.rows(0, rows.n_docs)
    padded = np.zeros((len(scale), 4 + _padded(rows.dims)), dtype=np.uint8)
    padded[:, :4] = scale.astype("<f4").view(np.uint8).reshape(-1, 4)
    padded[:, 4 : 4 + rows.dims] = values.view(np.uint8)
    content, width = padded.tobytes(), padded.shape[1]
    return [content[at : at + width] for at in range(0, len(content), width)]


def _padded(dims: int) -> int:
    return -(-dims // 4) * 4


def _unpack(
    packed: Sequence[bytes], names: Sequence[str], dense: Mapping[str, int]
) -> tuple[dict[str, csr_array], dict[str, Quantised]]:
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
    rows = {}
    for name, dims in dense.items():
        width = _padded(dims) >> 2
        if (at + 1 + width > ends).any():
            raise ValueError(f"a dense vector {name!r} is missing or cut off")
        scale = words[at].view("<f4").astype(np.float32)
        if not (np.isfinite(scale) & (scale >= 0)).all():
            raise ValueError(f"a dense vector {name!r} has a scale that is negative or not finite")
        steps = words[(at + 1)[:, None] + np.arange(width)].view(np.int8)
        rows[name] = np.ascontiguousarray(steps[:, :dims]), scale
        at = at + 1 + width
    if (at != ends).any():
        raise ValueError("there is more than the vectors")
    return matrices, rows
