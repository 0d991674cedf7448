"""`CollectionStore`: the collections that one service serves, by name or alias.

The directory is a folder of collections, or one collection; storage/collection_folders.py has the rule for names, so
that a name cannot reach outside the directory. A collection that fails to open is kept with its error; the others are
served. One that another process writes, or whose files cannot be changed, is served for reading only, until
`take_locks` gets its lock.

Other processes may change the folder: `lsr index` and `lsr reindex` add collections, `lsr alias` changes aliases.json,
another service writes documents. `follow` notices that. Aliases are other names for collections; a change replaces
their file atomically.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from lsr.collection import Collection
from lsr.errors import (
    EXPECTED_ERRORS,
    CollectionCorrupt,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    CollectionReadOnly,
    LsrError,
)
from lsr.results import Damage
from lsr.storage import layout
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
from lsr.storage.collection_folders import collections_in, name_of, remove_leftovers
from lsr.storage.files import WriterLock, storage_errors, sync_file
from lsr.storage.layout import is_collection
from lsr.vectors import VectorConfig

_RETRY_SECONDS: Final = 10.0  # until a collection that did not open is tried again although its catalog is the same
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Followed:
    """What `follow` has noticed, by name."""

    opened: list[str] = field(default_factory=list)  # collections that are new, or that open now
    gone: list[str] = field(default_factory=list)  # collections whose folder was removed
    left_out: dict[str, str] = field(default_factory=dict)  # new folders that are not served, and why
    failed: dict[str, Exception] = field(default_factory=dict)  # aliases that cannot be followed


class CollectionStore:
    """Open collections by name. Use as a context manager; safe to use from many threads."""

    shard_metrics: Any = None  # a collector of Prometheus, where the collections are in shards

    def __init__(self, directory: Path | str, mode: Literal["r", "w"] = "w") -> None:
        """Open every collection of the directory; raises CollectionNotFound if the directory does not exist."""
        self.directory = Path(directory)
        self._mode = mode
        self._single = is_collection(self.directory)
        self._open: dict[str, Collection] = {}
        self._broken: dict[str, Exception] = {}
        self._cold: dict[str, Exception] = {}  # open, but warming failed
        self._left_out: dict[str, str] = {}
        self._aliases: dict[str, Alias] = {}
        self._alias_file = AliasFile(self.directory)
        self._followed: tuple[int, ...] | None = None  # the signature of the alias file that `_aliases` was read from
        self._catalogs: dict[str, tuple[int, ...]] = {}  # the signature of each catalog when it was last looked at
        self._tried: dict[str, tuple[tuple[int, ...], float]] = {}  # of broken ones: what was tried, and when
        self._not_before: dict[str, float] = {}  # when a collection that did not open for writing is tried again
        self._follow_after: dict[str, float] = {}  # when it is looked again what another process has written
        self._changing = threading.RLock()
        self._by_name: tuple[dict[str, Any], ...] = (
            self._broken, self._cold, self._tried, self._catalogs, self._not_before, self._follow_after
        )  # fmt: skip
        if not self.directory.is_dir():
            raise CollectionNotFound(f"{self.directory}: no such folder")
        if self._single:
            # If the only collection is broken, there is nothing else to serve: the error goes to the caller.
            name = name_of(self.directory)
            self._open[name] = self._opened(self.directory, name)
            return
        self._followed = self._alias_file.signature()
        self._aliases = self._read_aliases()
        if mode == "w":
            remove_leftovers(self.directory)
        names, self._left_out = collections_in(self.directory, self._aliases)
        for name in names:
            self._try_to_open(name)

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
        """The collections that failed to open or, if they were found later, to warm, with the error."""
        return {**self._cold, **self._broken}

    @property
    def left_out(self) -> Mapping[str, str]:
        """The folders that hold a collection but are not served, by name as it can be printed, with the reason."""
        return dict(self._left_out)

    @property
    def renamed(self) -> Mapping[str, str]:
        """The open collections that are not served under their folder's name, with the folder's name."""
        folders = {name: collection.path.absolute().name for name, collection in sorted(self._open.items())}
        return {name: folder for name, folder in folders.items() if folder not in (name, "")}

    @property
    def read_only(self) -> Mapping[str, str]:
        """The open collections to which nothing can be written now, with the reason."""
        reasons = {name: collection.read_only for name, collection in list(self._open.items())}
        return {name: reason for name, reason in reasons.items() if reason is not None}

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
        error = self._broken.get(name)
        if error is not None:
            raise error.with_traceback(None)
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
            self._catalogs[name] = layout.signature(self.directory / name)
            return self._open[name]

    def drop(self, name: str) -> None:
        """Remove a collection, also a broken one, with its files and aliases; raises CollectionNotFound."""
        with self._changing:
            self._check_folder("dropped")
            if name in self._aliases:
                target = self._aliases[name].collection
                raise CollectionNotFound(f"{name!r} is an alias of {target!r}: drop that collection, or the alias")
            if name not in self._open and name not in self._broken:
                self.get(name)  # raises CollectionNotFound
            # The rename removes it; if the process dies before the files are deleted, the next start deletes them.
            removed = self.directory / f"{TEMPORARY_PREFIX}{uuid.uuid4()}"
            with self._nobody_else_writes(name):
                self._forget(name)
                self._alias_file.forget_collection(name, lambda: self._move_away(name, removed))
            self._aliases = without_collection(self._aliases, name)
            if removed.is_symlink():
                removed.unlink()
            else:
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

    def follow(self) -> Followed:
        """Notice what other processes have changed in the folder: collections, aliases, documents.

        Collections that are new to the store are opened and warmed first. An alias whose new collection cannot be used
        keeps its old one; the next call tries again. Documents that another process has written are read where this
        one only reads. Cheap when nothing has changed.
        """
        followed = Followed()
        with self._changing:
            if not self._single:
                self._follow_folders(followed)
                self._follow_aliases(followed)
            for name in self.read_only:
                self._follow_documents(name)
        return followed

    def take_locks(self) -> list[str]:
        """Begin to write the collections whose lock has become free; return their names. Cheap when there is none."""
        if self._mode == "r":
            return []
        return [name for name in self.read_only if self._take_lock(name)]

    def _take_lock(self, name: str) -> bool:
        with self._changing:
            collection = self._open.get(name)
            if collection is None or time.monotonic() < self._not_before.get(name, 0.0):
                return False
            try:
                return collection.begin_writing()
            except (CollectionLocked, CollectionReadOnly):
                return False
            except (*EXPECTED_ERRORS, OSError, sqlite3.Error) as error:
                _log.error("collection %s stays open for reading only: %s", name, error)
                self._not_before[name] = time.monotonic() + _RETRY_SECONDS
                return False

    def _follow_documents(self, name: str) -> None:
        """Read what another process has written; a collection takes at most a tenth of the time for that."""
        started = time.monotonic()
        if started < self._follow_after.get(name, 0.0):
            return
        try:
            self._open[name].follow()
        except (*EXPECTED_ERRORS, OSError, sqlite3.Error) as error:
            _log.warning("collection %s: what another process has written cannot be read: %s", name, error)
        ended = time.monotonic()
        self._follow_after[name] = ended + 10 * (ended - started)

    def _follow_folders(self, followed: Followed) -> None:
        names, left_out = collections_in(self.directory, self._aliases)
        followed.left_out = {name: why for name, why in left_out.items() if name not in self._left_out}
        self._left_out = left_out
        now = time.monotonic()
        for name in names:
            signature = layout.signature(self.directory / name)
            seen, self._catalogs[name] = self._catalogs.get(name), signature
            if name in self._open:
                if not seen or not signature or seen[:2] == signature[:2]:
                    continue
                self._forget(name)  # another collection has its name now
                self._catalogs[name] = signature
            # A folder that changes is perhaps still being copied: it is opened when it is as it was a moment ago.
            tried, at = self._tried.get(name, ((), -_RETRY_SECONDS))
            if seen == signature and (tried != signature or now - at >= _RETRY_SECONDS) and self._try_to_open(name):
                self._warm(name)
                followed.opened.append(name)
        for name in [*self._open, *self._broken]:
            if name != ALIASES_FILE and not is_collection(self.directory / name):
                self._forget(name)
                followed.gone.append(name)

    def _follow_aliases(self, followed: Followed) -> None:
        signature = self._alias_file.signature()
        if signature == self._followed:
            return
        try:
            aliases = self._alias_file.read()
        except CollectionCorrupt as error:
            self._broken[ALIASES_FILE] = error
            followed.failed = {ALIASES_FILE: error}
            return
        self._broken.pop(ALIASES_FILE, None)
        followed.failed = self._take_over(aliases)
        if not followed.failed:
            self._followed = signature

    def _take_over(self, aliases: Aliases) -> dict[str, Exception]:
        taken: dict[str, Alias] = {}
        failed: dict[str, Exception] = {}
        for name, alias in aliases.items():
            try:
                self._ensure_open(alias.collection)
            except EXPECTED_ERRORS as error:
                failed[name] = error
                if name in self._aliases:
                    taken[name] = self._aliases[name]
            else:
                taken[name] = alias
        self._aliases = taken
        return failed

    def _opened(self, folder: Path, name: str) -> Collection:
        return Collection.open(folder, "r" if self._mode == "r" else "any", name=name)

    def _try_to_open(self, name: str) -> bool:
        """Open a collection of the folder, or keep the reason why it does not open."""
        folder = self.directory / name
        signature = layout.signature(folder)
        self._catalogs[name] = signature
        self._tried[name] = (signature, time.monotonic())
        try:
            self._open[name] = self._opened(folder, name)
        except EXPECTED_ERRORS as error:
            self._broken[name] = error.with_traceback(None)
            return False
        except Exception as error:  # whatever it is, it must not stop the others
            if not isinstance(error, (OSError, sqlite3.Error)):
                _log.exception("opening %s", folder)
            self._broken[name] = CollectionCorrupt(folder, f"cannot be opened: {error!r}")
            return False
        self._broken.pop(name, None)
        return True

    def _warm(self, name: str) -> None:
        try:
            self._open[name].warm()
        except EXPECTED_ERRORS as error:
            self._cold[name] = error.with_traceback(None)

    def _ensure_open(self, name: str) -> None:
        """Open and warm a collection that came into the folder after the start, or did not open then."""
        if name in self._open:
            return
        folder = self.directory / name
        if not is_name(name) or not is_collection(folder) or not self._try_to_open(name):
            self.get(name)  # raises the reason
        try:
            self._open[name].warm()
        except BaseException as error:
            collection = self._open.pop(name)
            collection.close()
            if isinstance(error, EXPECTED_ERRORS):
                self._broken[name] = error
            raise

    def _forget(self, name: str) -> None:
        """Close a collection and forget what was known of it; its files stay."""
        collection = self._open.pop(name, None)
        for one in self._by_name:
            one.pop(name, None)
        if collection is not None:
            collection.close()

    @contextlib.contextmanager
    def _nobody_else_writes(self, name: str) -> Iterator[None]:
        """Raise CollectionLocked, CollectionReadOnly where this process must not change the collection's files."""
        collection = self._open.get(name)
        if collection is not None:
            collection.require_writable()
            yield
            return
        lock = WriterLock(self.directory / name)
        try:
            yield
        finally:
            lock.release()

    def _move_away(self, name: str, removed: Path) -> None:
        with storage_errors(self.directory):
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
