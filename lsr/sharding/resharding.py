"""Another number of shards: every document moves to the shard of its id's hash, with its vectors as they are stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import numpy as np
from scipy.sparse import csr_array

from lsr.corpora.corpus import CorpusLine
from lsr.dense_vectors import DenseVector, Vectors
from lsr.documents import Document
from lsr.errors import LsrError
from lsr.sharding.cache import ShardCache
from lsr.sharding.folding import LiveFolders, held
from lsr.sharding.manifest import COMMON, Publication, generation_folder, shard_name
from lsr.sharding.placement import shards_of
from lsr.sharding.places import Place, collection_name
from lsr.sharding.publishing import publish
from lsr.sharding.splitting import ShardOfCorpus, Template, check_count, describe_generation
from lsr.storage.files import storage_errors, write_file
from lsr.storage.live_state import LiveState, open_to_read
from lsr.storage.sorted_runs import Quantised, join_rows, take_rows
from lsr.vectors import NamedVector
from lsr.writing.bulk_load import Progress
from lsr.writing.document_vectors import NewVectors
from lsr.writing.stored_corpus import StoredCorpus

_SOURCE_FILE: Final = "source.json"  # of a generation that live documents become: the last change of each folder


class ShardsCorpus:
    """The documents of all shards of a publication, shard by shard, with their stored vectors."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, states: Sequence[LiveState], kept: Vectors, name: str) -> None:
        self.name = name
        self.position = 0
        self._parts = [StoredCorpus(state, kept, ()) for state in states]
        self.size: int | None = sum(part.size or 0 for part in self._parts)

    def identity(self) -> str | None:
        """Return the shards' folders and changes."""
        return ";".join(str(part.identity()) for part in self._parts)

    def __iter__(self) -> Iterator[CorpusLine]:
        """Yield the documents."""
        self.position = 0
        for part in self._parts:
            for line in part:
                self.position += 1
                yield CorpusLine(self.position, line.content)

    def vectors(
        self, sparse: Mapping[str, NamedVector], dense: Mapping[str, DenseVector], documents: Sequence[Document]
    ) -> NewVectors:
        """Return the stored vectors of documents, in their order."""
        owners = shards_of([document.id for document in documents], len(self._parts))
        order = np.argsort(owners, kind="stable")
        back = np.empty(len(documents), dtype=np.int64)
        back[order] = np.arange(len(documents))
        found = []
        for owner in np.unique(owners).tolist():
            own = [documents[at] for at in np.flatnonzero(owners == owner).tolist()]
            found.append(self._parts[owner].vectors(sparse, dense, own))
        return NewVectors(
            {name: _rows([one.sparse[name] for one in found], back) for name in found[0].sparse},
            {name: _dense_rows([one.dense[name] for one in found], back) for name in found[0].dense},
        )


def reshard_publication(
    place: Place,
    publication: Publication,
    root: Path,
    count: int,
    *,
    generation: int,
    live: LiveFolders | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Publication:
    """Write the documents of a publication into `count` shards below `root`; return the manifest, unpublished.

    live  the writers' folders, whose documents are written instead of those that were published; see folding.py

    A run that was stopped goes on where it was, unless documents were written since: then it begins anew. Shards of an
    object store are read through a cache below `root`. Raises ObjectStoreError, and what opening and writing
    collections raise.
    """
    check_count(count)
    folder = root / generation_folder(generation)
    with ExitStack() as stack:

        def opened(path: Path) -> LiveState:
            state = open_to_read(path)
            stack.callback(state.catalog.close)
            return state

        if live is None:
            cache = ShardCache(root / "cache") if place.folder is None else ShardCache(root)
            states = []
            for entry in publication.shards:
                held = cache.open(place, entry)
                stack.callback(held.close)
                states.append(opened(held.path))
            template = Template.of(states[0])
        else:
            states = [opened(path) for path in live.shards]
            template = Template.of(opened(live.common))
            _remove_stale(folder, states)
        for number in range(count):
            corpus = ShardsCorpus(states, template.vectors, place.uri)
            shard = folder / shard_name(number, count)
            template.load(
                ShardOfCorpus(corpus, number, count), shard, corpus.vectors, threads=threads, progress=progress
            )
        template.create_common(folder / COMMON)
    return describe_generation(root, generation, count)


def publish_live(
    place: Place,
    publication: Publication,
    target: Place,
    root: Path,
    count: int,
    live: Path,
    *,
    generation: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Publication, Path]:
    """Publish at `target` what the writers of a publication hold below the folder `live`, as a new generation.

    Returns its manifest and the writers' folder. No writer runs meanwhile. Raises CollectionNotFound where `live` has
    no folders of this generation, CollectionLocked where a writer has one, and what `reshard_publication` and
    `publish` raise; then the former generation stays published.
    """
    with held(live, collection_name(place.uri), publication) as folders:
        made = reshard_publication(
            place, publication, root, count, generation=generation, live=folders, threads=threads, progress=progress
        )
        if target.uri == place.uri:  # elsewhere it is a copy, and writing goes on here
            folders.mark(generation)
        publish(target, made, root)
        (root / generation_folder(generation) / _SOURCE_FILE).unlink()
    return made, folders.root


def _remove_stale(folder: Path, states: Sequence[LiveState]) -> None:
    """Remove what a stopped run has left of an unpublished generation, where documents were written since.

    Raises LsrError for the folder of a stopped build of another kind.
    """
    path = folder / _SOURCE_FILE
    source = {str(state.path): state.generation.seq for state in states}
    if folder.exists():
        if not path.exists():
            raise LsrError(
                f"{folder} has a build that was stopped: finish it (`lsr index … --resume`), or remove that folder"
            )
        if json.loads(path.read_bytes()) == source:
            return
        shutil.rmtree(folder)
    with storage_errors(folder):
        temporary = folder.with_name(f"{folder.name}.beginning")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_file(temporary / _SOURCE_FILE, json.dumps(source).encode())
        temporary.rename(folder)


def _rows(parts: Sequence[csr_array], back: np.ndarray) -> csr_array:
    return take_rows(join_rows(list(parts)), back)


def _dense_rows(parts: Sequence[Quantised], back: np.ndarray) -> Quantised:
    return np.concatenate([one[0] for one in parts])[back], np.concatenate([one[1] for one in parts])[back]
