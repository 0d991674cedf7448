"""A segment depends only on its documents: neither on the order of their arrival nor on earlier merges."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import IndexConfig, SparseIndex
from lsr.dense_vectors import unit_rows
from lsr.documents import Document
from lsr.metadata import MetadataSchema
from lsr.storage import segment_writer, sorted_runs
from lsr.storage.segment import SEGMENTS_FOLDER, FinishedSegment, SegmentShape
from lsr.storage.segment_writer import NewSegment, SegmentWriter
from lsr.storage.sorted_runs import SortedRuns
from lsr.upkeep.segment_jobs import Job, run_job, save_arrays

DIMS = 6
SHAPE = SegmentShape(MetadataSchema({"year": "int"}), {"a": IndexConfig(), "b": IndexConfig()}, {"m": DIMS})
VOCABULARY = 50


class MemoryRun:
    """A run of ids, of which some live; document number n of all has the vector {n: n + 1} and the scale n + 1."""

    def __init__(self, ids: Sequence[str], live: Sequence[bool], first: int) -> None:
        self.ids = pa.chunked_array([pa.array(ids, pa.large_string())])
        self.live = np.array(live, dtype=np.bool_)
        self._first = first

    def table(self, start: int, stop: int) -> pa.Table:
        return pa.table({"id": self.ids}).slice(start, stop - start)

    def vectors(self, name: str, start: int, stop: int) -> csr_array:
        numbers = np.arange(self._first + start, self._first + stop)
        indptr = np.arange(len(numbers) + 1)
        return csr_array((numbers.astype(np.float32) + 1, numbers, indptr), shape=(len(numbers), self._first + stop))

    def dense(self, name: str, start: int, stop: int) -> sorted_runs.Quantised:
        scale = np.arange(self._first + start, self._first + stop, dtype=np.float32) + 1
        return np.zeros((len(scale), 2), dtype=np.int8), scale


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.integers(0, 3), st.booleans())), st.integers(1, 9))
@settings(deadline=None)
def test_live_documents_come_by_ascending_id_each_with_its_vector(
    documents: dict[str, tuple[int, bool]], window: int
) -> None:
    runs, expected, first = [], {}, 0
    for number in range(4):
        ids = sorted(identifier for identifier, (run, _) in documents.items() if run == number)
        runs.append(MemoryRun(ids, [documents[identifier][1] for identifier in ids], first))
        expected |= {identifier: first + at + 1.0 for at, identifier in enumerate(ids) if documents[identifier][1]}
        first += len(ids)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorted_runs, "_WINDOW", window)
        merged = SortedRuns(runs)
        found = [identifier for table in merged.tables() for identifier in table.column("id").to_pylist()]
        weights = [float(weight) for matrix in merged.vectors("a") for weight in matrix.data]
        scales = [float(one) for values, scale in merged.dense("m") for _, one in zip(values, scale, strict=True)]
    assert found == sorted(expected)
    assert weights == scales == [expected[identifier] for identifier in found]
    assert len(merged) == len(expected)


def some_documents(count: int) -> tuple[list[Document], csr_array]:
    """Return documents in random order, and a matrix with the vector of each."""
    generator = np.random.default_rng(count)
    numbers = generator.permutation(10 * count)[:count]
    documents = [Document(f"d{n}", text=f"text {n} " * int(n % 7), metadata={"year": int(n)}) for n in numbers]
    dense = generator.random((count, VOCABULARY)) * (generator.random((count, VOCABULARY)) < 0.2)
    return documents, csr_array(dense.astype(np.float32))


def write(folder: Path, documents: Sequence[Document], matrix: csr_array, batch: int = 37) -> FinishedSegment:
    """Write a segment with `SegmentWriter`; the second vector is the first one doubled, the dense one its beginning."""
    writer = SegmentWriter(NewSegment(folder, str(uuid.uuid4()), SHAPE))
    for start in range(0, len(documents), batch):
        rows = matrix[start : start + batch]
        vectors = {"a": rows, "b": csr_array(rows * np.float32(2))}
        writer.add(documents[start : start + batch], vectors, {"m": unit_rows(rows[:, :DIMS].toarray())})
    return writer.finish()


def merge(folder: Path, inputs: Sequence[FinishedSegment], dead: dict[int, NDArray[np.int64]]) -> FinishedSegment:
    """Merge segments with some deleted documents."""
    rows = tuple(finished.row(number) for number, finished in enumerate(inputs))
    save_arrays(folder / "arrays.npz", dead, {})
    return run_job(folder, Job(str(uuid.uuid4()), inputs=rows, arrays=str(folder / "arrays.npz")), SHAPE)


def contents(folder: Path, finished: FinishedSegment) -> dict[str, bytes]:
    """Return the bytes of a segment's files, except the one that contains its uuid."""
    root = folder / SEGMENTS_FOLDER / finished.uuid
    paths = (path for path in root.rglob("*") if path.is_file() and path != root / "manifest.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_a_segment_is_the_same_whatever_runs_it_was_sorted_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, matrix = some_documents(500)
    in_one = write(tmp_path, documents, matrix)
    monkeypatch.setattr(segment_writer, "_RUN_BYTES", 4_000)
    in_many = write(tmp_path, documents, matrix)
    assert contents(tmp_path, in_many) == contents(tmp_path, in_one)


def test_a_merged_segment_is_the_one_that_its_live_documents_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, matrix = some_documents(600)
    parts = [slice(0, 100), slice(100, 350), slice(350, 600)]
    inputs = [write(tmp_path, documents[part], matrix[part]) for part in parts]
    kept, dead = [], {}
    for number, part in enumerate(parts):
        by_id = sorted(range(part.start, part.stop), key=lambda at: documents[at].id)
        dead[number] = np.arange(0, len(by_id), 3 + number)
        kept += [at for row, at in enumerate(by_id) if row not in set(dead[number].tolist())]
    expected = write(tmp_path, [documents[at] for at in kept], matrix[kept])
    merged = merge(tmp_path, inputs, dead)
    assert merged.documents == len(kept)
    assert contents(tmp_path, merged) == contents(tmp_path, expected)


def test_a_merge_copies_the_vectors_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_runs, "_WINDOW", 256)
    build = SparseIndex.build

    def only_read(vectors: Iterable[csr_array], *_: object, path: Path, **__: object) -> SparseIndex:
        """Replace a build, which keeps tens of thousands of rows at a time: more than this test has."""
        for _ in vectors:
            pass
        return build([], path=path)

    peaks = []
    for count in (500, 4_000):
        documents, _ = some_documents(count)
        matrix = csr_array(np.random.default_rng(1).random((count, 400), dtype=np.float32))
        half = count // 2
        inputs = [write(tmp_path, documents[:half], matrix[:half]), write(tmp_path, documents[half:], matrix[half:])]
        with monkeypatch.context() as patched:
            patched.setattr(SparseIndex, "build", only_read)
            tracemalloc.start()
            merge(tmp_path, inputs, {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < matrix.nnz * 8 / 20
