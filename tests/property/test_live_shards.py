"""Shards that are written: the same answers as one collection with the same documents and the published statistics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.errors import CollectionLocked, CollectionReadOnly, InvalidDocument, LsrError, QueryError, ShardUnavailable
from lsr.search.request import Facets, Feedback
from lsr.sharding.asking import LocalShard, Pin, VersionGone
from lsr.sharding.digest import digest_of, sum_of
from lsr.sharding.generation import ShardedStatistics
from lsr.sharding.live_collection import LiveCollection
from lsr.sharding.live_reader import LiveReader
from lsr.sharding.live_shard import ShardWriter, copy_collection
from lsr.sharding.manifest import Publication
from lsr.sharding.new_terms import TermRegistry
from lsr.sharding.splitting import read_frequencies, split_collection
from lsr.storage.generation import Generation
from lsr.vectors import VectorConfig

SHARDS = 3
WORDS = [*("lobster", "roll", "heart", "attack", "sparse", "vector", "river", "stone", "light", "seven"), "of", "the"]
VECTORS = {"words": VectorConfig("bm25"), "own": VectorConfig(None)}
SCHEMA = {"year": "int", "tag": "keyword"}


def document(number: int, rng: np.random.Generator, *, new_word: bool = False) -> Document:
    words = rng.choice(WORDS, rng.integers(1, 9)).tolist()
    vectors: dict[str, Any] = {}
    if rng.random() < 0.5:
        vectors["own"] = SparseByToken({f"t{rng.integers(0, 9)}": float(rng.choice([0.5, 1.0, 1.3]))})
    if new_word:
        words.append(f"newword{number}")
        vectors["own"] = SparseByToken({f"fresh{number % 5}": 1.5, "t3": 0.5})
    metadata = {"year": int(rng.integers(2000, 2005)), "tag": str(rng.choice(["x", "y"]))}
    return Document(f"d{number:03}", text=" ".join(words), metadata=metadata, vectors=vectors)


@dataclass(frozen=True)
class FixedStatistics(Generation):
    """A generation of one collection whose document frequencies are those of a publication."""

    fixed: Any = None

    def statistics(self, name: str) -> Any:
        return self.fixed[name]


class Cluster:
    """Shards with writers and replicas, all in this process, and one collection with the same documents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(1)
        self.whole = Collection.create(
            folder / "whole", vectors=VECTORS, schema=SCHEMA, search={"queries": [{"using": "words"}]}
        )
        self.whole.write([document(number, rng) for number in range(60)])
        self.whole.seal()
        self.whole.write([document(number, rng) for number in range(60, 70)])
        self.publication: Publication = split_collection(folder / "whole", folder / "shards", SHARDS)
        root = folder / "shards"
        self.frequencies = read_frequencies(root / self.publication.statistics.folder, self.publication.statistics)
        fixed = {name: ShardedStatistics(70, counts) for name, counts in self.frequencies.items()}
        generation = self.whole._live.generation
        fields = {name: getattr(generation, name) for name in Generation.__dataclass_fields__}
        self.whole._live.generation = FixedStatistics(**fields, fixed=fixed)
        copy_collection(root / self.publication.common.folder, folder / "live" / "common")
        self.registry = TermRegistry(folder / "live" / "common")
        self.writers = [self.writer(at) for at in range(SHARDS)]
        self.readers: list[LiveReader] = []
        self.routers = [self.router(), self.router()]

    def writer(self, at: int) -> ShardWriter:
        entry = self.publication.shards[at]
        return ShardWriter(
            self.folder / "shards" / entry.folder, self.folder / "live" / entry.name, self.registry.extend
        )

    def reader(self, at: int) -> LiveReader:
        entry = self.publication.shards[at]
        scratch = self.folder / "scratch" / f"{len(self.readers)}"
        made = LiveReader(self.folder / "shards" / entry.folder, scratch, Behind(self, at))
        self.readers.append(made)
        return made

    def router(self) -> LiveCollection:
        shards = [LocalShard(entry.name, self.reader(at)) for at, entry in enumerate(self.publication.shards)]
        return LiveCollection(
            self.folder / "shards" / self.publication.common.folder,
            self.publication,
            shards,
            self.frequencies,
            "papers",
            writers=[Behind(self, at) for at in range(SHARDS)],
            extend=self.registry.extend,
        )

    def restart_writer(self, at: int) -> None:
        self.writers[at].close()
        self.writers[at] = self.writer(at)

    def close(self) -> None:
        for router in self.routers:
            router.close()
        for writer in self.writers:
            writer.close()
        self.registry.close()
        self.whole.close()


class Behind:
    """The present writer of a shard, which may be restarted."""

    def __init__(self, cluster: Cluster, at: int) -> None:
        self._cluster = cluster
        self._at = at
        self.held = threading.Event()
        self.held.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster.writers[self._at], name)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


QUERIES: tuple[tuple[Any, dict[str, Any]], ...] = (
    ("lobster roll of the river", {}),
    ("stone light", {"filter": {"year": {"gte": 2002}}, "total": True}),
    ("heart attack", {"facets": Facets(("tag", "year"), over="matches")}),
    ("seven sparse", {"prf": Feedback(docs=3)}),
    ("newword71 newword90 stone", {}),
    (SparseByToken({"t3": 1.0, "fresh1": 0.7}), {"using": "own"}),
)


def assert_same(cluster: Cluster, router: LiveCollection) -> None:
    for query, options in QUERIES:
        for k in (3, 200):
            expected = cluster.whole.search(query, exact=True, cache=False, k=k, **options)
            found = router.search(query, exact=True, cache=True, k=k, **options)
            shown = [(hit.id, hit.score, bare(hit.document)) for hit in found.hits]
            assert shown == [(hit.id, hit.score, bare(hit.document)) for hit in expected.hits], query
            assert (found.total, found.facets) == (expected.total, expected.facets)


def bare(one: Document) -> Document:
    return replace(one, vectors={})


@pytest.mark.parametrize("seed", range(4))
def test_a_router_reads_what_it_has_written_as_one_collection_does(cluster: Cluster, seed: int) -> None:
    rng = np.random.default_rng(seed)
    router = cluster.routers[0]
    number = 70
    for step in range(25):
        choice = rng.random()
        if choice < 0.5:
            batch = [document(int(rng.integers(0, number + 3)), rng, new_word=rng.random() < 0.4) for _ in range(3)]
            batch = list({one.id: one for one in batch}.values())
            for one in batch:  # in single batches, so that terms get their numbers in the same order
                written = router.write([one])
                assert written.accepted == cluster.whole.write([one]).accepted == 1
            number += 3
        elif choice < 0.7:
            ids = [f"d{rng.integers(0, number):03}" for _ in range(4)]
            assert router.delete(ids).accepted == cluster.whole.delete(ids).accepted
        elif choice < 0.8:
            identifier = f"d{rng.integers(0, number):03}"
            found = router.patch(identifier, {"tag": "z", "year": None})
            assert (found is None) == (cluster.whole.patch(identifier, {"tag": "z", "year": None}) is None)
        elif choice < 0.9:
            cluster.writers[int(rng.integers(0, SHARDS))].seal()
        else:
            cluster.restart_writer(int(rng.integers(0, SHARDS)))
        if step % 4 == 0:
            assert_same(cluster, router)
    assert_same(cluster, router)
    assert [one.id for one in router.page(size=500)] == [one.id for one in cluster.whole.page(size=500)]
    assert router.info().documents == cluster.whole.info().documents
    # Another router follows; a replica that starts now copies what the writers have.
    cluster.routers.append(cluster.router())
    cluster.writers[0].seal()  # a version that no router has read; merges make such ones too
    while len({one._sharded.versions for one in cluster.routers}) > 1:
        for one in cluster.routers:
            one.learn()
    for other in cluster.routers[1:]:
        assert_same(cluster, other)


def test_shards_hold_what_one_collection_holds_and_are_ordinary_collections(cluster: Cluster) -> None:
    rng = np.random.default_rng(7)
    for number in range(65, 90):
        one = document(number, rng, new_word=True)
        cluster.routers[0].write([one])
        cluster.whole.write([one])
    folders = [cluster.folder / "live" / entry.name for entry in cluster.publication.shards]
    assert sum_of(map(digest_of, folders)) == digest_of(cluster.folder / "whole")
    with Collection.open(folders[0]) as shard:
        assert shard.search("stone", using="words").hits


def test_a_search_reads_one_version_while_documents_change(cluster: Cluster) -> None:
    reader, writer = cluster.readers[0], cluster.writers[0]
    at = Pin(least=reader.version)
    shard = LocalShard("shard", reader)
    own = [one.id for one in cluster.routers[0].page(size=100) if of_shard(one.id) == 0]
    rows = shard.begin("find", (own,), None, at)()
    assert (rows >= 0).all()
    writer.delete(own[:5])
    writer.seal()
    newest = reader.answer("find", (own,), None, None, writer._collection.info().seq)[0]
    assert (newest[:5] < 0).all()
    found = shard.begin("fetch", (rows, (), ()), None, at)()
    assert [one.id for one in found.documents] == own
    with pytest.raises(VersionGone, match="not kept"):
        reader.answer("find", (own,), None, 10**9, 0)


def of_shard(identifier: str) -> int:
    from lsr.sharding.placement import shards_of

    return int(shards_of([identifier], SHARDS)[0])


def test_a_replica_that_is_behind_is_waited_for_and_not_read(cluster: Cluster) -> None:
    reader = cluster.readers[0]
    with pytest.raises(ShardUnavailable, match="its writer is gone"):
        impatient(reader, reader.version + 5)
    from index.errors import SearchStopped

    with pytest.raises(SearchStopped, match="latest writes"):
        reader.answer("find", (["d001"],), 0.05, None, reader.version + 5)


def impatient(reader: LiveReader, least: int) -> None:
    from lsr.sharding import live_reader

    before = live_reader._PATIENCE_SECONDS
    live_reader._PATIENCE_SECONDS = 0.05  # type: ignore[misc] # a test does not wait 30 seconds
    try:
        reader.answer("find", (["d001"],), None, None, least)
    finally:
        live_reader._PATIENCE_SECONDS = before  # type: ignore[misc]


def test_reads_never_go_back_although_a_replica_is_behind(cluster: Cluster) -> None:
    """Two replicas of each shard, of which one follows late: a router reads no older state than it has read."""
    first, second = cluster.routers
    mixed = cluster.router()
    cluster.routers.append(mixed)
    slow = [LocalShard(shard.name, reader) for shard, reader in zip(second.shards, cluster.readers[3:6], strict=True)]
    fast = list(mixed.shards)

    class Alternating:
        def __init__(self, shards: tuple[Any, Any]) -> None:
            self.name = shards[0].name
            self._shards, self._next = shards, 0

        def begin(self, operation: str, arguments: Any, seconds: Any, pin: Pin) -> Any:
            if pin.version is not None:
                shard = pin.replica
            else:
                self._next += 1
                shard = pin.replica = self._shards[self._next % 2]
            return shard.begin(operation, arguments, seconds, pin)  # type: ignore[attr-defined]

        def close(self) -> None:
            pass

    pairs = tuple(Alternating(pair) for pair in zip(fast, slow, strict=True))
    mixed._sharded = mixed._live.generation = replace(mixed._sharded, shards=pairs)
    stop, seen, errors = threading.Event(), [0], []

    def read() -> None:
        while not stop.is_set():
            try:
                found = mixed.search("counting", k=1, cache=False).hits
                count = int(found[0].document.metadata["year"]) if found else 0
            except Exception as error:
                errors.append(error)
                return
            if count < seen[-1]:
                errors.append((count, seen[-1]))
            seen.append(count)

    thread = threading.Thread(target=read)
    thread.start()
    for count in range(1, 40):
        first.write([Document("d001", text="counting", metadata={"year": count})])
        mixed.learn()
    while seen[-1] < 39 and thread.is_alive():
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert not errors
    assert seen[-1] == 39


def test_invalid_documents_are_reported_at_their_positions(cluster: Cluster) -> None:
    router = cluster.routers[0]
    good = [Document(f"n{number}", text="stone") for number in range(6)]
    bad = [Document(f"b{number}", text="stone", metadata={"year": "soon"}) for number in range(3)]
    batch = [good[0], bad[0], good[1], good[2], bad[1], bad[2], *good[3:]]
    problems: dict[int, str] = {}
    result = router.write(batch, on_problem=lambda at, error: problems.update({at: error.code}))
    assert sorted(problems) == [1, 4, 5]
    assert result.accepted == 6
    with pytest.raises(InvalidDocument):
        router.write([Document("n9", text="stone"), bad[0]])
    assert router.get("n9") is None
    with pytest.raises(InvalidDocument):
        router.patch("n0", {"year": "soon"})


def test_what_a_router_cannot_change_is_refused(cluster: Cluster) -> None:
    router = cluster.routers[0]
    assert router.read_only is None
    for change in (router.seal, router.merge, lambda: router.extend_schema({"a": "int"}), router.snapshot):
        with pytest.raises(CollectionReadOnly, match="new generation"):
            change()


def test_a_shard_has_one_writer_and_the_registry_one_process(cluster: Cluster) -> None:
    with pytest.raises(CollectionLocked):
        cluster.writer(1)
    with pytest.raises(CollectionLocked):
        TermRegistry(cluster.folder / "live" / "common")
    with pytest.raises(QueryError, match="no vector"):
        cluster.registry.extend("nothing", 0, ["a"])


def test_a_file_outside_of_a_segment_is_not_sent(cluster: Cluster) -> None:
    writer = cluster.writers[0]
    name = writer._collection._state.generation.segments[0].segment.row.uuid
    assert writer.segment_file(name, "manifest.json", 0).startswith(b"{")
    for wrong in ("../../catalog.sqlite", "/etc/passwd", "missing"):
        with pytest.raises(LsrError):
            writer.segment_file(name, wrong, 0)
    with pytest.raises(ValueError, match="UUID"):
        writer.segment_file("../..", "catalog.sqlite", 0)
