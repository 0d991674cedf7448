"""Documents written through a router: replicas follow, a writer that is killed loses nothing that was acknowledged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lsr.collection import Collection
from lsr.sharding.places import place_of
from lsr.sharding.publishing import publish
from lsr.sharding.splitting import split_collection
from service.cluster.connection import connected
from service.cluster.deployment import ServingOptions
from service.cluster.directory import NAMESPACE
from service.cluster.serving import ClusterStore, deployed
from service.cluster.writers import LiveOptions, writer_name
from service.server import running
from tests.service import sharded_requests as requests
from tests.service.cluster_processes import worker_processes

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lsr[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")
SHARDS = 2
DOCUMENTS = "/v1/collections/papers/documents"
SEARCH = "/v1/collections/papers/search"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with connected("local", cpus=4) as found:
        yield found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    with Collection.create(folder / "c", vectors=requests.VECTORS, schema=requests.SCHEMA) as collection:
        collection.write(requests.documents())
        collection.seal()
    publication = split_collection(folder / "c", folder / "papers", SHARDS)
    publish(place_of(str(folder / "papers")), publication, folder / "papers")
    return folder / "papers"


@pytest.fixture(scope="module")
def store(ray: Any, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStore]:
    folder = tmp_path_factory.mktemp("writers")
    options = ServingOptions(replicas=2, cache=folder / "cache", cpus=0.1, live=LiveOptions(folder / "live", 0.1))
    with deployed(str(published), options) as opened:
        yield opened


@pytest.fixture(scope="module")
def router(store: ClusterStore) -> Iterator[httpx.Client]:
    with running(store) as url, httpx.Client(base_url=url, timeout=90) as client:
        yield client


def write(client: httpx.Client, *ids: str, text: str) -> int:
    body = {"documents": [{"id": one, "text": text, "metadata": {"year": 2020}} for one in ids]}
    answer = client.post(DOCUMENTS, json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["seq"])


def found(client: httpx.Client, text: str, k: int = 50) -> list[str]:
    body = {"query": {"text": text}, "k": k, "params": {"exact": True}, "timeout_ms": 50_000}
    answer = client.post(SEARCH, json=body)
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_a_router_reads_what_it_has_written_changed_and_deleted(router: httpx.Client) -> None:
    before = router.get("/v1/collections/papers").json()["documents"]
    ids = [f"new{number}" for number in range(20)]
    first = write(router, *ids, text="zanzibar")
    assert sorted(found(router, "zanzibar")) == sorted(ids)
    assert router.get("/v1/collections/papers").json()["documents"] == before + 20
    assert write(router, "new3", text="another text") > first
    assert "new3" not in found(router, "zanzibar")
    patched = router.patch(f"{DOCUMENTS}/new4", json={"metadata": {"tag": "a"}})
    assert patched.status_code == 200, patched.text
    assert router.get(f"{DOCUMENTS}/new4").json()["metadata"] == {"year": 2020, "tag": "a"}
    gone = router.post(f"{DOCUMENTS}:delete", json={"ids": [*ids[:3], "nobody"]})
    assert gone.json()["deleted"] == 3
    assert router.delete(f"{DOCUMENTS}/nobody").status_code == 404
    assert sorted(found(router, "zanzibar")) == sorted(set(ids) - {"new0", "new1", "new2", "new3"})
    matching = router.post(f"{DOCUMENTS}:delete", json={"filter": {"year": 2020}})
    assert matching.json()["deleted"] == 17
    assert found(router, "zanzibar") == []
    assert router.get("/v1/collections/papers").json()["documents"] == before


def test_what_is_not_a_document_write_is_refused(router: httpx.Client) -> None:
    for method, path, body in (
        ("PUT", "/v1/collections/another", {}),
        ("PATCH", "/v1/collections/papers", {"schema": {"more": "int"}}),
    ):
        answer = router.request(method, path, json=body)
        assert answer.status_code == 403, answer.text
        assert "publish" in answer.json()["detail"].lower()


def test_no_acknowledged_write_is_lost_when_writers_and_replicas_are_killed(router: httpx.Client) -> None:
    acknowledged: list[str] = []
    problems: list[Any] = []
    stop = threading.Event()

    def write_on() -> None:
        number = 0
        while not stop.is_set():
            ids = [f"w{number}-{part}" for part in range(3)]
            body = {"documents": [{"id": one, "text": "quokka"} for one in ids]}
            answer = router.post(DOCUMENTS, json=body)
            if answer.status_code == 202:
                problems.append("slow")
            elif answer.status_code != 200:
                problems.append(answer.text)
            else:
                acknowledged.extend(ids)
                own = router.get(f"{DOCUMENTS}/{ids[0]}")
                if own.status_code != 200:
                    problems.append(own.text)
            number += 1

    before_kill = [actor_id(name) for name in ("shard-0000-of-0002", "shard-0001-of-0002", "terms")]
    thread = threading.Thread(target=write_on)
    thread.start()
    for name in ("WriterActor", "Replica", "WriterActor", "RegistryActor"):
        time.sleep(1.5)
        os.kill(worker_processes(name)[0], signal.SIGKILL)
    before = len(acknowledged)
    deadline = time.monotonic() + 90
    while len(acknowledged) < before + 15 and time.monotonic() < deadline:
        time.sleep(0.2)
    stop.set()
    thread.join()
    assert len(acknowledged) >= before + 15  # writing went on after the last of them was killed
    assert [one for one in problems if one != "slow"] == []
    assert set(acknowledged) <= set(found(router, "quokka", k=1000))
    # Ray has started them again: a writer that a router starts anew would wait until Ray has removed the former one.
    assert [actor_id(name) for name in ("shard-0000-of-0002", "shard-0001-of-0002", "terms")] == before_kill


def actor_id(name: str) -> str:
    import ray

    return str(ray.get_actor(writer_name("papers", 1, name), namespace=NAMESPACE)._actor_id.hex())


def test_metrics_of_each_shard_and_replica_are_exposed(router: httpx.Client) -> None:
    found(router, "stone")
    text = router.get("/metrics").text
    for at in range(SHARDS):
        assert 'lsr_shard_request_duration_seconds_count{replica="' in text
        assert f'shard="shard-000{at}-of-0002"' in text
        assert f'lsr_shard_replicas{{shard="shard-000{at}-of-0002"}}' in text


def test_a_router_that_starts_again_has_what_was_written(store: ClusterStore, router: httpx.Client) -> None:
    write(router, "kept1", "kept2", text="capybara")
    current = store._current
    assert current is not None
    publication = current.publication
    from lsr.sharding.live_collection import LiveCollection

    assert store._writers is not None
    registry, writers = store._writers
    shards = tuple(store._shard(publication, entry.name) for entry in publication.shards)
    again = LiveCollection(
        current.path,
        publication,
        shards,
        current._sharded.frequencies,
        "papers",
        writers=writers,
        extend=registry.extend,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and again.get("kept1") is None:
            again.learn()
        assert sorted(hit.id for hit in again.search("capybara", exact=True).hits) == ["kept1", "kept2"]
    finally:
        again.close()
