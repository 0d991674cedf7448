"""`ShardedCollection`: a published generation of shards, searched and read as one collection.

    with open_local(folder) as collection:
        collection.search("lobster")

It is a `Collection` whose catalog is that of the publication's `common` folder: an ordinary collection without
documents, which has the encoders, dictionaries, schema and search defaults that all shards share. Its documents are in
the shards. Nothing can be written.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NoReturn, Unpack

import numpy as np
from numpy.typing import NDArray

from index import Problem
from index.searching.calibration import Calibration
from lsr.collection import Collection
from lsr.documents import DEFAULT_VECTOR, Document
from lsr.errors import CollectionReadOnly, LsrError, ShardMismatch, ShardUnavailable
from lsr.results import CollectionInfo, Damage, SearchResult
from lsr.search.filters import Filter
from lsr.search.plan import Searched
from lsr.search.request import Query, SearchKeywords, split_keywords
from lsr.search.scanning import Scanned
from lsr.search.suggestions import SAMPLE, Suggested, Suggestions
from lsr.sharding.asking import Inquiry, Shard, ShardLost, VersionGone
from lsr.sharding.generation import ShardedGeneration
from lsr.sharding.manifest import Publication
from lsr.sharding.shard import ShardInfo
from lsr.sharding.space import ShardedSpace
from lsr.storage.files import OnRead
from lsr.storage.live_state import open_to_read
from lsr.storage.sizes import sizes_by_kind
from lsr.vectors import vector_of

_READ_ONLY = (
    "a collection in shards cannot be written here: its shards are immutable. Publish a new generation: "
    "`lsr index … --shards N`, or `lsr reshard`"
)


_STARTS = 8  # of one search, where replicas die or documents change under it


class ShardedCollection(Collection):
    """An open generation of shards. Safe to use from many threads."""

    has_parts = False
    waits_for_others = True

    def __init__(
        self,
        common: Path,
        publication: Publication,
        shards: Sequence[Shard],
        frequencies: Mapping[str, NDArray[np.int64]],
        name: str,
    ) -> None:
        """`common` is the publication's folder of that name, on this machine; `frequencies` see ShardedGeneration.

        Raises ShardMismatch when a shard is not the one that the publication names, ShardUnavailable.
        """
        super().__init__(open_to_read(common), None, name)
        self._refusal = CollectionReadOnly(_READ_ONLY)
        self.publication = publication
        self._shards = tuple(shards)
        counts = tuple(entry.documents for entry in publication.shards)
        described = Inquiry(self._shards, counts).ask("describe", dict.fromkeys(range(len(shards)), ()))
        infos = [described[at] for at in range(len(shards))]
        self._check(infos)
        self._live.generation = self._sharded = ShardedGeneration(
            seq=publication.generation,
            damage=tuple(damage for info in infos for damage in info.damage),
            schema=self._live.generation.schema,
            shards=self._shards,
            counts=counts,
            frequencies=frequencies,
        )

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards, in the order of their numbers."""
        return self._shards

    def close(self) -> None:
        """Close the catalog and release the shards."""
        super().close()
        for shard in self._shards:
            shard.close()

    def search(
        self,
        query: Query,
        *,
        timeout_ms: float | None = None,
        scope: str = "",
        sampled: bool = True,  # noqa: ARG002 - no sample is kept of a collection in shards
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Search as `Collection.search` does.

        With `on_late="skip"` a shard that does not answer, or too late, is left out: the answer is partial and a
        warning names the shard. Otherwise raises ShardUnavailable, SearchStopped.
        """
        ranking, parameters = split_keywords(options)
        missing: dict[int, str] = {}
        begun = 0
        while True:
            inquiry = self._sharded.inquiry(
                timeout_ms=timeout_ms, accepts_partial=ranking.on_late == "skip", missing=missing
            )
            begun += 1
            try:
                return self._answers.search(self._searching(inquiry), query, ranking, parameters, timeout_ms, scope)
            except ShardLost as lost:
                missing = {**inquiry.missing, lost.at: lost.reason}
            except VersionGone as error:
                missing = dict(inquiry.missing)
                if begun >= _STARTS:
                    raise ShardUnavailable(f"{error}: the search began {begun} times; send it again") from error
            if timeout_ms is not None and (left := inquiry.seconds) is not None:
                timeout_ms = left * 1e3

    def warm(self) -> None:
        """Load the encoders, and warm every shard."""
        for vector in self._live.vectors.values():
            if vector.config.encoder is not None:
                _ = vector.encoder
        self._ask_all("warm")
        if any(vector.config.encoder is not None for vector in self._live.vectors.values()):
            self.search("warm", k=3, cache=False)

    def info(self) -> CollectionInfo:
        """Return the counts, sizes, vectors and schema; segments are not counted."""
        files = [(path, file.bytes) for entry in self.publication.shards for path, file in entry.files.items()]
        return replace(super().info(), segments=len(self._shards), stored=sizes_by_kind(files, self._live.dense))

    def page(self, after: str | None = None, size: int = 100, *, filter: object = None) -> list[Document]:  # noqa: A002
        """Return the first `size` documents with an id above `after`, by ascending id."""
        checked = None if filter is None else Filter(filter, self.schema).value
        pages = self._ask_all("page", after, size, checked)
        return list(islice(heapq.merge(*pages, key=lambda document: document.id), size))

    def matching(self, filter: object) -> list[str]:  # noqa: A002
        """Return the ids of all documents that match a filter, in any order."""
        return [one for part in self._ask_all("matching", Filter(filter, self.schema).value) for one in part]

    def suggest(self, prefix: str, size: int = 8) -> Suggested:
        """Return titles and words of the collection that continue `prefix`."""
        found = self._suggestions
        if found is None:
            step = max(1, self._sharded.document_count // SAMPLE)
            documents = [one for part in self._ask_all("sampled", step) for one in part]
            found = self._suggestions = Suggestions(self._sharded.seq, documents)
        return found.complete(prefix, size)

    def sample_texts(self, count: int = 100) -> list[str]:
        """Return short texts of about `count` documents."""
        share = -(-count // max(1, len(self._shards)))
        return [one for part in self._ask_all("sample_texts", share) for one in part][:count]

    def recall_curve(self, using: str = DEFAULT_VECTOR) -> Calibration | None:
        """Return the measured recall and cost of the largest segment of all shards."""
        name = vector_of(self._live.vectors, using).name
        curve: Calibration | None = max(self._ask_all("recall_curve", name), key=lambda found: int(found[0]))[1]
        return curve

    def scan(self, using: str = DEFAULT_VECTOR, *, dense: Sequence[str] = ()) -> Iterator[Scanned]:  # noqa: ARG002
        """Refuse: each shard is an ordinary collection and can be read by itself."""
        raise LsrError("a collection in shards is read shard by shard: each is an ordinary collection folder")

    def scrub(self, on_read: OnRead | None = None) -> list[Damage]:  # noqa: ARG002
        """Do nothing: the files were compared with their checksums when they came into the cache."""
        return []

    def verify(self, level: Literal["metadata", "full"] = "full") -> list[Problem]:  # noqa: ARG002
        """Refuse: each shard is an ordinary collection folder."""
        raise LsrError("verify each shard by itself: it is an ordinary collection folder")

    def snapshot(self, name: str | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse: a published generation is a snapshot itself."""
        raise CollectionReadOnly(_READ_ONLY)

    def begin_writing(self) -> bool:
        """Return False: shards are not written here."""
        return False

    def follow(self) -> bool:
        """Return False: a publication does not change; the store opens a new one."""
        return False

    @property
    def _searched(self) -> Searched:
        return self._searching(self._sharded.inquiry())

    def _searching(self, inquiry: Inquiry) -> Searched:
        generation = self._sharded
        return replace(super()._searched, open_rows=lambda: ShardedSpace(generation, inquiry))

    def _ask_all(self, operation: str, *arguments: Any) -> list[Any]:
        answers = self._sharded.inquiry().ask(operation, dict.fromkeys(range(len(self._shards)), arguments))
        return [answers[at] for at in sorted(answers)]

    def _check(self, infos: Sequence[ShardInfo]) -> None:
        """Raise ShardMismatch unless the shards are those that were published, with these encoders."""
        if len(infos) != len(self.publication.shards):
            raise ShardMismatch(f"{len(self.publication.shards)} shards were published, and {len(infos)} are given")
        for entry, info in zip(self.publication.shards, infos, strict=True):
            if info.published != entry.documents:
                raise ShardMismatch(
                    f"{entry.name} has {info.published} documents, but generation {self.publication.generation} was "
                    f"published with {entry.documents}: restart its replicas, so that they read the same generation"
                )
            if info.vectors != dict(self.publication.vectors):
                raise ShardMismatch(
                    f"{entry.name} was encoded with {info.vectors}, the others with {dict(self.publication.vectors)}: "
                    "index the corpus again, or publish shards of one encoder"
                )
