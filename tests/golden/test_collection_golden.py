"""Every later version opens the collections that earlier versions wrote, or refuses them by name."""

from __future__ import annotations

import json
import runpy
import sqlite3
import tarfile
from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document
from lsr.errors import CollectionCorrupt

MAKER = runpy.run_path(str(Path(__file__).with_name("make_collection_v1.py")))


@pytest.fixture
def collection_v1(tmp_path: Path) -> Path:
    with tarfile.open(MAKER["ARCHIVE"]) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "collection"


def test_a_collection_of_version_1_opens_and_answers_as_it_did(collection_v1: Path) -> None:
    expected = json.loads(MAKER["ANSWERS"].read_text())
    assert verify_collection(collection_v1) == []
    with Collection.open(collection_v1) as collection:
        assert json.loads(json.dumps(MAKER["answers"](collection))) == expected
    with Collection.open(collection_v1, "w") as collection:
        collection.write([Document("new", text="written by a later version")])
        collection.seal()
        collection.merge()
        collection.delete(["new"])
        assert json.loads(json.dumps(MAKER["answers"](collection)))["documents"] == expected["documents"]


def test_a_collection_of_a_newer_version_is_refused_by_name(collection_v1: Path) -> None:
    connection = sqlite3.connect(collection_v1 / "catalog.sqlite")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    for mode in ("r", "w"):
        with pytest.raises(CollectionCorrupt, match="format version 2, but this program reads version 1: install"):
            Collection.open(collection_v1, mode)  # type: ignore[arg-type]
