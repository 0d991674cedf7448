"""The shards' writers and the term registry as actors: started once in a cluster, and again where one is killed.

They have names, so that every router and replica finds the same ones, and the folder below `--live` is theirs: its
disk must be where they run. Ray starts a killed actor again, also on another node; it opens its folder and goes on from
what was acknowledged. They belong to the cluster: they outlive the router that has started them, and the last router
ends them. The folder's lock keeps a second writer out, so a writer that starts while the former one ends waits for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from lsr.documents import Document
from lsr.errors import (
    EXPECTED_ERRORS,
    CollectionLocked,
    InvalidDocument,
    QueryError,
    ShardUnavailable,
    StorageFull,
    TooManyPending,
)
from lsr.sharding.cache import ShardCache
from lsr.sharding.folding import check_not_folded, generation_root
from lsr.sharding.live_shard import Changes, Known, ShardWriter, Written, copy_collection
from lsr.sharding.manifest import FolderEntry, Publication
from lsr.sharding.new_terms import TermRegistry
from lsr.sharding.places import place_of
from service.cluster.directory import NAMESPACE

_T = TypeVar("_T")
_LOCK_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 60.0  # for an actor that is started again
_START_SECONDS: Final = 300.0  # for an actor's first start, which copies its shard
_REST_SECONDS: Final = 0.2
_THREADS: Final = 64  # of one actor: replicas wait in it for changes
_KINDS: Final = {one.__name__: one for one in (QueryError, StorageFull, TooManyPending)}


class Refused(NamedTuple):
    """An expected error of an actor, as it can be sent."""

    kind: str
    message: str
    code: str
    field: str | None

    def error(self) -> Exception:
        """Return the error for the caller."""
        if self.kind == "InvalidDocument":
            return InvalidDocument(self.code, self.message, field=self.field)
        return _KINDS.get(self.kind, ShardUnavailable)(self.message)


class WriterActor:
    """One shard's writer."""

    def __init__(self, registry: str, uri: str, entry: FolderEntry, cache: str, cache_bytes: int, folder: str) -> None:
        """Fill the cache, copy the shard where this is its first start, open it; see `check_not_folded`."""
        held = ShardCache(Path(cache), cache_bytes).open(place_of(uri), entry)
        terms = ActorRegistry(registry)
        self._writer = _when_unlocked(lambda: ShardWriter(held.path, Path(folder), terms.extend))
        held.close()
        check_not_folded(Path(folder).parent, place_of(uri))

    def run(self, method: str, *arguments: Any) -> Any:
        """Call a method of ShardWriter; return its result, or Refused."""
        try:
            return getattr(self._writer, method)(*arguments)
        except EXPECTED_ERRORS as error:
            detail = error.detail if isinstance(error, InvalidDocument) else str(error)
            return Refused(type(error).__name__, detail, getattr(error, "code", ""), getattr(error, "field", None))


class RegistryActor:
    """The term registry of one generation."""

    def __init__(self, uri: str, entry: FolderEntry, cache: str, cache_bytes: int, folder: str) -> None:
        held = ShardCache(Path(cache), cache_bytes).open(place_of(uri), entry)
        copy_collection(held.path, Path(folder))
        held.close()
        self._registry = _when_unlocked(lambda: TermRegistry(Path(folder)))
        check_not_folded(Path(folder).parent, place_of(uri))

    def run(self, method: str, *arguments: Any) -> Any:
        """Call a method of TermRegistry; return its result, or Refused."""
        try:
            return getattr(self._registry, method)(*arguments)
        except EXPECTED_ERRORS as error:
            return Refused(type(error).__name__, str(error), "", getattr(error, "field", None))


class _Actor:
    """Calls a named actor, and calls it again where it is being restarted. Safe to use from many threads."""

    def __init__(self, name: str, start: Callable[[], Any] | None = None) -> None:
        """`start` starts it where there is none, and returns its handle; without it, another process does."""
        self._name = name
        self._start = start
        self._handle: Any = None

    def call(self, method: str, *arguments: Any, seconds: float = _PATIENCE_SECONDS) -> Any:
        """Return what the method returns; raises ShardUnavailable where the actor does not answer for `seconds`.

        A method may run twice: where the actor dies after it ran, and before its answer arrived.
        """
        import ray
        from ray.exceptions import ActorDiedError, GetTimeoutError, RayError

        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                handle = self._handle = self._handle or self._find(ray)
                found = ray.get(handle.run.remote(method, *arguments), timeout=max(left, 0.1))
            except (RayError, GetTimeoutError, ValueError) as error:  # ValueError: there is no such actor now
                reason = (str(error).strip().splitlines() or [""])[-1]
                if isinstance(error, ActorDiedError) and "creation task" in str(error):
                    raise ShardUnavailable(f"{self._name} does not start: {reason}") from error
                if isinstance(error, GetTimeoutError) or left <= _REST_SECONDS:
                    raise ShardUnavailable(
                        f"{self._name} does not answer ({reason}): what was not acknowledged may be sent again"
                    ) from error
                self._handle = None
                time.sleep(_REST_SECONDS)
            else:
                if isinstance(found, Refused):
                    raise found.error()
                return found

    def stop(self) -> None:
        """End the actor; what it has acknowledged is on its disk."""
        import ray

        with contextlib.suppress(Exception):  # it is gone already, or the cluster is
            ray.kill(ray.get_actor(self._name, namespace=NAMESPACE))
        self._handle = None

    def _find(self, ray: Any) -> Any:
        if self._start is not None:
            return self._start()
        return ray.get_actor(self._name, namespace=NAMESPACE)


class ActorRegistry(_Actor):
    """The term registry, from another process."""

    def extend(self, name: str, known: int, tokens: Sequence[str]) -> list[str]:
        """See TermRegistry.extend; raises ShardUnavailable too."""
        found: list[str] = self.call("extend", name, known, list(tokens))
        return found


class ActorWriter(_Actor):
    """A shard's writer, from a router or a replica."""

    def wait_until_started(self) -> None:
        """Wait until the writer has opened its folder; raises ShardUnavailable."""
        from ray.exceptions import GetTimeoutError

        try:
            self.call("delete", [], seconds=_START_SECONDS)
        except ShardUnavailable as error:
            if not isinstance(error.__cause__, GetTimeoutError):
                raise
            raise ShardUnavailable(
                f"{self._name} has not started within {_START_SECONDS:g} s: it waits for CPUs, or copies its shard to "
                "--live; start more workers, or start the router again"
            ) from error

    def write(self, documents: Sequence[Document]) -> Written:
        """See ShardWriter.write; raises ShardUnavailable too."""
        found: Written = self.call("write", list(documents))
        return found

    def delete(self, ids: Sequence[str]) -> Written:
        """See ShardWriter.delete; raises ShardUnavailable too."""
        found: Written = self.call("delete", list(ids))
        return found

    def patch(self, identifier: str, metadata: Mapping[str, object]) -> Written | None:
        """See ShardWriter.patch; raises ShardUnavailable too."""
        found: Written | None = self.call("patch", identifier, dict(metadata))
        return found

    def changes(self, known: Known, seconds: float) -> Changes | None:
        """See ShardWriter.changes; raises ShardUnavailable too."""
        found: Changes | None = self.call("changes", known, seconds, seconds=seconds + 10)
        return found

    def segment_files(self, name: str) -> list[str]:
        """See ShardWriter.segment_files; raises ShardUnavailable too."""
        found: list[str] = self.call("segment_files", name)
        return found

    def segment_file(self, name: str, file: str, offset: int) -> bytes:
        """See ShardWriter.segment_file; raises ShardUnavailable too."""
        found: bytes = self.call("segment_file", name, file, offset)
        return found


class LiveOptions(NamedTuple):
    """Where and how shards are written.

    folder  of all shards' writers, on a disk that every machine on which they may run has at this path
    cpus    that one writer reserves, and the term registry
    """

    folder: Path
    cpus: float = 0.1


def writer_name(collection: str, generation: int, shard: str) -> str:
    """Return the name of a shard's writer."""
    return f"lsr-writer-{collection}-{generation}-{shard}"


def start_writers(
    ray: Any, uri: str, publication: Publication, collection: str, live: LiveOptions, cache: str, cache_bytes: int
) -> tuple[ActorRegistry, list[ActorWriter]]:
    """Return the registry and the writers of a generation, started where they do not run yet.

    Raises ShardUnavailable where they do not start.
    """
    root = generation_root(live.folder, collection, publication.generation)
    name = writer_name(collection, publication.generation, "terms")

    def started(actor: type, called: str, cpus: float, *arguments: Any) -> Callable[[], Any]:
        options: dict[str, Any] = {"name": called, "namespace": NAMESPACE, "get_if_exists": True, "max_restarts": -1}
        options["lifetime"] = "detached"  # Ray ends others with the process that started them, or with its handle
        made = ray.remote(actor).options(**options, num_cpus=cpus, max_concurrency=_THREADS)
        return lambda: made.remote(*arguments)

    common = (uri, publication.common, cache, cache_bytes, str(root / "common"))
    registry = ActorRegistry(name, started(RegistryActor, name, live.cpus, *common))  # only where writers may run
    writers = []
    for entry in publication.shards:
        called = writer_name(collection, publication.generation, entry.name)
        arguments = (name, uri, entry, cache, cache_bytes, str(root / entry.name))
        writers.append(ActorWriter(called, started(WriterActor, called, live.cpus, *arguments)))
    return registry, writers


def _when_unlocked(open_it: Callable[[], _T]) -> _T:
    """Return what `open_it` returns, once the process that had the lock has ended; raises CollectionLocked."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return open_it()
        except CollectionLocked:
            if time.monotonic() > end:
                raise
            time.sleep(_REST_SECONDS)
