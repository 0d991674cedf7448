"""Documents that were written to shards become a new generation: all of them, once, and never half of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.errors import CollectionLocked, CollectionNotFound, LsrError, ShardMismatch
from lsr.results import SearchResult, Timings
from lsr.sharding.digest import digest_of, sum_of
from lsr.sharding.folding import check_not_folded, generation_root
from lsr.sharding.live_shard import ShardWriter, copy_collection
from lsr.sharding.local import open_shards
from lsr.sharding.manifest import Publication
from lsr.sharding.new_terms import TermRegistry
from lsr.sharding.placement import shards_of
from lsr.sharding.places import place_of
from lsr.sharding.publishing import publish, published
from lsr.sharding.resharding import publish_live
from lsr.sharding.splitting import read_frequencies, split_collection
from lsr.vectors import VectorConfig

VECTORS = {"words": VectorConfig("bm25"), "own": VectorConfig(None)}
SCHEMA = {"year": "int"}
WORDS = ("lobster", "roll", "heart", "attack", "sparse", "vector", "river", "stone", "light", "seven")
QUERIES = ("lobster roll river", "heart newword61 newword75", "stone light seven newword90")
LSR = "from lsr.cli import main; main()"
# The process kills itself when the second of two shards begins.
KILLED = """
import os, signal
from lsr.sharding.splitting import ShardOfCorpus
before = ShardOfCorpus.__init__
def begin(self, corpus, number, count):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    before(self, corpus, number, count)
ShardOfCorpus.__init__ = begin
"""


def document(number: int, rng: np.random.Generator) -> Document:
    words = [*rng.choice(WORDS, rng.integers(1, 9)).tolist(), *([f"newword{number}"] if number > 60 else [])]
    vectors = {"own": SparseByToken({f"t{rng.integers(0, 9)}": 1.5, f"fresh{number // 20}": 0.5})}
    return Document(f"d{number:03}", text=" ".join(words), metadata={"year": 2000 + number % 5}, vectors=vectors)


class Shards:
    """A publication with writers, in this process, and one collection with the same documents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = place_of(str(folder / "papers"))
        self.root = folder / "papers"
        self.whole = Collection.create(folder / "whole", vectors=VECTORS, schema=SCHEMA)
        self._rng = np.random.default_rng(1)
        self.whole.write([document(number, self._rng) for number in range(60)])
        publish(self.place, split_collection(folder / "whole", self.root, 2), self.root)
        self.start()

    def start(self) -> None:
        """Start the writers of the published generation."""
        self.publication: Publication = published(self.place)
        self.live = generation_root(self.folder / "live", "papers", self.publication.generation)
        copy_collection(self.root / self.publication.common.folder, self.live / "common")
        self.registry = TermRegistry(self.live / "common")
        self.writers = [
            ShardWriter(self.root / entry.folder, self.live / entry.name, self.registry.extend)
            for entry in self.publication.shards
        ]

    def stop(self) -> None:
        for writer in self.writers:
            writer.close()
        self.registry.close()

    def write(self, first: int, last: int) -> None:
        """Write documents, and delete and change others, in the shards and in the one collection."""
        for number in range(first, last):
            one = document(number, self._rng)
            assert self._writer(one.id).write([one]).accepted == self.whole.write([one]).accepted == 1
        for identifier in (f"d{first - 7:03}", f"d{last - 3:03}"):
            assert self._writer(identifier).delete([identifier]).accepted == 1
            self.whole.delete([identifier])
        changed = f"d{first - 2:03}"
        assert self._writer(changed).patch(changed, {"year": 1999}) is not None
        self.whole.patch(changed, {"year": 1999})

    def fold(self, count: int = 2) -> Publication:
        generation = self.publication.generation + 1
        live = self.folder / "live"
        return publish_live(
            self.place, self.publication, self.place, self.root, count, live, generation=generation, threads=1
        )[0]

    def _writer(self, identifier: str) -> ShardWriter:
        return self.writers[int(shards_of([identifier], len(self.writers))[0])]


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Shards]:
    made = Shards(tmp_path)
    yield made
    made.stop()
    made.whole.close()


def shown(result: SearchResult) -> list[object]:
    return [[(hit.id, hit.score, replace(hit.document, vectors={})) for hit in result.hits], result.total]


def assert_equals_the_collection(shards: Shards, publication: Publication) -> None:
    assert sum_of(entry.digest for entry in publication.shards) == digest_of(shards.folder / "whole")
    with open_shards(shards.root, publication, "papers") as sharded:
        assert sharded.info().documents == shards.whole.info().documents == publication.documents
        for query in QUERIES:
            for options in ({"using": "words"}, {"using": "words", "filter": {"year": {"gte": 2001}}}):
                found, expected = (
                    one.search(query, k=100, exact=True, total=True, explain_terms=5, **options)  # type: ignore[arg-type]
                    for one in (sharded, shards.whole)
                )
                assert shown(found) == shown(expected)
                assert replace(found, timings=Timings(0, 0, 0)) == replace(expected, timings=Timings(0, 0, 0))
        query = SparseByToken({"t3": 1.0, "fresh4": 0.7})
        assert shown(sharded.search(query, using="own", exact=True)) == shown(
            shards.whole.search(query, using="own", exact=True)
        )


@pytest.mark.parametrize("count", [2, 3])
def test_a_generation_of_live_documents_equals_one_collection_with_the_same_documents(
    shards: Shards, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards.write(60, 85)
    shards.writers[0].seal()
    shards.write(85, 100)
    shards.stop()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a text was encoded")

    with monkeypatch.context() as patch:
        patch.setattr("encoders.bm25.BM25Encoder.encode_documents", refuse)
        publication = shards.fold(count)
    assert published(shards.place) == publication
    assert (publication.generation, len(publication.shards)) == (2, count)
    assert_equals_the_collection(shards, publication)
    # Frequencies count the new documents, and writers of the new generation begin from it.
    before = read_frequencies(shards.root / shards.publication.statistics.folder, shards.publication.statistics)
    after = read_frequencies(shards.root / publication.statistics.folder, publication.statistics)
    assert len(after["words"]) > len(before["words"])
    shards.start()
    shards.write(100, 110)
    shards.stop()
    assert_equals_the_collection(shards, shards.fold())


def test_documents_are_not_published_while_a_writer_has_them(shards: Shards) -> None:
    before = published(shards.place)
    with pytest.raises(CollectionLocked, match="stop the routers that were started with --live first"):
        shards.fold()
    shards.stop()
    own = ShardWriter(shards.root / before.shards[1].folder, shards.live / before.shards[1].name, lambda *_: [])
    with pytest.raises(CollectionLocked, match="shard-0001-of-0002 is open for writing"):
        shards.fold()
    own.close()
    assert published(shards.place) == before
    assert not (shards.root / "generations" / "000002").exists()
    assert shards.fold().documents == 60


def test_a_folder_of_another_generation_or_place_is_named(shards: Shards, tmp_path: Path) -> None:
    shards.stop()
    shards.fold()
    shards.publication = published(shards.place)
    with pytest.raises(CollectionNotFound, match=r"live/papers/000002/common does not exist: --live names the folder"):
        shards.fold()
    assert published(shards.place).generation == 2


def test_a_writer_does_not_start_again_when_its_documents_are_in_a_newer_generation(shards: Shards) -> None:
    check_not_folded(shards.live, shards.place)
    shards.stop()
    shards.fold()
    with pytest.raises(ShardMismatch, match="are in generation 2, which is published: start the router again"):
        check_not_folded(shards.live, shards.place)
    shards.start()
    check_not_folded(shards.live, shards.place)  # the writers of the new generation
    # Where the new generation was not published, writers go on, and its mark does not outlive their first write.
    (shards.live / "folded.json").write_text(json.dumps({"generation": 3}))
    check_not_folded(shards.live, shards.place)
    assert not (shards.live / "folded.json").exists()
    (shards.live / "folded.json").write_text("{")
    with pytest.raises(ShardMismatch, match="damaged"):
        check_not_folded(shards.live, shards.place)


def reshard(shards: Shards, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code + LSR, "reshard", str(shards.root), "--live", str(shards.folder / "live")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, "--json"], capture_output=True, text=True, check=False, env=environment, timeout=600
    )


def test_a_command_that_is_killed_publishes_nothing_and_goes_on_with_what_was_written_since(shards: Shards) -> None:
    shards.write(60, 80)
    shards.stop()
    before = published(shards.place)
    killed = reshard(shards, KILLED)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    generation = shards.root / "generations" / "000002"
    assert (generation / "shard-0000-of-0002" / "catalog.sqlite").exists()  # half of it
    assert published(shards.place) == before
    shards.start()
    assert shards.publication == before
    shards.write(80, 95)  # to the former generation, which is still the published one
    shards.stop()
    done = reshard(shards)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["generation"], report["folded"]) == (2, str(shards.live))
    assert report["documents"] == shards.whole.info().documents
    assert_equals_the_collection(shards, published(shards.place))


def test_a_stopped_build_of_another_kind_is_not_removed(shards: Shards) -> None:
    shards.stop()
    other = shards.root / "generations" / "000002" / "shard-0000-of-0002"
    other.mkdir(parents=True)
    with pytest.raises(LsrError, match="has a build that was stopped"):
        shards.fold()
    assert other.exists()
    assert published(shards.place).generation == 1
