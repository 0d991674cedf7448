"""The folder of a service's collections: names cannot escape it, and a broken collection does not stop the others."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import (
    CollectionCorrupt,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    CollectionReadOnly,
    LsrError,
    QueryError,
)
from lsr.store import CollectionStore


def test_collections_are_created_found_again_and_dropped(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("papers").write([Document("d", text="lobster")])
        store.create("books")
        assert store.names() == ["books", "papers"]
        with pytest.raises(CollectionExists):
            store.create("papers")
    with CollectionStore(tmp_path) as store:
        held = store.get("papers")
        assert [hit.id for hit in held.search("lobster").hits] == ["d"]
        store.drop("papers")
        assert store.names() == ["books"]
        with pytest.raises(CollectionNotFound, match="the collections are: books"):
            store.get("papers")
        assert [hit.id for hit in held.search("lobster").hits] == ["d"]
        with pytest.raises(CollectionNotFound, match="closed"):
            held.write([Document("e")])
    assert [path.name for path in tmp_path.iterdir()] == ["books"]


def test_a_single_collection_is_served_under_its_folders_name(tmp_path: Path) -> None:
    Collection.create(tmp_path / "My Papers").close()
    with CollectionStore(tmp_path / "My Papers") as store:
        assert store.names() == ["my-papers"]
        assert store.renamed == {"my-papers": "My Papers"}
        assert store.get("my-papers").info().name == "my-papers"
        with pytest.raises(LsrError, match="not a folder of them"):
            store.create("other")
        with pytest.raises(LsrError, match="not a folder of them"):
            store.drop("my-papers")


def test_one_broken_collection_does_not_stop_the_others(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("good").write([Document("d", text="lobster")])
        store.create("bad")
    catalog = tmp_path / "bad" / "catalog.sqlite"
    catalog.write_bytes(b"\xff" * catalog.stat().st_size)
    with CollectionStore(tmp_path) as store:
        assert store.names() == ["good"]
        assert isinstance(store.broken["bad"], CollectionCorrupt)
        with pytest.raises(CollectionCorrupt):
            store.get("bad")
        with pytest.raises(CollectionExists):
            store.create("bad")
        assert len(store.get("good").search("lobster").hits) == 1
        store.drop("bad")
        store.create("bad")


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "_a", "a" * 64, "a.b", "a\n", "ä"])
def test_a_name_outside_of_the_rule_is_refused(tmp_path: Path, name: str) -> None:
    with CollectionStore(tmp_path) as store, pytest.raises(QueryError):
        store.create(name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFound):
        CollectionStore(tmp_path / "nowhere")


def test_a_folder_whose_name_breaks_the_rule_is_left_out_with_the_reason(tmp_path: Path) -> None:
    for name in ("papers", "Big", "my papers", "x.y", os.fsdecode(b"b\xff")):
        Collection.create(tmp_path / name).close()
    (tmp_path / "notes").mkdir()
    with CollectionStore(tmp_path) as store:
        assert store.names() == ["papers"]
        assert set(store.left_out) == {"Big", "my papers", "x.y", "b\\xff"}
        assert "renamed to 'my-papers'" in store.left_out["my papers"]
        (tmp_path / "x.y").rename(tmp_path / "x-y")
        assert not look_until(store, "x-y").left_out
        assert store.names() == ["papers", "x-y"]
        assert "x.y" not in store.left_out


def test_a_collection_that_an_alias_hides_is_left_out(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("papers-1")
        store.set_alias("papers", "papers-1")
        Collection.create(tmp_path / "papers").close()
        assert "hides it" in store.follow().left_out["papers"]
        assert store.names() == ["papers-1"]
        store.drop_alias("papers")
        look_until(store, "papers")


def look_until(store: CollectionStore, name: str) -> Any:
    """Look at the folder until the collection is open; a new one must look the same twice."""
    for _ in range(3):
        followed = store.follow()
        if name in followed.opened:
            return followed
    raise AssertionError(f"{name} was not opened: {store.broken}")


def test_collections_that_come_and_go_are_noticed(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        with Collection.create(tmp_path / "new") as made:
            made.write([Document("d", text="lobster")])
            look_until(store, "new")
            assert store.read_only["new"]
        assert store.take_locks() == ["new"]
        store.get("new").write([Document("e", text="lobster")])
        shutil.rmtree(tmp_path / "new")
        assert store.follow().gone == ["new"]
        with pytest.raises(CollectionNotFound):
            store.get("new")
        assert store.broken == {}


def test_a_collection_that_replaces_another_is_served_in_its_place(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("papers").write([Document("old", text="lobster")])
        with Collection.create(tmp_path / "next.one") as made:
            made.write([Document("new", text="lobster")])
        shutil.rmtree(tmp_path / "papers")
        (tmp_path / "next.one").rename(tmp_path / "papers")
        look_until(store, "papers")
        assert [hit.id for hit in store.get("papers").search("lobster").hits] == ["new"]


def test_a_second_store_reads_at_once_follows_and_writes_when_the_first_is_closed(tmp_path: Path) -> None:
    first = CollectionStore(tmp_path)
    first.create("papers").write([Document("a", text="lobster")])
    with CollectionStore(tmp_path) as second:
        papers = second.get("papers")
        assert [hit.id for hit in papers.search("lobster").hits] == ["a"]
        assert "another process" in second.read_only["papers"]
        assert second.take_locks() == []
        for change in (lambda: papers.write([Document("b")]), lambda: papers.delete(["a"]), papers.seal):
            with pytest.raises(CollectionLocked):
                change()
        with pytest.raises(CollectionLocked):
            second.drop("papers")
        first.get("papers").write([Document(f"b{n}", text="lobster") for n in range(9)])
        first.get("papers").seal()
        second.follow()
        page = papers.search("lobster", k=4, cursor=True)
        assert page.total.value == 10
        first.close()
        assert second.take_locks() == ["papers"]
        assert second.get("papers") is papers
        assert second.read_only == {}
        rest = papers.search("lobster", k=9, cursor=page.next_cursor or "")
        assert len({hit.id for hit in (*page.hits, *rest.hits)}) == 10
        papers.write([Document("c", text="lobster")])
        assert papers.search("lobster", total=True).total.value == 11
    with Collection.open(tmp_path / "papers") as again:
        assert again.info().documents == 11


def forbid_writing(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """Let the writer's lock of a folder fail as it does on a read-only disk; tests may run as root."""
    true_open = os.open

    def fail(path: Any, *arguments: Any, **keywords: Any) -> int:
        if str(path).startswith(f"{folder}{os.sep}"):
            raise OSError(number, os.strerror(number), str(path))
        return true_open(path, *arguments, **keywords)

    monkeypatch.setattr("lsr.storage.files.os.open", fail)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_collection_on_a_read_only_disk_is_served_for_reading(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("fixed").write([Document("d", text="lobster")])
        store.create("other")
    forbid_writing(monkeypatch, tmp_path / "fixed", number)
    with CollectionStore(tmp_path) as store:
        fixed = store.get("fixed")
        assert [hit.id for hit in fixed.search("lobster").hits] == ["d"]
        assert os.strerror(number) in store.read_only["fixed"]
        for change in (lambda: fixed.write([Document("e")]), fixed.snapshot, fixed.merge, lambda: store.drop("fixed")):
            with pytest.raises(CollectionReadOnly, match="written there"):
                change()
        store.get("other").write([Document("e", text="heron")])
        assert store.take_locks() == []
        monkeypatch.undo()
        assert store.take_locks() == ["fixed"]
        fixed.write([Document("e", text="lobster")])
    monkeypatch.undo()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), RuntimeError("a bug"), MemoryError()])
def test_no_error_of_one_collection_stops_the_others(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("good").write([Document("d", text="lobster")])
        store.create("bad")
    true_open = Collection.open.__func__  # type: ignore[attr-defined] # a class method

    def fail(cls: type[Collection], path: Path, *arguments: Any, **keywords: Any) -> Collection:
        if Path(path).name == "bad":
            raise error
        opened: Collection = true_open(cls, path, *arguments, **keywords)
        return opened

    monkeypatch.setattr(Collection, "open", classmethod(fail))
    with CollectionStore(tmp_path) as store:
        assert store.names() == ["good"]
        assert len(store.get("good").search("lobster").hits) == 1
        with pytest.raises(CollectionCorrupt, match="cannot be opened"):
            store.get("bad")


def test_a_load_in_progress_keeps_its_lock_and_its_collection_is_found_when_it_ends(tmp_path: Path) -> None:
    from lsr.metadata import MetadataSchema
    from lsr.storage.layout import LOAD_SETTING, create_files
    from lsr.vectors import VectorConfig

    with CollectionStore(tmp_path) as store:
        load = {LOAD_SETTING: {"source": None, "report": {}}}
        catalog, lock = create_files(tmp_path / "new", {"default": VectorConfig("bm25")}, MetadataSchema(), load)
        lock.release()  # as if it were interrupted: even then the watching store must not take the lock
        for _ in range(3):
            assert store.follow().opened == []
        assert "indexing has not finished" in str(store.broken["new"])
        with catalog.transaction() as change:
            change.remove_setting(LOAD_SETTING)
        catalog.close()
        look_until(store, "new")
        store.get("new").write([Document("d", text="lobster")])
