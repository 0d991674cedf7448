"""`CollectionStore`: the collections that one service serves, by name or alias.

The directory is a folder of collections, or one collection. Names follow the API's rule and are folder names, so a name
cannot reach outside the directory. A collection that fails to open is kept with its error; the others are served.
Aliases are other names for collections, stored in `aliases.json`; a change replaces that file atomically.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lsr.collection import Collection
from lsr.errors import EXPECTED_ERRORS, CollectionCorrupt, CollectionExists, CollectionNotFound, LsrError, QueryError
from lsr.results import Damage
from lsr.storage.files import storage_errors, sync_file, write_file
from lsr.storage.layout import is_collection
from lsr.vectors import VectorConfig

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
ALIASES_FILE = "aliases.json"

_REMOVED_PREFIX = "removing-"


def check_name(name: str) -> str:
    """Return a collection's name, or raise QueryError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise QueryError(
            f"{name!r:.80} is not a collection name: a-z, 0-9, _ and -, at most 63 characters, a letter or digit first",
            field="name",
        )
    return name


class CollectionStore:
    """Open collections by name. Use as a context manager; safe to use from many threads."""

    def __init__(self, directory: Path | str, mode: Literal["r", "w"] = "w") -> None:
        """Open every collection of the directory; raises CollectionNotFound if the directory does not exist."""
        self.directory = Path(directory)
        self._mode = mode
        self._single = is_collection(self.directory)
        self._open: dict[str, Collection] = {}
        self._broken: dict[str, Exception] = {}
        self._aliases: dict[str, str] = {}
        self._changing = threading.RLock()
        if not self.directory.is_dir():
            raise CollectionNotFound(f"{self.directory}: no such folder")
        if self._single:
            name = _name_of(self.directory)
            # If the only collection is broken, there is nothing else to serve: the error goes to the caller.
            self._open[name] = Collection.open(self.directory, mode)
            return
        self._aliases = self._read_aliases()
        for folder in sorted(self.directory.iterdir()):
            if folder.name.startswith(_REMOVED_PREFIX) and mode == "w":
                if folder.is_dir():
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    folder.unlink(missing_ok=True)
            elif _NAME.fullmatch(folder.name) and is_collection(folder):
                try:
                    self._open[folder.name] = Collection.open(folder, mode)
                except EXPECTED_ERRORS as error:
                    self._broken[folder.name] = error

    def __enter__(self) -> CollectionStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every collection."""
        with self._changing:
            for collection in self._open.values():
                collection.close()
            self._open.clear()

    @property
    def broken(self) -> Mapping[str, Exception]:
        """The collections that failed to open, with the error."""
        return dict(self._broken)

    def names(self) -> list[str]:
        """The names of the open collections, in alphabetical order."""
        return sorted(self._open)

    def get(self, name: str) -> Collection:
        """Return an open collection by name or alias; raises CollectionNotFound, or the error of its opening."""
        name = self._aliases.get(name, name)
        collection = self._open.get(name)
        if collection is not None:
            return collection
        if name in self._broken:
            raise self._broken[name]
        known = ", ".join(self.names()) or "none"
        raise CollectionNotFound(f"no collection {name!r:.80}; the collections are: {known}")

    def damage(self, name: str) -> tuple[Damage, ...]:
        """Return the damage found in a collection; empty if it is not open."""
        collection = self._open.get(name)
        return () if collection is None else collection.damage

    def create(
        self,
        name: str,
        *,
        vectors: Mapping[str, VectorConfig] | None = None,
        search: Mapping[str, Any] | None = None,
        schema: Mapping[str, str] | None = None,
    ) -> Collection:
        """Create and open a new collection; raises QueryError, CollectionExists and what Collection.create raises."""
        check_name(name)
        with self._changing:
            self._check_folder("created")
            self._check_free(name)
            self._open[name] = Collection.create(self.directory / name, vectors=vectors, schema=schema, search=search)
            return self._open[name]

    def drop(self, name: str) -> None:
        """Remove a collection, also a broken one, with its files and aliases; raises CollectionNotFound."""
        with self._changing:
            self._check_folder("dropped")
            if name in self._aliases:
                raise CollectionNotFound(
                    f"{name!r} is an alias of {self._aliases[name]!r}: drop that collection, or the alias"
                )
            collection = self._open.pop(name, None)
            if collection is None and self._broken.pop(name, None) is None:
                self.get(name)
            self._write_aliases({alias: target for alias, target in self._aliases.items() if target != name})
            if collection is not None:
                collection.close()
            # The rename removes it; if the process dies before the files are deleted, the next start deletes them.
            removed = self.directory / f"{_REMOVED_PREFIX}{uuid.uuid4()}"
            (self.directory / name).rename(removed)
            sync_file(self.directory)
            shutil.rmtree(removed, ignore_errors=True)

    def aliases(self) -> dict[str, str]:
        """Return the aliases, each with its collection."""
        return dict(self._aliases)

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias to a collection. Every later request uses it.

        Raises QueryError, CollectionNotFound, CollectionExists if a collection has that name.
        """
        check_name(alias)
        with self._changing:
            self._check_folder("given an alias")
            if alias not in self._aliases:
                self._check_free(alias)
            if collection not in self._open:
                self.get(collection)
                raise CollectionNotFound(f"{collection!r} is itself an alias")
            self._write_aliases({**self._aliases, alias: collection})

    def drop_alias(self, alias: str) -> None:
        """Remove an alias; raises CollectionNotFound."""
        with self._changing:
            self._check_folder("given an alias")
            if alias not in self._aliases:
                raise CollectionNotFound(f"no alias {alias!r:.80}")
            self._write_aliases({name: target for name, target in self._aliases.items() if name != alias})

    def _check_free(self, name: str) -> None:
        if name in self._open or name in self._broken:
            raise CollectionExists(f"the collection {name!r} exists already")
        if name in self._aliases:
            raise CollectionExists(f"{name!r} is already an alias of {self._aliases[name]!r}")

    def _read_aliases(self) -> dict[str, str]:
        path = self.directory / ALIASES_FILE
        try:
            return dict(json.loads(path.read_bytes())["aliases"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._broken[ALIASES_FILE] = CollectionCorrupt(path, f"cannot be read: {error!r}")
            return {}

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        if aliases == self._aliases:
            return
        if ALIASES_FILE in self._broken:
            raise self._broken[ALIASES_FILE]
        path = self.directory / ALIASES_FILE
        temporary = path.with_name(f"{_REMOVED_PREFIX}{uuid.uuid4()}.json")
        with storage_errors(path):
            write_file(temporary, json.dumps({"format_version": 1, "aliases": aliases}, indent=2).encode() + b"\n")
            temporary.replace(path)
            sync_file(self.directory)
        self._aliases = aliases

    def _check_folder(self, action: str) -> None:
        if self._single or self._mode == "r":
            why = "is one collection, not a folder of them" if self._single else "is open for reading only"
            raise LsrError(f"{self.directory} {why}: no collection can be {action} here")


def _name_of(folder: Path) -> str:
    """Return the name under which a single collection is served: its folder's name, changed to fit the rule."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:63]
    return name or "default"
