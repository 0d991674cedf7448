"""`CollectionStore`: the collections that one service serves, by name or alias.

The directory is a folder of collections, or one collection. Names follow the API's rule and are folder names, so a name
cannot reach outside the directory. A collection that fails to open is kept with its error; the others are served.
Aliases are other names for collections, stored in `aliases.json`; a change replaces that file atomically. Another
process (`lsr alias`, `lsr reindex --alias`) may change it too: `follow` notices that, and opens the collections that
aliases name and that did not exist before.
"""

from __future__ import annotations

import re
import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lsr.collection import Collection
from lsr.errors import EXPECTED_ERRORS, CollectionCorrupt, CollectionExists, CollectionNotFound, LsrError
from lsr.results import Damage
from lsr.storage.alias_file import (
    ALIASES_FILE,
    TEMPORARY_PREFIX,
    Alias,
    Aliases,
    AliasFile,
    check_name,
    is_name,
    without_collection,
)
from lsr.storage.files import sync_file
from lsr.storage.layout import is_collection
from lsr.vectors import VectorConfig


class CollectionStore:
    """Open collections by name. Use as a context manager; safe to use from many threads."""

    def __init__(self, directory: Path | str, mode: Literal["r", "w"] = "w") -> None:
        """Open every collection of the directory; raises CollectionNotFound if the directory does not exist."""
        self.directory = Path(directory)
        self._mode = mode
        self._single = is_collection(self.directory)
        self._open: dict[str, Collection] = {}
        self._broken: dict[str, Exception] = {}
        self._aliases: dict[str, Alias] = {}
        self._alias_file = AliasFile(self.directory)
        self._followed: tuple[int, ...] | None = None  # the signature of the alias file that `_aliases` was read from
        self._changing = threading.RLock()
        if not self.directory.is_dir():
            raise CollectionNotFound(f"{self.directory}: no such folder")
        if self._single:
            name = _name_of(self.directory)
            # If the only collection is broken, there is nothing else to serve: the error goes to the caller.
            self._open[name] = Collection.open(self.directory, mode)
            return
        self._followed = self._alias_file.signature()
        self._aliases = self._read_aliases()
        for folder in sorted(self.directory.iterdir()):
            if folder.name.startswith(TEMPORARY_PREFIX) and mode == "w":
                if folder.is_dir():
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    folder.unlink(missing_ok=True)
            elif is_name(folder.name) and is_collection(folder):
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
        alias = self._aliases.get(name)
        name = name if alias is None else alias.collection
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
                target = self._aliases[name].collection
                raise CollectionNotFound(f"{name!r} is an alias of {target!r}: drop that collection, or the alias")
            collection = self._open.pop(name, None)
            if collection is None and self._broken.pop(name, None) is None:
                self.get(name)
            if collection is not None:
                collection.close()
            # The rename removes it; if the process dies before the files are deleted, the next start deletes them.
            removed = self.directory / f"{TEMPORARY_PREFIX}{uuid.uuid4()}"
            self._alias_file.forget_collection(name, lambda: self._move_away(name, removed))
            self._aliases = without_collection(self._aliases, name)
            shutil.rmtree(removed, ignore_errors=True)

    def aliases(self) -> dict[str, str]:
        """Return the aliases, each with its collection."""
        return {name: alias.collection for name, alias in self._aliases.items()}

    @property
    def known_aliases(self) -> Aliases:
        """Each alias with its collection, and its previous one."""
        return dict(self._aliases)

    def alias(self, name: str) -> Alias:
        """Return an alias's collection and its previous one; raises CollectionNotFound."""
        found = self._aliases.get(name)
        if found is None:
            raise CollectionNotFound(f"no alias {name!r:.80}")
        return found

    def set_alias(self, alias: str, collection: str) -> Alias:
        """Point an alias to a collection. Every later request uses it.

        A collection that another process has put into the folder meanwhile is opened. Raises QueryError,
        CollectionNotFound, CollectionExists if a collection has that name, and the error of the collection's opening.
        """
        check_name(alias)
        with self._changing:
            self._check_folder("given an alias")
            if alias not in self._aliases:
                self._check_free(alias)
            if ALIASES_FILE in self._broken:
                raise self._broken[ALIASES_FILE]
            if collection in self._aliases:
                raise CollectionNotFound(f"{collection!r} is itself an alias")
            self._ensure_open(collection)
            found = self._alias_file.point(alias, collection)
            self._aliases = {**self._aliases, alias: found}
            return found

    def drop_alias(self, alias: str) -> None:
        """Remove an alias; raises CollectionNotFound."""
        with self._changing:
            self._check_folder("given an alias")
            self._alias_file.drop(alias)
            self._aliases = {name: found for name, found in self._aliases.items() if name != alias}

    def follow(self) -> dict[str, Exception]:
        """Notice what another process has changed in the aliases; cheap when that is nothing.

        Collections that are new to the store are opened and warmed first. An alias whose new collection cannot be used
        keeps its old one; it is returned with the reason, and the next call tries again.
        """
        if self._single:
            return {}
        signature = self._alias_file.signature()
        if signature == self._followed:
            return {}
        with self._changing:
            try:
                aliases = self._alias_file.read()
            except CollectionCorrupt as error:
                self._broken[ALIASES_FILE] = error
                return {ALIASES_FILE: error}
            self._broken.pop(ALIASES_FILE, None)
            failed = self._take_over(aliases)
            if not failed:
                self._followed = signature
            return failed

    def _take_over(self, aliases: Aliases) -> dict[str, Exception]:
        followed: dict[str, Alias] = {}
        failed: dict[str, Exception] = {}
        for name, alias in aliases.items():
            try:
                self._ensure_open(alias.collection)
            except EXPECTED_ERRORS as error:
                failed[name] = error
                if name in self._aliases:
                    followed[name] = self._aliases[name]
            else:
                followed[name] = alias
        self._aliases = followed
        return failed

    def _ensure_open(self, name: str) -> None:
        """Open and warm a collection that came into the folder after the start, or did not open then."""
        if name in self._open:
            return
        folder = self.directory / name
        if not is_name(name) or not is_collection(folder):
            self.get(name)  # raises the reason
        collection = Collection.open(folder, self._mode)
        try:
            collection.warm()
        except BaseException:
            collection.close()
            raise
        self._open[name] = collection
        self._broken.pop(name, None)

    def _move_away(self, name: str, removed: Path) -> None:
        (self.directory / name).rename(removed)
        sync_file(self.directory)

    def _check_free(self, name: str) -> None:
        if name in self._open or name in self._broken:
            raise CollectionExists(f"the collection {name!r} exists already")
        known = self._aliases if ALIASES_FILE in self._broken else {**self._aliases, **self._alias_file.read()}
        if name in known:
            raise CollectionExists(f"{name!r} is already an alias of {known[name].collection!r}")

    def _read_aliases(self) -> dict[str, Alias]:
        try:
            return self._alias_file.read()
        except CollectionCorrupt as error:
            self._broken[ALIASES_FILE] = error
            return {}

    def _check_folder(self, action: str) -> None:
        if self._single or self._mode == "r":
            why = "is one collection, not a folder of them" if self._single else "is open for reading only"
            raise LsrError(f"{self.directory} {why}: no collection can be {action} here")


def _name_of(folder: Path) -> str:
    """Return the name under which a single collection is served: its folder's name, changed to fit the rule."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:63]
    return name or "default"
