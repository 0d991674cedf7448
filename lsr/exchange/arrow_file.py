"""Documents and vectors in Arrow's formats, batch by batch; lsr/corpora/arrow_vectors.py reads them.

    an Arrow IPC file, a Parquet file, or a folder as `datasets.Dataset.save_to_disk` writes it

Terms are written as tokens, so that the file needs no vocabulary; zstd compresses most of their size away.
"""

from __future__ import annotations

import errno
import io
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from lsr.corpora.arrow_vectors import DENSE_KEY, DENSE_PREFIX, METADATA_KEY
from lsr.documents import Document
from lsr.exchange.rows import VectorSource, dense_of, in_batches

BATCH_ROWS: Final = 1_000
_DATA: Final = "data-00000-of-00001.arrow"

_SCHEMA: Final = pa.schema(
    {
        "id": pa.large_string(),
        "title": pa.large_string(),
        "text": pa.large_string(),
        "parent": pa.large_string(),
        "metadata": pa.large_string(),  # a JSON object: documents may have different keys
        "tokens": pa.large_list(pa.large_string()),
        "weights": pa.large_list(pa.float32()),
    }
)


def write_arrow(source: VectorSource, out: BinaryIO) -> int:
    """Write all rows as an Arrow IPC file; return their number."""
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(cast("io.IOBase", out), schema := _schema_of(source), options=options) as writer:
        return _write_batches(source, schema, writer.write_batch)


def write_parquet(source: VectorSource, out: BinaryIO) -> int:
    """Write all rows as a Parquet file; return their number."""
    import pyarrow.parquet as pq

    schema = _schema_of(source)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        return _write_batches(source, schema, writer.write_batch)


def write_dataset(source: VectorSource, folder: Path) -> int:
    """Write all rows into a new folder that `datasets.load_from_disk` reads; return their number.

    The folder appears when it is complete. Raises OSError, FileExistsError among them.
    """
    if folder.exists():
        raise FileExistsError(errno.EEXIST, "exists already", str(folder))
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unfinished", dir=folder.parent))
    try:
        schema = _schema_of(source)
        with (unfinished / _DATA).open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            count = _write_batches(source, schema, writer.write_batch)
        state = {"_data_files": [{"filename": _DATA}], "_fingerprint": uuid.uuid4().hex[:16], "_split": None}
        formats: dict[str, Any] = {
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
        }
        (unfinished / "state.json").write_text(json.dumps(state | formats))
        (unfinished / "dataset_info.json").write_text("{}")
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return count


def _schema_of(source: VectorSource) -> pa.Schema:
    schema = _SCHEMA
    notes: dict[str | bytes, str | bytes] = {}
    if source.encoder is not None:
        notes[METADATA_KEY] = json.dumps(dict(source.encoder)).encode()
    if source.dense:
        notes[DENSE_KEY] = json.dumps(
            {name: note.encoder and dict(note.encoder) for name, note in source.dense.items()}
        )
        for name, note in source.dense.items():
            schema = schema.append(pa.field(DENSE_PREFIX + name, pa.list_(pa.float32(), note.dimensions)))
    return schema.with_metadata(notes) if notes else schema


def _write_batches(source: VectorSource, schema: pa.Schema, write: Callable[[pa.RecordBatch], None]) -> int:
    count = 0
    for rows in in_batches(source.by_token(), BATCH_ROWS):
        write(_batch(rows, schema))
        count += len(rows)
    return count


def _batch(rows: Sequence[tuple[Document, dict[str, float]]], schema: pa.Schema) -> pa.RecordBatch:
    documents = [document for document, _ in rows]
    columns: dict[str, list[Any]] = {
        "id": [document.id for document in documents],
        "title": [document.title or None for document in documents],
        "text": [document.text or None for document in documents],
        "parent": [document.parent for document in documents],
        "metadata": [json.dumps(dict(d.metadata), ensure_ascii=False) if d.metadata else None for d in documents],
        "tokens": [list(vector) for _, vector in rows],
        "weights": [list(vector.values()) for _, vector in rows],
    }
    dense = [dense_of(document) for document in documents]
    for field in schema:
        if field.name.startswith(DENSE_PREFIX):
            columns[field.name] = [one.get(field.name.removeprefix(DENSE_PREFIX)) for one in dense]
    return pa.RecordBatch.from_arrays([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
