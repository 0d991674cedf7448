"""Publishing a generation of shards at a place, and reading which one is published.

First every file of the generation is written under the generation's own folder; the last step replaces `shards.json`.
A publisher that is stopped before leaves the former generation as it is, and files that no manifest names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lsr.errors import CollectionNotFound, ShardMismatch
from lsr.sharding.manifest import MANIFEST_FILE, FolderEntry, Publication, parse_publication
from lsr.sharding.places import Place


def published(place: Place) -> Publication:
    """Return the published generation; raises CollectionNotFound for none, ShardMismatch, ObjectStoreError."""
    found = find_published(place)
    if found is None:
        raise CollectionNotFound(
            f"{place.uri} has no {MANIFEST_FILE}: publish shards there first: `lsr index CORPUS --out URI --shards N`"
        )
    return found


def find_published(place: Place) -> Publication | None:
    """Return the published generation, None where there is none; raises ShardMismatch, ObjectStoreError."""
    content = place.read(MANIFEST_FILE)
    return None if content is None else parse_publication(content, f"{place.uri}/{MANIFEST_FILE}")


def publish(place: Place, publication: Publication, source: Path, on_file: Callable[[int], None] | None = None) -> None:
    """Publish a generation whose folders lie below `source`.

    on_file  called with the size of each file that was copied. Raises ShardMismatch when this generation, or a newer
             one, is published already; ObjectStoreError, StorageFull. Then the former generation stays published.
    """
    before = find_published(place)
    if before is not None and before.generation >= publication.generation:
        raise ShardMismatch(
            f"{place.uri}: generation {before.generation} is published already, so {publication.generation} is not: "
            "another publisher was faster; run the command again"
        )
    for entry in publication.folders:
        copy_folder(place, entry, source, on_file)
    place.write(MANIFEST_FILE, publication.to_json())


def copy_folder(place: Place, entry: FolderEntry, source: Path, on_file: Callable[[int], None] | None = None) -> None:
    """Copy the files of one folder to the place, unless they lie there already (a folder of this machine)."""
    if place.folder is not None and place.folder.resolve() == source.resolve():
        return
    for name, file in entry.files.items():
        path = f"{entry.folder}/{name}"
        if place.size(path) != file.bytes:
            place.upload(source / entry.folder / name, path)
        if on_file is not None:
            on_file(file.bytes)


def next_generation(place: Place) -> int:
    """Return the number of the generation after the published one."""
    before = find_published(place)
    return 1 if before is None else before.generation + 1
