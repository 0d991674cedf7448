"""The documents that were written to a generation, for the next one: the writers' folders, while no writer has them.

    DIR/papers/000003/common/                 the term registry: the dictionaries with the terms of new documents
    DIR/papers/000003/shard-0000-of-0004/     a shard's documents, an ordinary collection
    DIR/papers/000003/folded.json             which generation has them all; written before that one is published

The locks of all folders are held until the new generation is published, so every acknowledged write is in it. A writer
that gets its lock afterwards finds `folded.json` and a generation that is published, and does not start.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from lsr.errors import CollectionLocked, CollectionNotFound, ShardMismatch
from lsr.sharding.manifest import COMMON, Publication
from lsr.sharding.places import Place
from lsr.sharding.publishing import find_published
from lsr.storage import layout
from lsr.storage.files import WriterLock, storage_errors, sync_file

_MARK_FILE: Final = "folded.json"


class LiveFolders(NamedTuple):
    """The writers' folders of one generation.

    root    holds them all
    common  of the term registry
    shards  of the shards, in the order of their numbers
    """

    root: Path
    common: Path
    shards: tuple[Path, ...]

    def mark(self, generation: int) -> None:
        """Note durably that all documents are in `generation`, which is published next; raises StorageFull."""
        path = self.root / _MARK_FILE
        temporary = path.with_name(f"{path.name}.unfinished")
        with storage_errors(path):
            temporary.write_bytes(json.dumps({"generation": generation}).encode())
            sync_file(temporary)
            temporary.replace(path)
            sync_file(self.root)


def generation_root(live: Path, name: str, generation: int) -> Path:
    """Return the folder of a generation's writers below `--live`; `name` is the collection's."""
    return live.expanduser().absolute() / name / f"{generation:06d}"


@contextlib.contextmanager
def held(live: Path, name: str, publication: Publication) -> Iterator[LiveFolders]:
    """Keep all writers out of a generation's folders while the block runs; yields the folders.

    Raises CollectionNotFound where one is missing, CollectionLocked where a writer has one.
    """
    root = generation_root(live, name, publication.generation)
    found = LiveFolders(root, root / COMMON, tuple(root / entry.name for entry in publication.shards))
    folders = (found.common, *found.shards)
    missing = [folder for folder in folders if not layout.is_collection(folder)]
    if missing:
        raise CollectionNotFound(
            f"{missing[0]} does not exist: --live names the folder that the router was started with, and needs the "
            f"writers' folders of all shards of generation {publication.generation}"
        )
    with ExitStack() as stack:
        for folder in folders:
            try:
                stack.callback(WriterLock(folder).release)
            except CollectionLocked as error:
                raise CollectionLocked(
                    f"{folder} is open for writing: stop the routers that were started with --live first, or the "
                    "cluster where a router was killed; what was acknowledged is kept"
                ) from error
        yield found


def check_not_folded(root: Path, place: Place) -> None:
    """Raise ShardMismatch where the documents in `root` are in a newer generation, which is published.

    The caller has the lock of one of the folders. Where the newer generation was not published, its mark is removed.
    Raises ObjectStoreError.
    """
    path = root / _MARK_FILE
    try:
        generation = int(json.loads(path.read_bytes())["generation"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise ShardMismatch(f"{path} is damaged ({error!r}): publish the shards again") from error
    publication = find_published(place)
    if publication is not None and publication.generation >= generation:
        raise ShardMismatch(
            f"{root}: these documents are in generation {generation}, which is published: start the router again"
        )
    with storage_errors(path):
        path.unlink(missing_ok=True)  # another writer may be faster
        sync_file(root)
