"""A collection on a read-only disk, with the write-ahead log of a killed writer: it is served, with every commit."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document
from lsr.errors import CollectionReadOnly
from lsr.storage import catalog_connection
from lsr.store import CollectionStore
from lsr.upkeep import verification

WAL, SHM = "catalog.sqlite-wal", "catalog.sqlite-shm"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder as a killed writer leaves it: a segment, and three documents that are only in the log."""
    with Collection.create(tmp_path / "written") as collection:
        collection.write([Document("sealed", text="lobster")])
        collection.seal()
        collection._state.catalog.checkpoint()
        collection.write([Document("logged", text="lobster roll")])
        collection.write([Document("last", text="lobster soup")])
        collection.delete(["sealed"])
        assert (tmp_path / "written" / WAL).stat().st_size > 0
        shutil.copytree(tmp_path / "written", tmp_path / "all" / "c")
    (tmp_path / "all" / "c" / SHM).unlink()
    return tmp_path / "all"


@pytest.fixture(params=["a folder without rights", "a read-only mount"])
def read_only(request: pytest.FixtureRequest, left: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where nothing can be written. Tests may run as root, whom no right stops."""
    if request.param == "a read-only mount":
        command = ["mount", "--bind", "-o", "ro", str(left), str(left)]
        mounted = subprocess.run(command, capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
        yield left
        subprocess.run(["umount", "-l", str(left)], check=True)
        return

    class NoLock:
        def __init__(self, folder: Path) -> None:
            raise CollectionReadOnly(f"{folder}: Permission denied")

    for module in ("lsr.collection", "lsr.upkeep.verification"):
        monkeypatch.setattr(f"{module}.WriterLock", NoLock)
    monkeypatch.setattr(catalog_connection.os, "access", lambda *_: False)
    yield left


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(one): (one.stat().st_size, one.stat().st_mtime_ns) for one in folder.rglob("*")}


def test_every_commit_of_the_log_is_served_and_nothing_is_written(read_only: Path, tmp_path: Path) -> None:
    before, temporary = files(read_only), set(Path(tempfile.gettempdir()).glob("lsr-catalog-*"))
    with CollectionStore(read_only) as store:
        assert store.broken == {}
        assert "c" in store.read_only
        found = store.get("c").search("lobster").hits
        assert sorted(hit.id for hit in found) == ["last", "logged"]
        assert store.get("c").get("sealed") is None
        assert not store.get("c").follow()
        with pytest.raises(CollectionReadOnly):
            store.get("c").write([Document("more", text="x")])
        assert set(Path(tempfile.gettempdir()).glob("lsr-catalog-*")) == temporary
    assert verify_collection(read_only / "c") == []
    assert files(read_only) == before


def test_an_empty_log_needs_no_copy(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (left / "c" / WAL).write_bytes(b"")
    monkeypatch.setattr(catalog_connection.os, "access", lambda *_: False)
    monkeypatch.setattr(catalog_connection, "_with_log", None)
    with Collection.open(left / "c") as collection:
        assert collection.get("sealed") is not None
        assert collection.get("logged") is None
    assert not (left / "c" / SHM).exists()


def test_a_log_that_cannot_be_copied_is_said_to_be_so(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalog_connection.shutil, "copyfile", full)
    with pytest.raises(CollectionReadOnly, match=r"committed changes.*No space left on device.*Set TMPDIR"):
        Collection.open(read_only / "c")
    with CollectionStore(read_only) as store:
        assert "Set TMPDIR" in str(store.broken["c"])


def test_damage_in_the_log_is_found_there_too(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = left / "c" / WAL
    content = bytearray(log.read_bytes())
    content[32 + 24 + 100] ^= 1  # in the first frame
    log.write_bytes(content)

    def no_lock(folder: Path) -> None:
        raise CollectionReadOnly(f"{folder}: Permission denied")

    monkeypatch.setattr(verification, "WriterLock", no_lock)
    monkeypatch.setattr(catalog_connection.os, "access", lambda *_: False)
    problems = verify_collection(left / "c")
    assert problems[0].path == log
    assert "committed transactions from there on are lost" in problems[0].reason
