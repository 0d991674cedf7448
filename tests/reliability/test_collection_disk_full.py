"""On a full disk a write is refused and nothing of it is kept, reads continue, and writes work again with free space.

Needs a small tmpfs, which takes the right to mount; where that is missing the test says so and is skipped.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.errors import StorageFull
from lsr.vectors import VectorConfig

START_KIB = 700
STEP_KIB = 150


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={START_KIB}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(folder: Path, kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(folder)], check=True)


def batch(number: int) -> list[Document]:
    vector = SparseByToken({"all": 1.0, f"batch{number}": 1.0})
    return [
        Document(
            f"b{number:03}-{at}",
            text="x" * 800,
            vectors={"default": vector, "meaning": DenseInput((float(number), float(at), 1.0) * 20)},
        )
        for at in range(10)
    ]


def test_a_full_disk_refuses_writes_keeps_reads_and_recovers(small_disk: Path) -> None:
    acknowledged: list[str] = []
    refused = {"write": 0, "seal": 0, "merge": 0}
    size = START_KIB
    folder = small_disk / "c"
    dense = VectorConfig(None, dense=True, dimensions=60)
    collection = Collection.create(folder, vectors={"default": VectorConfig(None), "meaning": dense})

    def check() -> None:
        found = collection.search(SparseByToken({"all": 1.0}), k=5000, exact=True).hits
        assert [hit.id for hit in found] == sorted(acknowledged)
        assert all(collection.dense_vector(identifier, "meaning") is not None for identifier in acknowledged)

    for number in range(60):
        try:
            collection.write(batch(number))
            acknowledged += [document.id for document in batch(number)]
        except StorageFull:
            refused["write"] += 1
            check()
            size += STEP_KIB
            resize(small_disk, size)
        for name, due in (("seal", number % 6 == 5), ("merge", number % 18 == 17)):
            try:
                if due:
                    getattr(collection, name)()
            except StorageFull:
                refused[name] += 1
                check()
        if number % 20 == 19:
            check()
            collection.close()
            collection = Collection.open(folder, "w")
            check()
    assert refused["write"] > 0
    assert refused["seal"] > 0
    resize(small_disk, 64 * 1024)
    collection.write(batch(999))
    acknowledged += [document.id for document in batch(999)]
    assert collection.seal()
    collection.merge()
    check()
    assert verify_collection(folder) == []
    live = [view.segment.row.uuid for view in collection._state.generation.segments]
    assert [path.name for path in (folder / "segments").iterdir()] == live
    collection.close()
