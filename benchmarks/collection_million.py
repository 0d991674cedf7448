"""Open time, bytes, and a merge's time and peak memory for a large collection of ready-made sparse vectors.

usage: python benchmarks/collection_million.py [--documents 1000000] [--terms 106] [--folder DIR]

Writes two segments of half the documents each, like an offline load, then merges them in a child process, like the
background upkeep, and prints a JSON line. Vectors are random over 30,000 tokens, Zipf-like, seeded; texts have about 50
characters, so the bytes are those of the vectors.

`merge_peak_mib` is the merging process's own peak memory; `merge_peak_mapped_mib` includes the pages of mapped files,
which the kernel can reclaim.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from index import IndexConfig
from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.metadata import MetadataSchema
from lsr.storage.catalog import CATALOG_FILE, Catalog
from lsr.storage.segment import SegmentShape
from lsr.storage.segment_writer import NewSegment, SegmentWriter
from lsr.vectors import VectorConfig

VOCABULARY = 30_000
BATCH = 10_000


def some_vectors(generator: np.random.Generator, count: int, terms: int) -> csr_array:
    """Rows of about `terms` distinct terms each."""
    drawn = np.sort((VOCABULARY * generator.random((count, terms + terms // 4)) ** 2.5).astype(np.int64), axis=1)
    distinct = np.ones(drawn.shape, dtype=np.bool_)
    distinct[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    indptr = np.concatenate([[0], np.cumsum(distinct.sum(axis=1))])
    weights = generator.gamma(2.0, 0.5, int(indptr[-1])).astype(np.float16).astype(np.float32) + np.float32(0.01)
    return csr_array(
        (weights.astype(np.float16).astype(np.float32), drawn[distinct], indptr), shape=(count, VOCABULARY)
    )


def write_segment(folder: Path, first: int, count: int, terms: int) -> float:
    """Write one segment like an offline load and list it; return the seconds."""
    generator = np.random.default_rng(first)
    started = time.perf_counter()
    shape = SegmentShape(MetadataSchema(), {"default": IndexConfig()})
    writer = SegmentWriter(NewSegment(folder, str(uuid.uuid4()), shape))
    for start in range(first, first + count, BATCH):
        size = min(BATCH, first + count - start)
        numbers = (number * 7919 % 10_000_019 for number in range(start, start + size))
        documents = [Document(f"d{number:08}", text="some text " * 5) for number in numbers]
        writer.add(documents, {"default": some_vectors(generator, size, terms)})
    finished = writer.finish()
    catalog = Catalog.open(folder / CATALOG_FILE, "w")
    with catalog.transaction() as change:
        change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
    catalog.close()
    return time.perf_counter() - started


def watch_child(collection: Collection, peak: dict[str, int]) -> None:
    """Record the merging process's peak MiB, own and including mapped files, until this process ends."""
    while True:
        time.sleep(0.02)
        child = collection._upkeep._child
        with contextlib.suppress(OSError):  # it may have ended
            for line in Path(f"/proc/{child.pid}/status").read_text().splitlines() if child else ():
                for field, name in (("RssAnon:", "merge_peak_mib"), ("VmRSS:", "merge_peak_mapped_mib")):
                    if line.startswith(field):
                        peak[name] = max(peak.get(name, 0), int(line.split()[1]) >> 10)


def search_milliseconds(collection: Collection, queries: int = 100) -> float:
    """The median time of a search for 24 terms, k = 10."""
    generator = np.random.default_rng(3)
    taken = []
    for _ in range(queries):
        row = some_vectors(generator, 1, 24)
        query = SparseByToken({f"t{term}": float(w) for term, w in zip(row.indices, row.data, strict=True)})
        started = time.perf_counter()
        collection.search(query)
        taken.append(1e3 * (time.perf_counter() - started))
    return round(float(np.median(taken)), 2)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--terms", type=int, default=106)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="lsr-million-"))) / "c"
    with Collection.create(folder, vectors={"default": VectorConfig(None)}) as collection:
        vector = collection._state.vectors["default"]
        vector.vocabulary.add([f"t{number}" for number in range(VOCABULARY)])
        collection.write([Document("00", vectors={"default": SparseByToken({"t1": 1.0})})])
    half = arguments.documents // 2
    figures: dict[str, object] = {"documents": 2 * half, "terms": arguments.terms}
    seconds = [write_segment(folder, first, half, arguments.terms) for first in (0, half)]
    figures["load_seconds"] = round(sum(seconds), 1)
    figures["load_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    started = time.perf_counter()
    collection = Collection.open(folder, "w")
    figures["open_seconds"] = round(time.perf_counter() - started, 3)
    collection.warm()
    figures["search_ms_two_segments"] = search_milliseconds(collection)
    peak: dict[str, int] = {}
    threading.Thread(target=watch_child, args=(collection, peak), daemon=True).start()
    started = time.perf_counter()
    with collection._upkeep._working:
        collection._upkeep._merge(collection._state.generation.segments, collection._upkeep._run_in_child)
    figures["merge_seconds"] = round(time.perf_counter() - started, 1)
    figures |= peak
    figures["search_ms_one_segment"] = search_milliseconds(collection)
    info = collection.info()
    figures |= {"bytes": info.bytes, "bytes_per_document": round(info.bytes / info.documents)}
    collection.close()
    started = time.perf_counter()
    Collection.open(folder).close()
    figures["reopen_seconds"] = round(time.perf_counter() - started, 3)
    shutil.rmtree(folder)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
