"""Deleting and changing documents, waiting writes, and writes of several requests at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lsr.collection import Collection
from lsr.errors import StorageFull
from lsr.store import CollectionStore
from service.messages.document_bodies import NDJSON
from service.problems import Overloaded
from service.runtime.write_queue import WriteQueue
from service.runtime.writes import Upsert
from service.settings import ServiceSettings

DOCUMENTS = "/v1/collections/animals/documents"


@pytest.fixture
def animals(client: httpx.Client) -> Iterator[httpx.Client]:
    client.put("/v1/collections/animals", json={"schema": {"legs": "int"}}).raise_for_status()
    body = [
        {"id": "emu", "text": "a tall bird", "metadata": {"legs": 2, "seen": "yes"}},
        {"id": "cat", "text": "a small mammal", "metadata": {"legs": 4}},
        {"id": "dog/1", "text": "a loud mammal", "metadata": {"legs": 4}},
    ]
    client.post(DOCUMENTS, json={"documents": body}).raise_for_status()
    yield client
    client.delete("/v1/collections/animals").raise_for_status()


def found(client: httpx.Client, text: str) -> set[str]:
    answer = client.post("/v1/collections/animals/search", json={"query": {"text": text}}).json()
    return {hit["id"] for hit in answer["hits"]}


def test_a_deleted_document_is_gone_at_once(animals: httpx.Client) -> None:
    answer = animals.delete(f"{DOCUMENTS}/dog%2F1")
    assert answer.status_code == 200
    assert answer.json() == {"seq": answer.json()["seq"], "durable": True, "deleted": 1}
    assert found(animals, "mammal") == {"cat"}
    assert animals.get(f"{DOCUMENTS}/dog%2F1").status_code == 404
    assert animals.delete(f"{DOCUMENTS}/dog%2F1").status_code == 404


def test_documents_are_deleted_by_id(animals: httpx.Client) -> None:
    answer = animals.post(f"{DOCUMENTS}:delete", json={"ids": ["cat", "emu", "nobody", "cat"]}).json()
    assert (answer["matched"], answer["deleted"], answer["durable"]) == (2, 2, True)
    assert animals.get("/v1/collections/animals").json()["documents"] == 1


def test_documents_are_deleted_by_filter_and_counted_first_with_dry_run(animals: httpx.Client) -> None:
    body = {"filter": {"legs": {"gte": 3}}, "dry_run": True}
    assert animals.post(f"{DOCUMENTS}:delete", json=body).json()["matched"] == 2
    assert animals.get("/v1/collections/animals").json()["documents"] == 3
    assert animals.post(f"{DOCUMENTS}:delete", json=body | {"dry_run": False}).json()["deleted"] == 2
    assert found(animals, "bird mammal") == {"emu"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"ids": ["a"], "filter": {"legs": 2}}, "body"),
        ({"filter": {}}, "body"),
        ({"filter": {"wings": 2}}, "filter.wings"),
        ({"ids": "cat"}, "ids"),
        ({"ids": [1]}, "ids[0]"),
        ({"idz": ["cat"]}, "idz"),
    ],
)
def test_a_deletion_that_is_not_clear_deletes_nothing(animals: httpx.Client, body: object, field: str) -> None:
    response = animals.post(f"{DOCUMENTS}:delete", json=body)
    assert response.status_code == 422
    assert field in [error["field"] for error in response.json()["errors"]]
    assert animals.get("/v1/collections/animals").json()["documents"] == 3


def test_a_patch_sets_and_removes_metadata_and_leaves_the_rest(animals: httpx.Client) -> None:
    answer = animals.patch(f"{DOCUMENTS}/emu", json={"metadata": {"legs": 3, "seen": None, "new": [1]}})
    assert answer.json() == {"seq": answer.json()["seq"], "durable": True}
    document = animals.get(f"{DOCUMENTS}/emu").json()
    assert document["metadata"] == {"legs": 3, "new": [1]}
    assert document["text"] == "a tall bird"
    assert found(animals, "bird") == {"emu"}
    assert animals.patch(f"{DOCUMENTS}/nobody", json={"metadata": {}}).status_code == 404
    assert animals.patch(f"{DOCUMENTS}/emu", json={"metadata": {"legs": "many"}}).status_code == 422
    assert animals.patch(f"{DOCUMENTS}/emu", json={"text": "new"}).status_code == 422


def test_a_write_that_is_not_waited_for_becomes_a_job(animals: httpx.Client) -> None:
    response = animals.post(
        DOCUMENTS, json={"documents": [{"id": "yak", "text": "a shaggy mammal"}, {"no": "id"}]},
        headers={"Prefer": "respond-async"},
    )  # fmt: skip
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['job']}"
    deadline = time.monotonic() + 10
    while job["status"] == "waiting" and time.monotonic() < deadline:
        assert job["durable"] is False
        job = animals.get(response.headers["location"]).json()
    assert (job["status"], job["durable"], job["collection"]) == ("done", True, "animals")
    assert (job["result"]["accepted"], job["result"]["failed"]) == (1, 1)
    assert "yak" in found(animals, "mammal")


def test_a_slow_write_is_answered_with_a_job_that_reports_its_failure(serve, monkeypatch) -> None:
    client = serve(ServiceSettings(write_wait=0.05))
    client.put("/v1/collections/c", json={}).raise_for_status()
    released = threading.Event()

    def slow(*_: object, **__: object) -> None:
        released.wait(10)
        raise StorageFull("the disk is full")

    monkeypatch.setattr(Collection, "write", slow)
    response = client.post("/v1/collections/c/documents", json={"documents": [{"id": "1", "text": "a"}]})
    assert response.status_code == 202
    assert client.get(response.headers["location"]).json()["status"] == "waiting"
    released.set()
    deadline = time.monotonic() + 10
    while (job := client.get(response.headers["location"]).json())["status"] == "waiting":
        assert time.monotonic() < deadline
    assert (job["status"], job["durable"], job["problem"]["status"]) == ("failed", False, 507)


def test_an_unknown_job_is_a_404(client: httpx.Client) -> None:
    assert client.get("/v1/jobs/nothing").json()["type"] == "/problems/job-not-found"


def test_a_full_disk_is_a_507_and_reads_go_on(animals: httpx.Client, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageFull("the disk is full")

    monkeypatch.setattr(Collection, "write", fail)
    response = animals.post(DOCUMENTS, json={"documents": [{"id": "1", "text": "a"}]})
    assert response.status_code == 507
    assert response.headers["retry-after"]
    assert found(animals, "bird") == {"emu"}


def test_waiting_writes_of_one_collection_are_committed_together(tmp_path: Path, monkeypatch) -> None:
    sizes = []
    write = Collection.write

    def counted(self, documents, **more):
        sizes.append(len(documents))
        if len(sizes) == 1:
            started.set()
            go_on.wait(10)
        return write(self, documents, **more)

    started, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(Collection, "write", counted)
    with CollectionStore(tmp_path) as store:
        collection = store.create("c")
        queue = WriteQueue(max_requests=100, max_bytes=1 << 20)
        first = queue.submit(collection, Upsert(b'{"id":"0","text":"a"}', NDJSON))
        assert started.wait(10)
        rest = [queue.submit(collection, Upsert(b'{"id":"%d","text":"a"}\n{"bad":1}' % n, NDJSON)) for n in range(1, 9)]
        bad = queue.submit(collection, Upsert(b'{"bad":1}', NDJSON))
        go_on.set()
        answers = [future.result(10) for future in [first, *rest]]
        assert sizes == [1, 8]
        assert len({answer["seq"] for answer in answers[1:]}) == 1
        assert [(answer["accepted"], answer["failed"]) for answer in answers[1:]] == [(1, 1)] * 8
        assert [answer["errors"][0]["line"] for answer in answers[1:]] == [2] * 8
        assert bad.exception(10).status_code == 422
        assert store.get("c").info().documents == 9
        queue.close()


def test_more_than_may_wait_is_refused_by_number_and_by_bytes(tmp_path: Path, monkeypatch) -> None:
    go_on = threading.Event()
    write = Collection.write

    def held(self, documents, **more):
        go_on.wait(10)
        return write(self, documents, **more)

    monkeypatch.setattr(Collection, "write", held)
    with CollectionStore(tmp_path) as store:
        collection = store.create("c")
        queue = WriteQueue(max_requests=3, max_bytes=100)
        body = b'{"id":"1","text":"a"}'
        accepted = [queue.submit(collection, Upsert(body, NDJSON), size) for size in (10, 80)]
        with pytest.raises(Overloaded):
            queue.submit(collection, Upsert(body, NDJSON), 20)
        accepted.append(queue.submit(collection, Upsert(body, NDJSON), 10))
        with pytest.raises(Overloaded):
            queue.submit(collection, Upsert(body, NDJSON), 0)
        go_on.set()
        for future in accepted:
            assert future.result(10)["durable"] is True
        queue.close()
        assert queue.waiting == 0


def test_writes_of_many_clients_at_once_are_all_there(client: httpx.Client) -> None:
    client.put("/v1/collections/crowd", json={}).raise_for_status()

    def write(number: int) -> int:
        body = {"documents": [{"id": f"{number}-{at}", "text": f"word{number}"} for at in range(5)]}
        return client.post("/v1/collections/crowd/documents", json=body).json()["accepted"]

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(write, range(64))) == 320
    assert client.get("/v1/collections/crowd").json()["documents"] == 320
    answer = client.post("/v1/collections/crowd/search", json={"query": {"text": "word17"}}).json()
    assert {hit["id"] for hit in answer["hits"]} == {f"17-{at}" for at in range(5)}
