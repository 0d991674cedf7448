"""aliases.json: other names for the collections of a folder, and what each stood for before.

    {"format_version": 1, "aliases": {"papers": "papers-2"}, "previous": {"papers": "papers-1"}}

Several processes may change it, a running service and the command line for example. A change is made under a lock
on the folder, from the file as it is at that moment, and replaces it by one rename: a reader sees the old file or the
new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound, QueryError
from lsr.storage import layout
from lsr.storage.files import storage_errors, sync_file, write_file

ALIASES_FILE: Final = "aliases.json"
TEMPORARY_PREFIX: Final = "removing-"  # a leftover is removed by the next start of a service

NAME_RULE: Final = "1 to 63 of a-z, 0-9, _ and -, a letter or digit first"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Alias:
    """The collection that an alias stands for, and the one that it stood for before."""

    collection: str
    previous: str | None = None


Aliases = Mapping[str, Alias]


def is_name(name: str) -> bool:
    """Whether a collection or an alias may have this name."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return a collection's or an alias's name, or raise QueryError."""
    if not isinstance(name, str) or not is_name(name):
        raise QueryError(f"{name!r:.80} is not a collection name: a name is {NAME_RULE}", field="name")
    return name


class AliasFile:
    """The aliases of one folder of collections. Safe to use from many threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / ALIASES_FILE

    def read(self) -> dict[str, Alias]:
        """Return all aliases; raises CollectionCorrupt."""
        try:
            content = json.loads(self.path.read_bytes())
            targets, previous = content["aliases"], content.get("previous", {})
            return {str(name): Alias(str(target), previous.get(name)) for name, target in targets.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CollectionCorrupt(self.path, f"is not readable: {error!r}") from error

    def signature(self) -> tuple[int, ...] | None:
        """Return a value that another version of the file does not have; None where there is no file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, Alias]]:
        """Hold the lock; yield the aliases of this moment, and write what they are when the block ends.

        Nothing is written when the block raises. Raises CollectionCorrupt, StorageFull.
        """
        with self._locked():
            before = self.read()
            aliases = dict(before)
            yield aliases
            if aliases != before:
                self._write(aliases)

    def forget_collection(self, name: str, remove: Callable[[], None]) -> None:
        """Remove the aliases of a collection, then call `remove`; no alias can be pointed to it in between.

        A damaged file is left as it is. Raises StorageFull, and what `remove` raises.
        """
        with self._locked():
            with contextlib.suppress(CollectionCorrupt):
                before = self.read()
                kept = without_collection(before, name)
                if kept != before:
                    self._write(kept)
            remove()

    def point(self, alias: str, collection: str) -> Alias:
        """Let an alias stand for a finished collection of the folder, and remember what it stood for before.

        An alias that stands for this collection already keeps its previous one. Raises QueryError,
        CollectionNotFound, CollectionExists where a collection has the alias's name, CollectionCorrupt, StorageFull.
        """
        check_name(alias)
        with self.changing() as aliases:
            if layout.is_collection(self.folder / alias):
                raise CollectionExists(f"there is a collection {alias!r} already")
            self._check_collection(collection, aliases)
            aliases[alias] = repointed(aliases.get(alias), collection)
            return aliases[alias]

    def back(self, alias: str) -> Alias:
        """Let an alias stand for the collection that it stood for before. Raises as `point` does."""
        with self.changing() as aliases:
            found = self._find(aliases, alias)
            if found.previous is None:
                raise CollectionNotFound(f"the alias {alias!r} stood for no other collection than {found.collection!r}")
            self._check_collection(found.previous, aliases)
            aliases[alias] = repointed(found, found.previous)
            return aliases[alias]

    def drop(self, alias: str) -> None:
        """Remove an alias; raises CollectionNotFound, CollectionCorrupt, StorageFull."""
        with self.changing() as aliases:
            self._find(aliases, alias)
            del aliases[alias]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _find(self, aliases: Aliases, alias: str) -> Alias:
        if alias not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise CollectionNotFound(f"there is no alias {alias!r:.80}; there is {known}")
        return aliases[alias]

    def _check_collection(self, name: str, aliases: Aliases) -> None:
        if name in aliases:
            raise CollectionNotFound(f"{name!r} is itself an alias")
        folder = self.folder / name
        if not is_name(name) or not layout.is_collection(folder):
            raise CollectionNotFound(f"there is no collection {name!r:.80} in {self.folder}")
        if layout.is_unfinished(folder):
            raise CollectionNotFound(f"{folder}: indexing was interrupted before its end; finish it with --resume")

    def _write(self, aliases: Aliases) -> None:
        content = {
            "format_version": 1,
            "aliases": {name: alias.collection for name, alias in aliases.items()},
            "previous": {name: alias.previous for name, alias in aliases.items() if alias.previous is not None},
        }
        temporary = self.path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4()}.json")
        with storage_errors(self.path):
            write_file(temporary, json.dumps(content, indent=2).encode() + b"\n")
            temporary.replace(self.path)
            sync_file(self.folder)


def repointed(alias: Alias | None, collection: str) -> Alias:
    """Return an alias (None: a new one) that stands for `collection` from now on."""
    if alias is None:
        return Alias(collection)
    return alias if alias.collection == collection else Alias(collection, alias.collection)


def without_collection(aliases: Aliases, name: str) -> dict[str, Alias]:
    """Return the aliases that remain when a collection is dropped."""
    return {
        alias: Alias(found.collection, None if found.previous == name else found.previous)
        for alias, found in aliases.items()
        if found.collection != name
    }
