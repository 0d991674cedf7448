"""The folder of a service's collections: names cannot escape it, and a broken collection does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound, LsrError, QueryError
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
