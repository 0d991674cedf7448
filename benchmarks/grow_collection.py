"""Grows a collection to any number of documents: new ones resemble the old, with every named vector.

    python benchmarks/grow_collection.py COLLECTION OUT --documents 1000000 [--seed 7]

A new document takes the terms of one old document, drops a quarter of them, adds a quarter of another's, and multiplies
the weights by log-normal noise; its dense vector is the sum of the first one's, half of the second one's and noise. Its
text is the beginning of the first one's. OUT has COLLECTION's settings, schema and search defaults. The new documents
form segments of at most 500,000, which are not merged. Prints a JSON line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lsr.collection import Collection
from lsr.dense_vectors import unit_rows
from lsr.documents import Document
from lsr.storage import layout
from lsr.storage.catalog import CATALOG_FILE, Catalog
from lsr.storage.catalog_digest import write_digest
from lsr.storage.segment_writer import NewSegment, SegmentWriter

BATCH = 10_000
SEGMENT = 500_000
TEXT_CHARACTERS = 300
DROPPED = 0.25
NOISE = 0.3


def mixed(
    generator: np.random.Generator, matrix: csr_array, first: NDArray[np.int64], other: NDArray[np.int64]
) -> csr_array:
    """Return a row for each pair: three quarters of the first one's terms, a quarter of the other's."""
    parts = []
    for rows, kept in ((first, 1 - DROPPED), (other, DROPPED)):
        part: csr_array = matrix[rows]
        part.data = part.data * (generator.random(part.nnz) < kept) * generator.lognormal(0, NOISE, part.nnz)
        parts.append(part)
    made: csr_array = parts[0].maximum(parts[1]).astype(np.float32)
    made.eliminate_zeros()
    made.sort_indices()
    made.data = made.data.astype(np.float16).astype(np.float32)
    return made


def main() -> None:
    """Grow the collection and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    started = time.perf_counter()
    shutil.copytree(arguments.collection, arguments.out)
    with Collection.open(arguments.out, "w") as collection:
        if collection.info().segments != 1:
            raise SystemExit(f"{arguments.collection} must be one segment: run `lsr merge` it first")
        segment = collection._state.generation.segments[0].segment
        documents = [document for document, *_ in collection.scan()]
        sparse = {name: index.rows(0, index.n_docs) for name, index in segment.indexes.items()}
        dense = {}
        for name, kept in segment.dense.items():
            steps, scale = kept.rows(0, kept.n_docs)
            dense[name] = steps * scale[:, None]
    generator = np.random.default_rng(arguments.seed)
    catalog = Catalog.open(arguments.out / CATALOG_FILE, "w")
    shape = layout.shape_of(layout.read_contents(catalog))
    number, missing = 0, arguments.documents - len(documents)
    while missing:
        writer = SegmentWriter(NewSegment(arguments.out, str(uuid.uuid4()), shape))
        for start in range(0, min(missing, SEGMENT), BATCH):
            size = min(BATCH, missing - start, SEGMENT - start)
            first, other = generator.integers(len(documents), size=(2, size))
            batch = [
                Document(f"grown-{number + i:08}", documents[at].title, (documents[at].text or "")[:TEXT_CHARACTERS],
                         metadata=documents[at].metadata)
                for i, at in enumerate(first.tolist())
            ]  # fmt: skip
            rows = {name: mixed(generator, matrix, first, other) for name, matrix in sparse.items()}
            directions = {}
            for name, vectors in dense.items():
                noise = generator.standard_normal((size, vectors.shape[1]), dtype=np.float32) / vectors.shape[1] ** 0.5
                directions[name] = unit_rows(vectors[first] + vectors[other] / 2 + noise / 2)
            writer.add(batch, rows, directions)
            number += size
        finished = writer.finish()
        with catalog.transaction() as change:
            change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
        missing -= finished.documents
    catalog.close()
    write_digest(arguments.out)
    with Collection.open(arguments.out) as collection:
        info = collection.info()
    print(json.dumps({
        "documents": info.documents, "segments": info.segments, "bytes": info.bytes,
        "bytes_per_document": round(info.bytes / info.documents), "seconds": round(time.perf_counter() - started),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
