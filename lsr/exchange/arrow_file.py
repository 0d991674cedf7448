"""Documents and vectors as an Arrow IPC file, batch by batch; lsr/corpora/arrow_vectors.py reads it.

Terms are written as tokens, so that the file needs no vocabulary; zstd compresses most of their size away.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from lsr.corpora.arrow_vectors import DENSE_KEY, DENSE_PREFIX, METADATA_KEY
from lsr.documents import Document
from lsr.exchange.rows import VectorSource, dense_of, in_batches

BATCH_ROWS: Final = 1_000

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
    """Write all rows; return their number."""
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
    if notes:
        schema = schema.with_metadata(notes)
    count = 0
    with pa.ipc.new_file(cast("io.IOBase", out), schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for rows in in_batches(source.by_token(), BATCH_ROWS):
            writer.write_batch(_batch(rows, schema))
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
