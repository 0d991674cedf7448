"""A router that ends: it does not wait for a cluster that is gone, and leaves alone what another router may use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lsr.collection import Collection
from lsr.documents import Document
from lsr.sharding.local import open_shards
from lsr.sharding.places import place_of
from lsr.sharding.publishing import publish
from lsr.sharding.splitting import split_collection
from lsr.vectors import VectorConfig
from service.cluster import serving
from service.cluster.deployment import ServingOptions
from service.cluster.serving import ClusterStore


class FakeServe:
    """Ray Serve, which notes what is deleted."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete(self, application: str, **_: Any) -> None:
        self.deleted.append(application)


Ending = Callable[[Callable[..., Any]], list[str]]


@pytest.fixture
def ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ending:
    """A function: end a router whose cluster answers with `get`, and return what was deleted."""
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig("bm25")}) as collection:
        collection.write([Document("d", text="stone")])
        collection.seal()
    publication = split_collection(tmp_path / "c", tmp_path / "papers", 1)
    publish(place_of(str(tmp_path / "papers")), publication, tmp_path / "papers")
    asked = SimpleNamespace(last_look=SimpleNamespace(remote=lambda *_: None))
    monkeypatch.setattr(serving, "directory", lambda _: asked)
    monkeypatch.setattr(serving, "_END_SECONDS", 5)
    monkeypatch.setattr(serving, "_LOOK_SECONDS", 0.01)

    def end(get: Callable[..., Any]) -> list[str]:
        serve = FakeServe()
        place = place_of(str(tmp_path / "papers"))
        store = ClusterStore(SimpleNamespace(get=get), serve, place, ServingOptions(cache=tmp_path / "cache"))
        store._collections["papers"] = open_shards(tmp_path / "papers", publication, "papers")
        store.end()
        return serve.deleted

    return end


def test_the_last_router_ends_its_replicas(ending: Ending) -> None:
    assert ending(lambda *_, **__: [None]) == ["lsr-papers-1-shard-0000-of-0001"]


def test_replicas_that_another_router_uses_or_may_use_stay(ending: Ending, caplog: pytest.LogCaptureFixture) -> None:
    looks = iter([[7.0], [7.0], [8.0]])
    assert ending(lambda *_, **__: next(looks)) == []

    def gone(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the directory is gone")

    with caplog.at_level(logging.WARNING, "lsr.cluster"):
        assert ending(gone) == []
    assert "the replicas of generation 1 are not ended: RuntimeError('the directory is gone')" in caplog.text


def test_a_router_that_was_killed_a_moment_ago_does_not_count(ending: Ending) -> None:
    looks = iter([[7.0], [7.0], [7.0], [None]])
    assert ending(lambda *_, **__: next(looks)) == ["lsr-papers-1-shard-0000-of-0001"]


def test_a_cluster_that_does_not_answer_does_not_keep_the_router(
    ending: Ending, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "_END_SECONDS", 0.3)
    released = threading.Event()
    with caplog.at_level(logging.WARNING, "lsr.cluster"):
        assert ending(lambda *_, **__: [released.wait(60) and None]) == []
    released.set()
    assert "the cluster has not answered for 0.3 s" in caplog.text
