"""Every later version opens the collections that earlier versions wrote, or refuses them by name."""

from __future__ import annotations

import json
import runpy
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document
from lsr.errors import CollectionCorrupt

MAKER = runpy.run_path(str(Path(__file__).with_name("make_collection_v1.py")))
MAKER_V2 = runpy.run_path(str(Path(__file__).with_name("make_collection_v2.py")))


@pytest.fixture
def collection_v1(tmp_path: Path) -> Path:
    return extracted(MAKER, tmp_path)


@pytest.fixture
def collection_v2(tmp_path: Path) -> Path:
    return extracted(MAKER_V2, tmp_path)


def extracted(maker: dict[str, Any], folder: Path) -> Path:
    with tarfile.open(maker["ARCHIVE"]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "collection"


def versions(folder: Path) -> tuple[int, set[int]]:
    """The catalog's format version, and those of the segments' manifests."""
    connection = sqlite3.connect(folder / "catalog.sqlite")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    manifests = folder.glob("segments/*/manifest.json")
    return version, {json.loads(path.read_bytes())["format_version"] for path in manifests}


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
    assert versions(collection_v1) == (1, {1})  # written to, it can still be read by the version that made it


def test_a_collection_of_version_2_opens_and_answers_as_it_did(collection_v2: Path) -> None:
    expected = json.loads(MAKER_V2["ANSWERS"].read_text())
    assert verify_collection(collection_v2) == []
    with Collection.open(collection_v2) as collection:
        assert json.loads(json.dumps(MAKER_V2["answers"](collection))) == expected
        assert set(collection.info().vectors) == {"text", "splade", "meaning"}
    with Collection.open(collection_v2, "w") as collection:
        collection.write([Document("new", text="written by a later version")])
        collection.seal()
        collection.merge()
        collection.delete(["new"])
        found = json.loads(json.dumps(MAKER_V2["answers"](collection)))
        for part in ("documents", "dense", "dense_scores", "present"):
            assert found[part] == expected[part]
    assert versions(collection_v2) == (2, {2})


def test_a_collection_of_a_newer_version_is_refused_by_name(collection_v1: Path) -> None:
    connection = sqlite3.connect(collection_v1 / "catalog.sqlite")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    for mode in ("r", "w"):
        with pytest.raises(
            CollectionCorrupt, match="format version 3, but this program reads versions up to 2: install"
        ):
            Collection.open(collection_v1, mode)  # type: ignore[arg-type]
