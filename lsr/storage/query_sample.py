"""A sample of a collection's real queries, kept if it is asked for: what recall targets are measured on.

    query_sample.lsr    in the collection's folder; exists only where a sample is asked for
        lsr-query-sample 1 <sha256 of the rest>, a line
        an .npz file: for each named vector NAME, `terms NAME`, `weights NAME`, `ends NAME`, `seen NAME`

It holds term numbers and weights, never a text, no time and no caller; at most CAPACITY queries of each vector. While
there is room every query is kept. Later ones replace a random one, so that the sample follows what is asked: it speaks
for about the last CAPACITY * MEMORY queries. No export, snapshot or reindexed collection gets it, and it goes with the
collection. Writing it is no part of any acknowledged write: the last queries before a crash are lost.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lsr.errors import CollectionCorrupt
from lsr.storage.files import storage_errors, sync_file

SAMPLE_FILE: Final = "query_sample.lsr"
CAPACITY: Final = 1_000  # queries of a vector
MEMORY: Final = 20
MAX_TERMS: Final = 256  # a longer query is left out
SAVE_EVERY: Final = 100  # queries; that many are lost in a crash

_log = logging.getLogger(__name__)
_MAGIC: Final = "lsr-query-sample 1"
_Kept = tuple[NDArray[np.uint32], NDArray[np.float32]]


class QuerySample:
    """The sampled queries of one open collection. Safe to use from many threads."""

    def __init__(self, folder: Path) -> None:
        """Internal: use `create` or `open_sample`."""
        self._path = folder / SAMPLE_FILE
        self._kept: dict[str, list[_Kept]] = {}
        self._seen: dict[str, int] = {}
        self._changes = 0
        self._saved = 0
        self._removed = False
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._random = random.Random()

    @classmethod
    def create(cls, folder: Path) -> QuerySample:
        """Start an empty sample; raises StorageFull."""
        sample = cls(folder)
        sample._write(sample._content())
        return sample

    def add(self, vector: str, term_ids: NDArray[np.int64], weights: NDArray[np.float32]) -> bool:
        """Add a query, or leave it out by chance; return whether it is time to save."""
        if not 0 < len(term_ids) <= MAX_TERMS:
            return False
        with self._lock:
            seen = self._seen[vector] = self._seen.get(vector, 0) + 1
            kept = self._kept.setdefault(vector, [])
            if len(kept) < CAPACITY:
                kept.append((term_ids.astype(np.uint32), weights.copy()))
            elif self._random.random() < CAPACITY / min(seen, MEMORY * CAPACITY):
                kept[self._random.randrange(CAPACITY)] = (term_ids.astype(np.uint32), weights.copy())
            else:
                return False
            self._changes += 1
            return (self._changes - self._saved) % SAVE_EVERY == 0

    def count(self, vector: str) -> int:
        """Return how many queries of a vector are kept."""
        return len(self._kept.get(vector, ()))

    def counts(self) -> dict[str, int]:
        """Return how many queries of each vector are kept."""
        with self._lock:
            return {name: len(kept) for name, kept in sorted(self._kept.items())}

    def seen(self) -> dict[str, int]:
        """Return how many queries of each vector there were."""
        with self._lock:
            return dict(sorted(self._seen.items()))

    @property
    def is_save_due(self) -> bool:
        """Whether there are so many new queries that they should be written."""
        return self._changes - self._saved >= SAVE_EVERY

    def queries(self, vector: str) -> csr_array:
        """Return the kept queries of a vector, float32 csr_array [queries, 1 + the largest term number]."""
        with self._lock:
            kept = list(self._kept.get(vector, ()))
        terms = np.concatenate([one[0] for one in kept]).astype(np.int64) if kept else np.empty(0, np.int64)
        weights = np.concatenate([one[1] for one in kept]) if kept else np.empty(0, np.float32)
        ends = np.cumsum([0, *(len(one[0]) for one in kept)])
        return csr_array((weights, terms, ends), shape=(len(kept), int(terms.max(initial=-1)) + 1))

    def clear(self) -> None:
        """Forget all queries, durably: term numbers of before have another meaning now. Raises StorageFull."""
        with self._lock:
            self._kept.clear()
            self._seen.clear()
            self._changes += 1
        self.save()

    def save(self) -> None:
        """Write the sample; does nothing if nothing is new, or after `remove`. Raises StorageFull."""
        with self._saving:
            with self._lock:
                changes = self._changes
                if changes == self._saved or self._removed:
                    return
                content = self._content()
            self._write(content)
            self._saved = changes

    def remove(self) -> None:
        """Forget the queries and delete the file; raises StorageFull."""
        with self._saving, storage_errors(self._path):
            with self._lock:
                self._removed = True
                self._kept.clear()
                self._seen.clear()
            self._path.unlink(missing_ok=True)
            self._temporary.unlink(missing_ok=True)
            sync_file(self._path.parent)

    @property
    def _temporary(self) -> Path:
        return self._path.with_name(f"{SAMPLE_FILE}.writing")  # a killed writer's one is removed at the next opening

    def _content(self) -> bytes:
        arrays: dict[str, Any] = {}
        for name, kept in self._kept.items():
            arrays[f"terms {name}"] = np.concatenate([one[0] for one in kept])
            arrays[f"weights {name}"] = np.concatenate([one[1] for one in kept])
            arrays[f"ends {name}"] = np.cumsum([len(one[0]) for one in kept], dtype=np.int64)
            arrays[f"seen {name}"] = np.array(self._seen[name], dtype=np.int64)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        return f"{_MAGIC} {hashlib.sha256(content).hexdigest()}\n".encode() + content

    def _write(self, content: bytes) -> None:
        """Replace the file, durably; nobody but its owner may read it."""
        temporary = self._temporary
        with storage_errors(self._path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._path)
            sync_file(self._path.parent)

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for key in arrays:
            part, _, name = key.partition(" ")
            if part != "ends":
                continue
            ends, terms, weights = arrays[key], arrays[f"terms {name}"], arrays[f"weights {name}"]
            starts = [0, *ends[:-1].tolist()]
            self._kept[name] = [
                (terms[start:end], weights[start:end]) for start, end in zip(starts, ends.tolist(), strict=True)
            ]
            self._seen[name] = int(arrays[f"seen {name}"])


def open_sample(folder: Path) -> QuerySample | None:
    """Return a collection's sample; None where none is asked for. Raises CollectionCorrupt for a damaged file."""
    path = folder / SAMPLE_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CollectionCorrupt(path, f"cannot be read: {error.strerror}") from error
    head, _, rest = content.partition(b"\n")
    if head != f"{_MAGIC} {hashlib.sha256(rest).hexdigest()}".encode():
        raise CollectionCorrupt(path, "its bytes do not match its checksum")
    sample = QuerySample(folder)
    with np.load(io.BytesIO(rest), allow_pickle=False) as arrays:
        sample._restore({name: arrays[name] for name in arrays.files})
    return sample


def open_or_replace(folder: Path) -> QuerySample | None:
    """Return a collection's sample; None where none is asked for. A damaged one is logged, and a new one started.

    Raises StorageFull.
    """
    try:
        return open_sample(folder)
    except CollectionCorrupt as error:
        _log.warning("%s; a new sample of queries is started", error)
        return QuerySample.create(folder)
