"""`LiveCollection`: a published generation of shards, together with what was written since. What it promises:

* A write that was acknowledged is on the disk of its shard's writer.
* A router reads what it has written: a search that begins after a write was acknowledged finds it.
* A router never reads an older state of a shard than it has read before. Other routers follow within seconds.
* One search reads one version of each shard, through all its stages. A batch of several shards is one change in each of
  them, not in all at once: a search may find one shard's part of it without the other's.

Weights of queries come from the published document frequencies, which do not change with writes: a term that only new
documents have counts as one of no document. So exact search gives the ids and scores of an unsharded collection with
the same documents and those statistics. A new publication counts all documents.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from lsr.documents import Document
from lsr.errors import InvalidDocument
from lsr.results import CollectionInfo, SearchResult, WriteResult
from lsr.search.plan import Searched
from lsr.search.request import Query, SearchKeywords
from lsr.sharding.asking import Inquiry, Shard
from lsr.sharding.collection import ShardedCollection
from lsr.sharding.live_shard import Writer, Written
from lsr.sharding.manifest import Publication
from lsr.sharding.new_terms import Extend, follow_terms
from lsr.sharding.placement import shards_of

_T = TypeVar("_T")


class LiveCollection(ShardedCollection):
    """An open generation of shards that can be written. Safe to use from many threads."""

    def __init__(
        self,
        common: Path,
        publication: Publication,
        shards: Sequence[Shard],
        frequencies: Mapping[str, NDArray[np.int64]],
        name: str,
        *,
        writers: Sequence[Writer],
        extend: Extend,
    ) -> None:
        """`writers` are those of the shards, `extend` is the term registry's; the others see ShardedCollection."""
        super().__init__(common, publication, shards, frequencies, name)
        self._writers = tuple(writers)
        self._extend = extend
        self._noting = threading.Lock()
        self._sending = ThreadPoolExecutor(2 * len(shards), thread_name_prefix="shard-write")
        self._live.generation = self._sharded = replace(self._sharded, versions=(0,) * len(shards))
        self.learn()

    @property
    def read_only(self) -> str | None:
        """None: documents are written through the shards' writers."""
        return None

    def close(self) -> None:
        """Wait for writes, close the catalog, release the shards."""
        self._sending.shutdown()
        super().close()

    def learn(self) -> bool:
        """Learn which versions the shards have and which terms were numbered; False where nothing is new."""
        before = self._sharded.versions
        self._fresh("describe")
        follow_terms(self._live.vectors, self._extend)
        return self._sharded.versions != before

    def search(
        self,
        query: Query,
        *,
        timeout_ms: float | None = None,
        scope: str = "",
        sampled: bool = True,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Search as ShardedCollection does, at least what this router has written or read before."""
        return super().search(query, timeout_ms=timeout_ms, scope=scope, sampled=sampled, **options)

    def info(self) -> CollectionInfo:
        """Return the counts, sizes, vectors and schema; documents are those of now."""
        documents = sum(one.documents for one in self._fresh("describe"))
        return replace(super().info(), documents=documents)

    def write(
        self, documents: Sequence[Document], *, on_problem: Callable[[int, InvalidDocument], None] | None = None
    ) -> WriteResult:
        """Write documents, each to its shard; durable when this returns. See `Collection.write`.

        One batch is one change in each shard. Raises ShardUnavailable where a shard's writer does not answer: then the
        documents of the other shards may be written; the same batch can be sent again.
        """
        if on_problem is None:
            for document in documents:
                self.check(document)
        positions: dict[int, list[int]] = {}
        for position, at in enumerate(shards_of([one.id for one in documents], len(self._shards)).tolist()):
            positions.setdefault(at, []).append(position)
        found = self._send(
            {at: [documents[position] for position in own] for at, own in positions.items()},
            lambda writer, own: writer.write(own),
        )
        follow_terms(self._live.vectors, self._extend)
        accepted = 0
        for at, written in found.items():
            accepted += written.accepted
            if on_problem is not None:
                for problem in written.problems:
                    on_problem(positions[at][problem.position], problem.error())
        return WriteResult(self._sharded.seq, accepted)

    def delete(self, ids: Iterable[str]) -> WriteResult:
        """Delete documents by id; `accepted` counts those that existed. Raises ShardUnavailable as `write`."""
        wanted = list(dict.fromkeys(ids))
        owners = shards_of(wanted, len(self._shards)).tolist()
        parts: dict[int, list[str]] = {}
        for identifier, at in zip(wanted, owners, strict=True):
            parts.setdefault(at, []).append(identifier)
        found = self._send(parts, lambda writer, own: writer.delete(own))
        return WriteResult(self._sharded.seq, sum(written.accepted for written in found.values()))

    def patch(self, identifier: str, metadata: Mapping[str, Any]) -> WriteResult | None:
        """Change a document's metadata; None where it does not exist. Raises InvalidDocument, ShardUnavailable."""
        at = int(shards_of([identifier], len(self._shards))[0])
        written = self._writers[at].patch(identifier, metadata)
        if written is None:
            return None
        self._note({at: written.version})
        return WriteResult(self._sharded.seq, written.accepted)

    def follow(self) -> bool:
        """Learn what other routers have written."""
        return self.learn()

    def _searching(self, inquiry: Inquiry) -> Searched:
        searched = super()._searching(inquiry)
        inquiry.on_version = self._note_one
        return searched

    def _fresh(self, operation: str) -> list[Any]:
        inquiry = self._sharded.inquiry()
        inquiry.on_version = self._note_one
        answers = inquiry.ask(operation, dict.fromkeys(range(len(self._shards)), ()))
        return [answers[at] for at in sorted(answers)]

    def _send(self, parts: Mapping[int, _T], call: Callable[[Writer, _T], Written]) -> dict[int, Written]:
        """Send each shard its part at the same time; raises the first error when all have ended."""
        futures = {at: self._sending.submit(call, self._writers[at], own) for at, own in parts.items()}
        found: dict[int, Written] = {}
        errors: list[BaseException] = []
        for at, future in futures.items():
            try:
                found[at] = future.result()
            except Exception as error:
                errors.append(error)
        self._note({at: written.version for at, written in found.items()})
        if errors:
            raise errors[0]
        return found

    def _note_one(self, at: int, version: int) -> None:
        if version > self._sharded.versions[at]:
            self._note({at: version})

    def _note(self, versions: Mapping[int, int]) -> None:
        """Read at least these versions from now on."""
        with self._noting:
            known = self._sharded.versions
            latest = tuple(max(known[at], versions.get(at, 0)) for at in range(len(known)))
            if latest != known:
                self._live.generation = self._sharded = replace(self._sharded, versions=latest, seq=sum(latest))
