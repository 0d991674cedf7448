"""Spool files: the documents of a part of a corpus that belong to one shard, on their way there.

A worker reads a part of the corpus, writes one spool file for each shard, and one file with what it counted. So each
text is read once where it lies, and a shard is loaded from its files alone: in the order of the corpus, whatever order
the workers finished in. A file is Arrow IPC, compressed by zstd, with the columns `line` (its number in the corpus) and
`json` (the document, or why it is invalid).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa

from lsr.corpora.corpus import CorpusLine
from lsr.documents import DenseInput, Document, SparseByIndex, SparseByToken, VectorInput
from lsr.errors import CorpusDamaged, InvalidDocument
from lsr.storage.files import sync_file

BATCH_LINES: Final = 1024
_COLUMNS: Final[list[tuple[str, pa.DataType]]] = [("line", pa.int64()), ("json", pa.large_binary())]
_SCHEMA: Final = pa.schema(_COLUMNS)


class SpoolWriter:
    """Writes one spool file. `close` gives it its name; without that nothing remains."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.unfinished")
        self._temporary.parent.mkdir(parents=True, exist_ok=True)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(str(self._temporary), _SCHEMA, options=options)
        self._lines: list[int] = []
        self._rows: list[bytes] = []

    def add(self, line: CorpusLine) -> None:
        """Add a line of the corpus; lines are added by ascending number."""
        self._lines.append(line.line_number)
        self._rows.append(json.dumps(to_json(line.content)).encode())
        if len(self._rows) >= BATCH_LINES:
            self._flush()

    def close(self) -> None:
        """Finish the file, durably."""
        self._flush()
        self._writer.close()
        sync_file(self._temporary)
        self._temporary.replace(self._path)

    def abandon(self) -> None:
        """Remove what was written."""
        self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._rows:
            columns: list[pa.Array[Any]] = [pa.array(self._lines, pa.int64()), pa.array(self._rows, pa.large_binary())]
            self._writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
            self._lines, self._rows = [], []


class SpooledCorpus:
    """The documents of one shard, from its spool files, by ascending line number."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, name: str, files: Sequence[Path], identity: str, lines: int) -> None:
        """`identity` is that of the corpus and the shard; `lines` is their number in all files."""
        self.name = name
        self.size: int | None = lines
        self.position = 0
        self._files = list(files)
        self._identity = identity

    def identity(self) -> str | None:
        """Return a string that is equal for the same shard of the same corpus."""
        return self._identity

    def __iter__(self) -> Iterator[CorpusLine]:
        """Yield the lines; raises CorpusDamaged for a file that cannot be read."""
        self.position = 0
        for line in heapq.merge(*map(read_spool, self._files), key=lambda line: line.line_number):
            self.position += 1
            yield line


def read_spool(path: Path) -> Iterator[CorpusLine]:
    """Yield the lines of one spool file at bounded memory; raises CorpusDamaged."""
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                lines: list[Any] = batch.column("line").to_pylist()
                contents: list[Any] = batch.column("json").to_pylist()
                for line, content in zip(lines, contents, strict=True):
                    yield CorpusLine(line, from_json(json.loads(content)))
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        detail = f"{path}: this part of the corpus cannot be read ({error}): remove its folder and run with --resume"
        raise CorpusDamaged(detail) from error


def to_json(content: Document | InvalidDocument) -> dict[str, Any]:
    """Return a line's content as JSON values."""
    if isinstance(content, InvalidDocument):
        return {"invalid": content.code, "detail": content.detail, "field": content.field}
    return {
        "id": content.id,
        "title": content.title,
        "text": content.text,
        "parent": content.parent,
        "metadata": dict(content.metadata),
        "vectors": {name: _vector_to_json(vector) for name, vector in content.vectors.items()},
    }


def from_json(value: dict[str, Any]) -> Document | InvalidDocument:
    """Return what `to_json` was given."""
    if "invalid" in value:
        return InvalidDocument(value["invalid"], value["detail"], field=value["field"])
    vectors = {name: _vector_from_json(vector) for name, vector in value.pop("vectors").items()}
    return Document(**value, vectors=vectors)


def _vector_to_json(vector: VectorInput) -> dict[str, Any]:
    if isinstance(vector, SparseByToken):
        return {"weights": dict(vector.weights)}
    if isinstance(vector, DenseInput):
        return {"dense": list(vector.values)}
    return {"indices": list(vector.indices), "values": list(vector.values)}


def _vector_from_json(value: dict[str, Any]) -> VectorInput:
    if "weights" in value:
        return SparseByToken(value["weights"])
    if "dense" in value:
        return DenseInput(tuple(value["dense"]))
    return SparseByIndex(tuple(value["indices"]), tuple(value["values"]))
