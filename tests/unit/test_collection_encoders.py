"""Collections with a model: where the model is searched for, and the queries that measure recall targets."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from encoders.errors import UnknownEncoder
from index import IndexConfig
from lsr.collection import Collection
from lsr.documents import Document
from lsr.storage import sample_queries
from lsr.storage.sample_queries import SampledTexts
from lsr.vectors import VectorConfig


@pytest.fixture
def model(make_checkpoint, tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "tiny"
    folder.parent.mkdir()
    shutil.copytree(make_checkpoint(), folder)
    return folder


def test_a_checkpoint_given_by_a_relative_path_is_found_from_elsewhere(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    Collection.create(tmp_path / "c", vectors={"default": VectorConfig("tiny")}).close()
    monkeypatch.chdir("/")
    with Collection.open(tmp_path / "c", "w") as collection:
        collection.write([Document("d", text="lobster")])
        assert collection.info().vectors["default"].encoder == str(model)


def test_a_checkpoint_that_was_moved_is_asked_for_by_name_and_way_out(model: Path, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(str(model))}) as collection:
        collection.write([Document("d", text="lobster")])
    away = model.rename(tmp_path / "away")
    with Collection.open(tmp_path / "c") as collection:
        with pytest.raises(UnknownEncoder, match=r"tiny.*symbolic link.*lsr reindex"):
            collection.search("lobster")
        assert collection.get("d") is not None
    model.symlink_to(away)
    with Collection.open(tmp_path / "c") as collection:
        assert [hit.id for hit in collection.search("lobster").hits] == ["d"]


def test_a_merge_measures_recall_targets_on_titles(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_queries, "AT_LEAST", 20)
    vectors = {"default": VectorConfig(str(model), index=IndexConfig(n_postings=50))}
    words = ("lobster", "roll", "crab", "river")
    with Collection.create(tmp_path / "c", vectors=vectors) as collection:
        for first in (0, 30):
            collection.write([Document(f"d{n}", title=words[n % 4], text="soup") for n in range(first, first + 30)])
            collection.seal()
        collection.merge()
        (view,) = collection._state.generation.segments
        assert view.segment.indexes["default"].calibration is not None


def test_texts_are_sampled_evenly_however_many_come() -> None:
    sampled = SampledTexts()
    sampled.add(Document(str(number), title=f"t{number}") for number in range(50_000))
    kept = [int(text[1:]) for text in sampled._texts]
    assert 400 <= len(kept) < 800
    assert len({after - before for before, after in pairwise(kept)}) == 1
    assert kept[-1] > 49_000
