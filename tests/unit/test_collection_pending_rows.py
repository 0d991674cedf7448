"""Pending documents are read from the catalog as they were written; invalid bytes are refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
from scipy.sparse import csr_array

from index import DenseRows, PreparedRows
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
DENSE = {
    "meaning": DenseRows.build([np.float32([[1, 0.5, 0, 0, -1], [0, 0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5]])], 5),
    "aspect": DenseRows.build([np.float32([[0, 0, 0, 0], [-1, 1, -1, 1], [1, 0, 0, 0]])], 4),
}
DIMS = {"meaning": 5, "aspect": 4}


def encoded(dense: Mapping[str, DenseRows] = MappingProxyType({})) -> list[PendingRow]:
    return encode_rows(7, DOCUMENTS, {name: PreparedRows.of(matrix) for name, matrix in VECTORS.items()}, dense)


def test_rows_come_back_as_they_were() -> None:
    rows = encoded()
    assert [(row.row, row.id) for row in rows] == [(7, "a"), (8, "b"), (9, "c")]
    documents, matrices, dense = decode_rows(rows, list(VECTORS), {})
    assert documents == DOCUMENTS
    assert dense == {}
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
        decode_rows(rows, list(VECTORS), {})


def test_dense_vectors_stand_behind_the_others_and_come_back_as_they_were() -> None:
    rows = encoded(DENSE)
    bare = encoded()
    for at, row in enumerate(rows):
        assert row.vectors.startswith(bare[at].vectors)
        # In alphabetical order: aspect, a scale and 4 bytes; meaning, a scale and 5 bytes with 3 of padding.
        behind = row.vectors[len(bare[at].vectors) :]
        assert len(behind) == 4 + 4 + 4 + 8
        steps, scale = DENSE["meaning"].row(at)
        assert behind[8:] == scale.astype("<f4").tobytes() + steps.tobytes() + bytes(3)
    _, matrices, dense = decode_rows(rows, list(VECTORS), DIMS)
    assert matrices.keys() == VECTORS.keys()
    for name, expected in DENSE.items():
        steps, scale = dense[name]
        assert steps.tolist() == expected.rows(0, 3)[0].tolist()
        assert scale.tolist() == expected.rows(0, 3)[1].tolist()
        assert DenseRows(steps, scale).score([0, 1, 2], np.ones(DIMS[name])).shape == (3,)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda vectors: vectors[:-4],
        lambda vectors: vectors[:-12],
        lambda vectors: vectors + bytes(4),
        lambda vectors: vectors[:-12] + np.float32(np.nan).tobytes() + vectors[-8:],
        lambda vectors: vectors[:-12] + np.float32(-1).tobytes() + vectors[-8:],
    ],
)
def test_invalid_bytes_of_dense_vectors_are_refused(spoil) -> None:
    rows = encoded(DENSE)
    rows[0] = PendingRow(7, "a", rows[0].document, spoil(rows[0].vectors))
    with pytest.raises(CollectionCorrupt, match="table pending"):
        decode_rows(rows, list(VECTORS), DIMS)


def test_a_collection_of_other_dense_vectors_refuses_the_rows() -> None:
    for dims in ({}, {"meaning": 5}, DIMS | {"meaning": 9}, DIMS | {"more": 1}):
        with pytest.raises(CollectionCorrupt, match="table pending"):
            decode_rows(encoded(DENSE), list(VECTORS), dims)
