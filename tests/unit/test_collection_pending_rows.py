"""Pending documents are read from the catalog as they were written; invalid bytes are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from index import PreparedRows
from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.storage.catalog_schema import PendingRow
from lsr.storage.pending_rows import decode_rows, encode_rows

DOCUMENTS = [
    Document("a", title="T", text="ü 🦞", parent="p", metadata={"year": 1, "tags": ["x"]}),
    Document("b"),
    Document("c", text="nothing else"),
]
VECTORS = {
    "splade": csr_array(np.array([[0, 1.5, 0, 2], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=np.float32)),
    "bm25": csr_array(np.array([[0, 0, 0], [0, 0, 3], [1, 2, 3]], dtype=np.float32)),
}


def encoded() -> list[PendingRow]:
    return encode_rows(7, DOCUMENTS, {name: PreparedRows.of(matrix) for name, matrix in VECTORS.items()})


def test_rows_come_back_as_they_were() -> None:
    rows = encoded()
    assert [(row.row, row.id) for row in rows] == [(7, "a"), (8, "b"), (9, "c")]
    documents, matrices = decode_rows(rows, list(VECTORS))
    assert documents == DOCUMENTS
    for name, expected in VECTORS.items():
        found = matrices[name]
        assert found.toarray().tolist() == expected[:, : found.shape[1]].toarray().tolist()
        assert found.nnz == expected.nnz


@pytest.mark.parametrize(
    "spoil",
    [
        lambda vectors: vectors[:-4],
        lambda vectors: vectors[:-1],
        lambda vectors: vectors + bytes(4),
        lambda vectors: b"",
        lambda vectors: (2**32 - 1).to_bytes(4, "little") + vectors[4:],
    ],
)
def test_vectors_that_encode_rows_cannot_have_written_are_refused(spoil) -> None:
    rows = encoded()
    rows[0] = PendingRow(7, "a", rows[0].document, spoil(rows[0].vectors))
    with pytest.raises(CollectionCorrupt, match="table pending"):
        decode_rows(rows, list(VECTORS))
