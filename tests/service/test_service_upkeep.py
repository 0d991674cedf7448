"""Aliases and snapshots over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from lsr.cli.running import run
from lsr.collection import Collection
from lsr.documents import Document


def write(client: httpx.Client, collection: str, *ids: str) -> None:
    documents = [{"id": identifier, "text": "heron"} for identifier in ids]
    client.post(f"/v1/collections/{collection}/documents", json={"documents": documents}).raise_for_status()


def ids(client: httpx.Client, collection: str) -> set[str]:
    answer = client.post(f"/v1/collections/{collection}/search", json={"query": {"text": "heron"}})
    assert answer.status_code == 200, answer.text
    return {hit["id"] for hit in answer.json()["hits"]}


@pytest.fixture(scope="module")
def birds(serve) -> httpx.Client:
    client = serve()
    for name in ("birds-1", "birds-2"):
        client.put(f"/v1/collections/{name}", json={}).raise_for_status()
        write(client, name, f"from-{name}")
    return client


def test_an_alias_is_swapped_without_the_callers_noticing(birds: httpx.Client) -> None:
    steps = [("birds-1", None), ("birds-2", "birds-1"), ("birds-2", "birds-1"), ("birds-1", "birds-2")]
    for target, previous in steps:
        answer = birds.put("/v1/aliases/birds", json={"collection": target})
        shown = {"alias": "birds", "collection": target, "previous": previous}
        assert (answer.status_code, answer.json()) == (200, shown)
        assert birds.get("/v1/aliases/birds").json() == shown
        assert ids(birds, "birds") == {f"from-{target}"}
    assert birds.get("/v1/aliases").json() == {"aliases": [shown]}
    assert birds.delete("/v1/aliases/birds").status_code == 204
    assert birds.get("/v1/collections/birds").status_code == 404
    assert birds.delete("/v1/aliases/birds").status_code == 404
    assert birds.get("/v1/aliases/birds").status_code == 404


def test_an_alias_that_the_command_line_changes_is_followed_to_a_new_collection(serve, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "fish-1") as old:
        old.write([Document("old", text="heron")])
    client = serve(folder=tmp_path)
    client.put("/v1/aliases/fish", json={"collection": "fish-1"}).raise_for_status()
    with Collection.create(tmp_path / "fish-2") as new:
        new.write([Document("new", text="heron")])
    assert run(["alias", str(tmp_path), "fish", "fish-2"]) == 0
    wait_for(lambda: ids(client, "fish") == {"new"})
    write(client, "fish", "written")
    assert ids(client, "fish-2") == {"new", "written"}
    assert run(["alias", str(tmp_path), "fish", "--back"]) == 0
    wait_for(lambda: ids(client, "fish") == {"old"})
    shown = {"alias": "fish", "collection": "fish-1", "previous": "fish-2"}
    assert client.get("/v1/aliases/fish").json() == shown
    # What the service does next builds on what the command line did.
    assert run(["alias", str(tmp_path), "other", "fish-2"]) == 0
    client.put("/v1/aliases/third", json={"collection": "fish-1"}).raise_for_status()
    assert set(json.loads((tmp_path / "aliases.json").read_text())["aliases"]) == {"fish", "other", "third"}
    assert client.put("/v1/collections/other", json={}).status_code == 409


def test_an_alias_of_a_collection_that_does_not_open_keeps_the_old_one(serve, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "fish-1") as old:
        old.write([Document("old", text="heron")])
    client = serve(folder=tmp_path)
    client.put("/v1/aliases/fish", json={"collection": "fish-1"}).raise_for_status()
    Collection.create(tmp_path / "fish-2").close()
    assert run(["alias", str(tmp_path), "fish", "fish-2"]) == 0
    wait_for(lambda: ids(client, "fish") == set())
    client.put("/v1/aliases/fish", json={"collection": "fish-1"}).raise_for_status()
    with Collection.create(tmp_path / "fish-3") as new:
        new.write([Document("d", text="heron")])
        new.seal()
    (segment,) = (tmp_path / "fish-3" / "segments").iterdir()
    segment.rename(tmp_path / "away")
    assert run(["alias", str(tmp_path), "fish", "fish-3"]) == 0
    sleep(2)
    assert ids(client, "fish") == {"old"}
    assert client.put("/v1/aliases/fish", json={"collection": "fish-3"}).status_code == 503
    (tmp_path / "away").rename(segment)
    wait_for(lambda: ids(client, "fish") == {"d"})


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end
        sleep(0.05)


def test_a_write_through_an_alias_reaches_its_collection(birds: httpx.Client) -> None:
    birds.put("/v1/aliases/written", json={"collection": "birds-1"}).raise_for_status()
    write(birds, "written", "new")
    assert "new" in ids(birds, "birds-1")
    birds.delete("/v1/collections/birds-1/documents/new").raise_for_status()
    birds.delete("/v1/aliases/written").raise_for_status()


def test_an_alias_neither_hides_a_collection_nor_stands_for_nothing(birds: httpx.Client) -> None:
    assert birds.put("/v1/aliases/birds-1", json={"collection": "birds-2"}).status_code == 409
    assert birds.put("/v1/aliases/lost", json={"collection": "nothing"}).status_code == 404
    assert birds.put("/v1/aliases/Bad", json={"collection": "birds-1"}).status_code == 422
    assert birds.put("/v1/aliases/x", json={}).status_code == 422


def test_a_snapshot_is_taken_listed_restored_and_removed(birds: httpx.Client) -> None:
    birds.put("/v1/collections/kept", json={}).raise_for_status()
    write(birds, "kept", "a", "b")
    snapshots = "/v1/collections/kept/snapshots"
    taken = birds.post(snapshots)
    assert taken.status_code == 202
    info = taken.json()
    assert set(info) == {"name", "created", "documents", "seq", "size", "sha256"}
    assert (info["documents"], len(info["sha256"])) == (2, 64)
    birds.post("/v1/collections/kept/documents:delete", json={"ids": ["a"]}).raise_for_status()
    write(birds, "kept", "c")
    assert ids(birds, "kept") == {"b", "c"}
    assert birds.get(snapshots).json() == {"snapshots": [info]}
    restored = birds.post(f"{snapshots}/{info['name']}:restore")
    assert (restored.status_code, restored.json()["documents"]) == (200, 2)
    assert ids(birds, "kept") == {"a", "b"}
    assert birds.delete(f"{snapshots}/{info['name']}").status_code == 204
    assert birds.get(snapshots).json() == {"snapshots": []}
    assert birds.post(f"{snapshots}/{info['name']}:restore").status_code == 404
    assert birds.post(f"{snapshots}/..%2F..:restore").status_code in (404, 422)


def test_a_snapshot_gets_the_name_it_is_given(birds: httpx.Client) -> None:
    birds.put("/v1/collections/named", json={}).raise_for_status()
    snapshots = "/v1/collections/named/snapshots"
    assert birds.post(snapshots, json={"name": "before-lunch"}).json()["name"] == "before-lunch"
    assert birds.post(snapshots, json={"name": "before-lunch"}).status_code == 409
    assert birds.post(snapshots, json={}).status_code == 202
    assert birds.post(snapshots, json={"name": "../x"}).status_code == 422
    assert birds.post(snapshots, json={"nam": "x"}).json()["errors"] == [{"field": "nam", "detail": "unknown field"}]
    assert birds.post(snapshots, content=b"name=x").status_code == 415
    assert len(birds.get(snapshots).json()["snapshots"]) == 2
