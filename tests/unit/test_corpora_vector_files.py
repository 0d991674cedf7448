"""Ready-made vectors in binary files: all four formats give the same documents; damaged files are refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, save_npz

from lsr.corpora import holds_vectors, open_corpus
from lsr.documents import Document, SparseByIndex, SparseByToken
from lsr.errors import CorpusDamaged, CorpusUnreadable, InvalidDocument

MATRIX = csr_array(np.array([[0, 1.5, 0, 2.0], [0, 0, 0, 0], [0.25, 0, 3.0, 0]], dtype=np.float32))
EXPECTED = [
    Document("0", vectors={"default": SparseByIndex((1, 3), (1.5, 2.0))}),
    Document("1", vectors={"default": SparseByIndex((), ())}),
    Document("2", vectors={"default": SparseByIndex((0, 2), (0.25, 3.0))}),
]


def write_npz(path: Path, matrix: csr_array) -> None:
    save_npz(path, matrix)


def write_bigann(path: Path, matrix: csr_array) -> None:
    header = np.array([*matrix.shape, matrix.nnz], dtype="<i8").tobytes()
    arrays = matrix.indptr.astype("<i8"), matrix.indices.astype("<i4"), matrix.data.astype("<f4")
    path.write_bytes(header + b"".join(array.tobytes() for array in arrays))


def write_seismic(path: Path, matrix: csr_array) -> None:
    data = struct.pack("<I", matrix.shape[0])
    for row in range(matrix.shape[0]):
        place = slice(matrix.indptr[row], matrix.indptr[row + 1])
        terms, weights = matrix.indices[place].astype("<u4"), matrix.data[place].astype("<f4")
        data += struct.pack("<I", len(terms)) + terms.tobytes() + weights.tobytes()
    path.write_bytes(data)


WRITERS = {".npz": write_npz, ".csr": write_bigann, ".bin": write_seismic}


@pytest.fixture(params=WRITERS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def contents(path: Path) -> list[Document | InvalidDocument]:
    return [line.content for line in open_corpus(str(path))]


def test_a_matrix_file_becomes_documents_numbered_from_0(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    WRITERS[suffix](path, MATRIX)
    assert holds_vectors(str(path))
    corpus = open_corpus(str(path))
    assert [line.content for line in corpus] == [line.content for line in corpus] == EXPECTED
    assert (corpus.size, corpus.position) == (3, 3)


def test_a_row_with_a_bad_weight_costs_that_row_only(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    matrix = MATRIX.copy()
    matrix.data[0] = np.nan
    WRITERS[suffix](path, matrix)
    bad, *good = contents(path)
    assert isinstance(bad, InvalidDocument)
    assert "row 0" in str(bad)
    assert good == EXPECTED[1:]


def test_a_file_without_rows_is_an_empty_corpus(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    WRITERS[suffix](path, csr_array((0, 4), dtype=np.float32))
    assert contents(path) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([".csr", ".bin", ".npz"]), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_damaged_matrix_file_is_refused_or_read_within_its_bounds(
    tmp_path: Path, suffix: str, place: int, byte: int, cut: bool
) -> None:
    path = tmp_path / f"m{suffix}"
    WRITERS[suffix](path, MATRIX)
    content = bytearray(path.read_bytes())
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] = byte
    path.write_bytes(content)
    with suppress(CorpusUnreadable):  # and no other error
        assert all(isinstance(one, Document | InvalidDocument) for one in contents(path))


def write_arrow(path: Path, rows: dict[str, list[object]], note: bytes | None = None) -> None:
    table = pa.table(rows)
    if note is not None:
        table = table.replace_schema_metadata({b"lsr.vectors": note})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def test_arrow_rows_by_token_and_by_number(tmp_path: Path) -> None:
    path = tmp_path / "v.arrow"
    write_arrow(path, {"id": ["a", "b"], "tokens": [["x", "y"], []], "weights": [[1.0, 2.0], []], "text": ["t", None]})
    assert contents(path) == [
        Document("a", text="t", vectors={"default": SparseByToken({"x": 1.0, "y": 2.0})}),
        Document("b", vectors={"default": SparseByToken({})}),
    ]
    write_arrow(path, {"id": [7], "indices": [[3, 1]], "values": [[1.0, 0.5]], "metadata": ['{"year":2020}']})
    assert contents(path) == [
        Document("7", metadata={"year": 2020}, vectors={"default": SparseByIndex((3, 1), (1.0, 0.5))})
    ]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"id": None}, "id"),
        ({"tokens": ["x", "x"], "weights": [1.0, 2.0]}, "tokens"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": [float("nan"), 1.0]}, "sparse.x"),
        ({"weights": [-1.0, 1.0]}, "sparse.x"),
        ({"metadata": "{"}, "metadata"),
    ],
)
def test_a_bad_arrow_row_is_named_and_the_next_one_is_read(tmp_path: Path, row: dict[str, object], field: str) -> None:
    path = tmp_path / "v.arrow"
    good = {"id": "b", "tokens": ["x", "y"], "weights": [1.0, 2.0], "metadata": None}
    rows = [good | {"id": "a"} | row, good]
    schema = pa.schema(
        {"id": pa.string(), "tokens": pa.list_(pa.string()), "weights": pa.list_(pa.float32()), "metadata": pa.string()}
    )
    table = pa.Table.from_pylist(rows, schema)
    write_arrow(path, {name: table[name] for name in table.column_names})
    bad, read = contents(path)
    assert isinstance(bad, InvalidDocument)
    assert bad.field == field
    assert isinstance(read, Document)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"id": ["a"], "weights": [[1.0]]}, "tokens"),
        ({"id": ["a"], "tokens": [["x"]], "weights": [[1.0]], "url": ["u"]}, "url"),
    ],
)
def test_an_arrow_file_with_other_columns_is_refused(tmp_path: Path, rows: dict[str, list[object]], words: str) -> None:
    path = tmp_path / "v.arrow"
    write_arrow(path, rows)
    with pytest.raises(CorpusUnreadable, match=words):
        contents(path)


def test_a_flipped_byte_in_an_arrow_file_never_reads_outside_of_it(tmp_path: Path) -> None:
    path = tmp_path / "v.arrow"
    write_arrow(path, {"id": ["a", "b"], "tokens": [["x"], ["y", "z"]], "weights": [[1.0], [2.0, 3.0]]})
    original = path.read_bytes()
    for place in range(0, len(original), 3):
        damaged = bytearray(original)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with suppress(CorpusUnreadable, CorpusDamaged):  # and no other error
            assert all(isinstance(one, Document | InvalidDocument) for one in contents(path))


def test_a_note_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.arrow"
    rows: dict[str, list[object]] = {"id": ["a"], "tokens": [["x"]], "weights": [[1.0]]}
    write_arrow(path, rows, json.dumps({"encoder": "bm25", "settings": {}, "fingerprint": "f"}).encode())
    assert contents(path)
    write_arrow(path, rows, b"{")
    with pytest.raises(CorpusUnreadable, match=r"lsr\.vectors"):
        contents(path)


def test_a_compressed_matrix_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "m.csr.gz"
    path.write_bytes(b"\x1f\x8b")
    with pytest.raises(CorpusUnreadable, match="decompress it first"):
        contents(path)
    Path(tmp_path / "m.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(CorpusUnreadable, match=r"m\.npz"):
        contents(tmp_path / "m.npz")
