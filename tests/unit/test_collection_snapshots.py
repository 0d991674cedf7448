"""Snapshots and aliases: a restore is complete, a damaged snapshot is refused, alias changes are atomic."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document
from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound, QueryError
from lsr.store import CollectionStore


def texts(collection: Collection) -> dict[str, str]:
    return {document.id: document.text for document, _, _ in collection.scan()}


def test_a_restored_collection_is_as_it_was_and_goes_on(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("a", text="lobster roll"), Document("b", text="crab")])
        collection.seal()
        collection.write([Document("c", text="oyster")])
        taken = collection.snapshot("monday")
        kept = texts(collection)
        scores = collection.rank(["lobster crab oyster"])[0][1].tolist()
        collection.write([Document("b", text="entirely other words"), Document("d", text="more")])
        collection.delete(["a"])
        collection.seal()
        collection.merge()
        before = collection.info().seq
        collection.restore("monday")
        assert texts(collection) == kept
        assert collection.rank(["lobster crab oyster"])[0][1].tolist() == scores
        assert collection.info().seq > before
        collection.write([Document("e", text="entirely new words")])
        assert [hit.id for hit in collection.search("words").hits] == ["e"]
        assert collection.snapshots() == [taken]
    for mode in ("w", "r"):
        with Collection.open(tmp_path / "c", mode) as collection:  # type: ignore[arg-type]
            assert set(texts(collection)) == {*kept, "e"}
    assert verify_collection(tmp_path / "c") == []
    assert verify_collection(tmp_path / "c" / "snapshots" / "monday") == []


def test_a_snapshot_is_a_collection_by_itself(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("a", text="lobster")])
        name = collection.snapshot().name
    with Collection.open(tmp_path / "c" / "snapshots" / name) as kept:
        assert [hit.id for hit in kept.search("lobster").hits] == ["a"]


def test_a_damaged_snapshot_is_refused_and_the_collection_left_alone(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("a", text="lobster")])
        collection.seal()
        collection.snapshot("s")
        collection.merge()
        collection.write([Document("b", text="lobster")])
        (path,) = (tmp_path / "c" / "snapshots" / "s").glob("segments/*/documents.arrow")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()
        path.write_bytes(content)
        with pytest.raises(CollectionCorrupt, match=r"documents\.arrow"):
            collection.restore("s")
        assert set(texts(collection)) == {"a", "b"}
        collection.write([Document("c", text="lobster")])


def test_snapshot_names_are_checked(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.snapshot("one")
        with pytest.raises(CollectionExists):
            collection.snapshot("one")
        for name in ("../x", "", "A"):
            with pytest.raises(QueryError):
                collection.snapshot(name or "/")
            with pytest.raises(QueryError):
                collection.restore(name)
        with pytest.raises(CollectionNotFound, match="the snapshots are: one"):
            collection.restore("two")
        collection.delete_snapshot("one")
        assert collection.snapshots() == []


def test_an_alias_is_swapped_and_kept(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("v1").write([Document("old", text="lobster")])
        store.create("v2").write([Document("new", text="lobster")])
        store.set_alias("current", "v1")
        assert store.get("current") is store.get("v1")
        store.set_alias("current", "v2")
        with pytest.raises(CollectionExists):
            store.create("current")
        with pytest.raises(CollectionExists):
            store.set_alias("v1", "v2")
        with pytest.raises(CollectionNotFound, match="itself an alias"):
            store.set_alias("other", "current")
        with pytest.raises(CollectionNotFound):
            store.set_alias("other", "nothing")
        with pytest.raises(CollectionNotFound, match="is an alias"):
            store.drop("current")
    with CollectionStore(tmp_path) as store:
        assert [hit.id for hit in store.get("current").search("lobster").hits] == ["new"]
        assert store.aliases() == {"current": "v2"}
        store.drop("v2")
        assert store.aliases() == {}
        store.set_alias("current", "v1")
        store.drop_alias("current")
        with pytest.raises(CollectionNotFound):
            store.get("current")


def test_a_damaged_alias_file_stops_no_collection(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        store.create("v1")
        store.set_alias("current", "v1")
    (tmp_path / "aliases.json").write_text("{")
    with CollectionStore(tmp_path) as store:
        assert store.names() == ["v1"]
        assert isinstance(store.broken["aliases.json"], CollectionCorrupt)
        with pytest.raises(CollectionCorrupt):
            store.set_alias("current", "v1")
