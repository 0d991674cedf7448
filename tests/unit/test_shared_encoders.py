"""Encoders are in memory once for all open collections, and never another model than a restart would give."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import EncoderMismatch
from lsr.shared_encoders import shared_dense_encoder, shared_encoder
from lsr.vectors import VectorConfig

Make = Callable[..., Path]


def create(folder: Path, encoder: str, **settings: object) -> Collection:
    return Collection.create(folder, vectors={"default": VectorConfig(encoder, settings)})


def test_collections_share_an_encoder_and_answer_as_alone(tmp_path: Path, make_checkpoint: Make) -> None:
    path = str(make_checkpoint())
    with create(tmp_path / "a", path) as a, create(tmp_path / "b", path) as b:
        assert a.encoder() is b.encoder()
        for one in (a, b):
            one.write([Document("d", text="sparse retrieval"), Document("e", text="heart attack")])
        assert a.search("sparse").hits == b.search("sparse").hits
        kept = a.encoder()
    with Collection.open(tmp_path / "a") as again:
        assert again.encoder() is kept
        assert again.encoder().fingerprint == again.info().vectors["default"].fingerprint


def test_the_same_model_at_another_path_is_shared(tmp_path: Path, make_checkpoint: Make) -> None:
    path = make_checkpoint()
    shutil.copytree(path, tmp_path / "copy")
    assert shared_encoder(str(path), {}, "cpu") is shared_encoder(str(tmp_path / "copy"), {}, "cpu")


def test_other_settings_or_files_are_another_encoder(tmp_path: Path, make_checkpoint: Make) -> None:
    path = make_checkpoint(seed=1)
    first = shared_encoder(str(path), {}, "cpu")
    assert shared_encoder(str(path), {"max_length": 8}, "cpu") is not first
    assert shared_encoder(str(path), {"dtype": "float32"}, "cpu") is not first
    with create(tmp_path / "old", str(path)) as old:
        old.write([Document("d", text="sparse")])
    other = make_checkpoint(seed=2)
    for file in other.iterdir():
        shutil.copyfile(file, path / file.name)
    second = shared_encoder(str(path), {}, "cpu")
    assert second is not first
    assert second.fingerprint != first.fingerprint
    with Collection.open(tmp_path / "old") as old, pytest.raises(EncoderMismatch):
        old.search("sparse")
    with create(tmp_path / "new", str(path)) as new:
        assert new.encoder().fingerprint == second.fingerprint


def test_bm25_is_never_shared(tmp_path: Path) -> None:
    with create(tmp_path / "a", "bm25") as a, create(tmp_path / "b", "bm25") as b:
        assert a.encoder() is not b.encoder()
        a.write([Document("d", text="lobster")])
        assert len(b.encoder().vocabulary) == 0


def test_a_sparse_and_a_dense_vector_of_one_model_share_it() -> None:
    sparse = shared_encoder("lsr-mini", {}, "cpu")
    assert shared_dense_encoder("lsr-mini", {}, "cpu") is sparse


def test_an_encoder_that_no_collection_uses_is_released(tmp_path: Path, make_checkpoint: Make) -> None:
    path = str(make_checkpoint(seed=3))
    with create(tmp_path / "a", path) as collection:
        released = weakref.ref(collection.encoder())
    del collection
    gc.collect()
    assert released() is None


def test_threads_that_need_an_encoder_at_once_read_it_once(
    make_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import encoders

    path = str(make_checkpoint(seed=4))
    load, loads = encoders.load_with_settings, []

    def counted(*arguments: object) -> object:
        loads.append(arguments)
        return load(*arguments)  # type: ignore[arg-type] # passed on as they are

    monkeypatch.setattr("encoders.load_with_settings", counted)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(shared_encoder(path, {}, "cpu"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len({id(one) for one in found}) == 1
