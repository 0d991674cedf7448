"""`verify` detects a damaged byte and names the file; damage that `open` does not notice never crashes the process.

The suite flips a few bits of each file. LSR_FLIPS_PER_FILE=450 takes every byte of most files and as many of the larger
ones, which is a quarter of an hour or more (with --timeout 0).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.errors import EXPECTED_ERRORS, CollectionCorrupt
from lsr.vectors import VectorConfig

FLIPS_PER_FILE = int(os.environ.get("LSR_FLIPS_PER_FILE", "5"))
DIMS = 6
VECTORS = {
    "text": VectorConfig("bm25"),
    "splade": VectorConfig(None),
    "meaning": VectorConfig(None, dense=True, dimensions=DIMS),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small collection with all features: two segments, deletions, pending documents, metadata."""
    folder = tmp_path_factory.mktemp("sound") / "c"
    with Collection.create(folder, vectors=VECTORS, schema={"tag": "keyword[]", "year": "int"}) as collection:
        for start in (0, 20, 40):
            collection.write(
                [
                    Document(
                        f"d{number}",
                        title=f"Title {number}",
                        text="lobster roll " * (number % 3 + 1),
                        metadata={"tag": ["sea", "food"][: number % 3], "year": number},
                        vectors={
                            "splade": SparseByToken({f"t{number % 7}": 1.0, "all": number + 1.0}),
                            "meaning": DenseInput((1.0, float(number), -1.0, 0.5, number % 7 - 3.0, 2.0)),
                        },
                    )
                    for number in range(start, start + 20)
                ]
            )
            if start < 40:
                collection.seal()
        collection.delete(["d3", "d25", "d45"])
    assert verify_collection(folder) == []
    return folder


def everything(folder: Path) -> list[object]:
    """Read everything that a user can read from a collection."""
    with Collection.open(folder) as collection:
        documents = [collection.get(f"d{number}") for number in range(60)]
        vectors = [collection.vector(f"d{number}", "splade") for number in range(60)]
        hits = [
            [(hit.id, hit.score) for hit in collection.search(query, using=using, k=60, exact=exact, filter=where).hits]
            for query, using in (("lobster", "text"), (SparseByToken({"all": 1.0, "t3": 2.0}), "splade"))
            for exact in (True, False)
            for where in (None, {"tag": "food"}, {"year": {"gte": 30}})
        ]
        generation = collection._state.generation
        places = [place for place in (generation.find(f"d{number}") for number in range(60)) if place is not None]
        dense, present = generation.dense_scores("meaning", places, np.ones(DIMS, dtype=np.float32))
        return [documents, vectors, hits, dense.tolist(), present.tolist()]


def files_of(folder: Path) -> Iterator[Path]:
    """The data files: not the lock, not the files that SQLite creates at every opening."""
    passing = {"writer.lock", "catalog.sqlite-shm", "catalog.sqlite-wal"}
    assert not (folder / "catalog.sqlite-wal").exists() or (folder / "catalog.sqlite-wal").stat().st_size == 0
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in passing)


def linked_copy(folder: Path, target: Path) -> Path:
    """A copy with hard links to the files, for tests that replace one of them."""
    shutil.copytree(folder, target, copy_function=os.link)
    return target


def replace(path: Path, content: bytes) -> Path:
    path.unlink()
    path.write_bytes(content)
    return path


def test_every_flipped_bit_is_detected(sound: Path, tmp_path: Path) -> None:
    generator = random.Random(7)
    undetected = []
    for original in list(files_of(sound)):
        size = original.stat().st_size
        offsets = generator.sample(range(size), min(size, FLIPS_PER_FILE))
        for offset in offsets:
            folder = linked_copy(sound, tmp_path / "c")
            content = bytearray(original.read_bytes())
            content[offset] ^= 1 << generator.randrange(8)
            replace(folder / original.relative_to(sound), bytes(content))
            with contextlib.suppress(*EXPECTED_ERRORS):
                everything(folder)  # must not crash the process; any result is allowed
            if not verify_collection(folder):
                undetected.append((str(original.relative_to(sound)), offset))
            shutil.rmtree(folder)
    assert undetected == []


def test_every_truncated_file_is_detected(sound: Path, tmp_path: Path) -> None:
    undetected = []
    for original in list(files_of(sound)):
        content = original.read_bytes()
        for length in (len(content) // 2, len(content) - 1):
            folder = linked_copy(sound, tmp_path / "c")
            replace(folder / original.relative_to(sound), content[:length])
            with contextlib.suppress(*EXPECTED_ERRORS):
                everything(folder)
            if not verify_collection(folder):
                undetected.append((str(original.relative_to(sound)), length))
            shutil.rmtree(folder)
    assert undetected == []


def test_every_missing_file_is_detected_and_named(sound: Path, tmp_path: Path) -> None:
    for original in list(files_of(sound)):
        if original.name in ("catalog.sqlite", "catalog.sha256"):
            continue
        folder = linked_copy(sound, tmp_path / "c")
        path = folder / original.relative_to(sound)
        path.unlink()
        assert path in [problem.path for problem in verify_collection(folder)]
        shutil.rmtree(folder)


def test_damage_to_a_catalog_that_was_not_closed_is_detected_or_changes_nothing(sound: Path, tmp_path: Path) -> None:
    """Without catalog.sha256, as after a killed writer, the rows' checksums must find the damage that matters."""
    before = everything(sound)
    generator = random.Random(8)
    content = (sound / "catalog.sqlite").read_bytes()
    undetected = []
    for offset in generator.sample(range(len(content)), min(len(content), 8 * FLIPS_PER_FILE)):
        folder = linked_copy(sound, tmp_path / "c")
        (folder / "catalog.sha256").unlink()
        damaged = bytearray(content)
        damaged[offset] ^= 1 << generator.randrange(8)
        replace(folder / "catalog.sqlite", bytes(damaged))
        found = None
        with contextlib.suppress(*EXPECTED_ERRORS):
            found = everything(folder)
        if found != before and not verify_collection(folder):
            undetected.append(offset)
        shutil.rmtree(folder)
    assert undetected == []


def test_a_damaged_catalog_that_does_not_open_keeps_its_hash(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(sound, folder)
    content = bytearray((folder / "catalog.sqlite").read_bytes())
    content[4096:8192] = bytes(4096)
    (folder / "catalog.sqlite").write_bytes(content)
    for _ in range(2):
        with pytest.raises(CollectionCorrupt):
            Collection.open(folder, "w")
    assert any("catalog.sha256" in problem.reason for problem in verify_collection(folder))


def test_a_merge_does_not_copy_damage_into_a_file_with_a_right_checksum(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(sound, folder)
    path = next(folder.glob("segments/*/documents.arrow"))
    content = path.read_bytes()
    assert b"lobster" in content
    replace(path, content.replace(b"lobster", b"lobstor", 1))
    with Collection.open(folder, "w") as collection:
        with pytest.raises(CollectionCorrupt, match=r"documents\.arrow"):
            collection.merge()
        assert [damage.path for damage in collection.damage] == [path]
        assert collection.search("roll", using="text", k=60).partial
    assert [problem.path for problem in verify_collection(folder)] == [path]


def test_a_damaged_catalog_stops_writes_and_no_search(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(sound, folder)
    with Collection.open(folder, "w") as collection:
        before = [hit.id for hit in collection.search("roll", using="text", k=60).hits]
        content = (folder / "catalog.sqlite").read_bytes()
        assert content.count(b"Title 50") >= 1
        (folder / "catalog.sqlite").write_bytes(content.replace(b"Title 50", b"Title 59"))
        assert [damage.path.name for damage in collection.scrub()] == ["catalog.sqlite"]
        answer = collection.search("roll", using="text", k=60)
        assert ([hit.id for hit in answer.hits], answer.partial) == (before, False)
        with pytest.raises(CollectionCorrupt, match=r"catalog\.sqlite"):
            collection.write([Document("new", text="roll")])
