"""Making shards: of a collection, or of another generation's shards, without encoding a text again.

Every shard gets the same named vectors, dictionaries and settings, so that a term has one number everywhere; each takes
the documents that the hash of their ids gives it. Vectors are copied as they are stored, so scores stay the same to the
last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lsr.corpora.corpus import Corpus, CorpusLine, WrappedCorpus
from lsr.dense_vectors import Vectors
from lsr.documents import Document
from lsr.errors import LsrError, QueryError, ShardMismatch
from lsr.metadata import MetadataSchema
from lsr.results import IndexReport
from lsr.sharding.digest import digest_of
from lsr.sharding.manifest import (
    COMMON,
    MAX_SHARDS,
    STATISTICS,
    FolderEntry,
    Publication,
    ShardEntry,
    folder_entry,
    generation_folder,
    shard_name,
)
from lsr.sharding.placement import shards_of
from lsr.sharding.shard import ShardReader
from lsr.storage import layout
from lsr.storage.catalog_digest import write_digest
from lsr.storage.files import sync_tree
from lsr.storage.live_state import LiveState, open_to_read
from lsr.vectors import VectorConfig
from lsr.writing.bulk_load import MakeVectors, OnProblem, Progress, load_corpus
from lsr.writing.stored_corpus import StoredCorpus

_BATCH = 1024


class ShardOfCorpus(WrappedCorpus):
    """The lines of a corpus that belong to one shard. Invalid lines, which have no id, are spread by their numbers."""

    def __init__(self, corpus: Corpus, number: int, count: int) -> None:
        super().__init__(corpus)
        self._number = number
        self._count = count

    def identity(self) -> str | None:
        """Return the corpus's identity with the shard's number."""
        inner = super().identity()
        return None if inner is None else f"{inner}#{self._number}/{self._count}"

    def __iter__(self) -> Iterator[CorpusLine]:
        """Yield the shard's lines in the order of the corpus."""
        lines = iter(self.inner)
        while batch := list(islice(lines, _BATCH)):
            ids = [line.content.id if isinstance(line.content, Document) else "" for line in batch]
            for line, owner in zip(batch, shards_of(ids, self._count).tolist(), strict=True):
                own = owner if isinstance(line.content, Document) else line.line_number % self._count
                if own == self._number:
                    yield line


class Template:
    """What all shards of a publication share: vectors with their dictionaries, schema, search defaults."""

    def __init__(self, vectors: Vectors, schema: MetadataSchema, search: Mapping[str, Any] | None) -> None:
        self.vectors = vectors
        self.schema = schema
        self.search = search

    @classmethod
    def of(cls, state: LiveState) -> Template:
        """Return that of an open collection."""
        return cls(Vectors(state.vectors, state.dense), state.schema, state.search)

    @property
    def configs(self) -> dict[str, VectorConfig]:
        """The configurations of all named vectors."""
        configs = {name: vector.config for name, vector in self.vectors.sparse.items()}
        return configs | {name: vector.config for name, vector in self.vectors.dense.items()}

    def create_common(self, folder: Path) -> None:
        """Create the collection without documents that a router opens; one that is there already stays."""
        if layout.is_collection(folder):
            return
        extra = {} if self.search is None else {layout.SEARCH_SETTING: dict(self.search)}
        catalog, lock = layout.create_files(folder, self.configs, self.schema, extra, kept=self.vectors)
        catalog.close()
        write_digest(folder)
        lock.release()

    def load(
        self,
        corpus: Corpus,
        folder: Path,
        make_vectors: MakeVectors,
        *,
        threads: int | None = None,
        device: str = "auto",
        progress: Progress | None = None,
        on_problem: OnProblem | None = None,
    ) -> IndexReport:
        """Load a corpus into a shard's folder, or go on with a load that was stopped there; see `load_corpus`."""
        return load_corpus(
            corpus,
            folder,
            self.configs,
            self.schema,
            search=self.search,
            resume=True,
            device=device,
            threads=threads,
            progress=progress,
            kept=self.vectors,
            make_vectors=make_vectors,
            on_problem=on_problem,
        )


def check_count(count: int) -> int:
    """Return a number of shards; raises QueryError."""
    if isinstance(count, bool) or not 1 <= count <= MAX_SHARDS:
        raise QueryError(f"--shards is a number from 1 to {MAX_SHARDS}, not {count}", field="shards")
    return count


def split_collection(
    source: Path,
    root: Path,
    count: int,
    *,
    generation: int = 1,
    threads: int | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Publication:
    """Write the documents of the collection `source` into `count` shards below `root`, and return their manifest.

    Nothing is published: see storage.py. A run that was stopped goes on where it was. Raises what opening the
    collection and writing a new one raise.
    """
    check_count(count)
    state = open_to_read(source)
    try:
        template = Template.of(state)
        folder = generation_folder(generation)
        for number in range(count):
            corpus = StoredCorpus(state, template.vectors, ())
            shard = root / folder / shard_name(number, count)
            template.load(
                ShardOfCorpus(corpus, number, count), shard, corpus.vectors, threads=threads, progress=progress
            )
        template.create_common(root / folder / COMMON)
    finally:
        state.catalog.close()
    return describe_generation(root, generation, count)


def describe_generation(
    root: Path, generation: int, count: int, digests: Sequence[str] = (), entries: Sequence[FolderEntry] = ()
) -> Publication:
    """Return the manifest of a generation whose shards are complete below `root`, after writing its statistics.

    digests, entries  of the shards, where they are known already

    Raises ShardMismatch where the shards do not fit together.
    """
    folder = generation_folder(generation)
    readers = [ShardReader(root / folder / shard_name(number, count)) for number in range(count)]
    common = open_to_read(root / folder / COMMON)
    try:
        infos = [reader.describe() for reader in readers]
        for number, info in enumerate(infos):
            if info.vectors != infos[0].vectors:
                raise ShardMismatch(
                    f"{shard_name(number, count)} was encoded with {info.vectors}, and the first shard with "
                    f"{infos[0].vectors}: index the corpus again"
                )
        statistics = root / folder / STATISTICS
        statistics.mkdir(exist_ok=True)
        lengths = {}
        for name, vector in common.vectors.items():
            terms = vector.term_count
            total = np.zeros(terms, dtype=np.int64)
            for reader in readers:
                total += reader.frequencies(name, terms)
            np.save(statistics / f"{name}.npy", total, allow_pickle=False)
            length = vector.setting()["settings"].get("average_length")
            if length is not None:
                lengths[name] = float(length)
        sync_tree(statistics)
    finally:
        common.catalog.close()
        for reader in readers:
            reader.close()
    shards = []
    for number, info in enumerate(infos):
        name = shard_name(number, count)
        entry = entries[number] if entries else folder_entry(root, f"{folder}/{name}")
        digest = digests[number] if digests else digest_of(root / folder / name)
        shards.append(ShardEntry(entry.folder, entry.files, name, info.documents, digest))
    return Publication(
        generation,
        folder_entry(root, f"{folder}/{COMMON}"),
        folder_entry(root, f"{folder}/{STATISTICS}"),
        tuple(shards),
        infos[0].vectors,
        lengths,
    )


def read_frequencies(folder: Path, entry: FolderEntry) -> dict[str, Any]:
    """Return the document frequencies by named vector, int64[terms], from the statistics in `folder`."""
    found = {}
    for name in entry.files:
        try:
            found[name.removesuffix(".npy")] = np.load(folder / name, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise LsrError(f"{folder / name} cannot be read: {error}") from error
    return found
