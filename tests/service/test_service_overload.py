"""Overload: excess requests are refused at once, accepted requests are answered."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lsr.collection import Collection
from lsr.documents import Document
from lsr.store import CollectionStore
from service.http.admission import Admission
from service.metrics import ServiceMetrics
from service.problems import Overloaded, TimedOut
from service.runtime.work_pool import WorkPool
from service.server import running
from service.settings import ServiceSettings

SEARCH = "/v1/collections/c/search"
CAPACITY = 6  # of the fixture: 2 threads and 4 waiting places


@pytest.fixture(scope="module")
def small(serve) -> httpx.Client:
    client = serve(
        ServiceSettings(search_threads=2, search_queue=4, quick_search_ms=0)
    )  # otherwise `gate` would block the loop
    client.put("/v1/collections/c", json={}).raise_for_status()
    client.post("/v1/collections/c/documents", json={"documents": [{"id": "1", "text": "heron"}]}).raise_for_status()
    return client


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Searches wait for this event."""
    opened = threading.Event()
    search = Collection.search

    def held(self, *args, **more):
        opened.wait(20)
        return search(self, *args, **more)

    monkeypatch.setattr(Collection, "search", held)
    return opened


def ask(client: httpx.Client) -> httpx.Response:
    with httpx.Client(base_url=client.base_url, timeout=30) as own:
        return own.post(SEARCH, json={"query": {"text": "heron"}})


def rejected(client: httpx.Client) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(s.value for family in families for s in family.samples if s.name == "lsr_rejected_total")


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_excess_is_refused_at_once_and_the_accepted_are_answered(
    small: httpx.Client, gate: threading.Event
) -> None:
    before = rejected(small)
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(ask, small) for _ in range(30)]
        wait_until(lambda: sum(one.done() for one in asked) == 30 - CAPACITY)
        refused = [one.result() for one in asked if one.done()]
        started = time.monotonic()
        assert small.get("/healthz").status_code == 200
        assert small.get("/readyz").status_code == 200
        assert time.monotonic() - started < 1
        gate.set()
        statuses = Counter(one.result().status_code for one in asked)
    assert statuses == {200: CAPACITY, 429: 30 - CAPACITY}
    for response in refused:
        assert response.headers["retry-after"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]
    assert rejected(small) - before == 30 - CAPACITY
    assert ask(small).status_code == 200


def test_pressure_lasts_from_the_first_refusal_until_half_of_the_places_are_free() -> None:
    told: list[bool] = []
    admission = Admission(ServiceMetrics(), searches=4, others=4, on_pressure=told.append)
    for _ in range(4):
        admission.enter("searches")
    assert told == []
    for _ in range(2):
        admission.refusal(SEARCH.encode(), [])
    assert told == [True]
    admission.leave("searches")
    assert told == [True]
    admission.leave("searches")
    assert told == [True, False]
    admission.refusal(SEARCH.encode(), [])
    assert told == [True, False, True]


def test_clients_that_leave_give_their_place_back(small: httpx.Client, gate: threading.Event) -> None:
    body = json.dumps({"query": {"text": "heron"}}).encode()
    head = f"POST {SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    address = (small.base_url.host, small.base_url.port or 0)
    gone = [socket.create_connection(address) for _ in range(CAPACITY)]
    for connection in gone:
        connection.sendall(request)
    wait_until(lambda: ask_quickly(small) == 429)
    for connection in gone:
        connection.close()
    gate.set()
    wait_until(lambda: ask(small).status_code == 200)


def ask_quickly(client: httpx.Client) -> int:
    """Return the status, or 0 if the request was accepted and waits (it is then abandoned)."""
    try:
        with httpx.Client(base_url=client.base_url, timeout=0.2) as own:
            return own.post(SEARCH, json={"query": {"text": "heron"}}).status_code
    except httpx.TimeoutException:
        return 0


def test_slow_bodies_do_not_take_the_places_of_searches(small: httpx.Client) -> None:
    head = (
        f"POST {SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    )
    slow = [socket.create_connection((small.base_url.host, small.base_url.port or 0)) for _ in range(CAPACITY * 5)]
    try:
        for connection in slow:
            connection.sendall(head.encode())
        assert all(ask(small).status_code == 200 for _ in range(10))
    finally:
        for connection in slow:
            connection.close()


def test_a_search_that_waited_too_long_is_not_begun() -> None:
    async def scenario() -> None:
        release = threading.Event()
        begun = []
        pool = WorkPool("searches", 1, 5)
        first = pool.submit(lambda: release.wait(10))
        second = pool.submit(lambda: begun.append(1), timeout_ms=20)
        await asyncio.sleep(0.05)
        release.set()
        await first
        with pytest.raises(TimedOut):
            await second
        await asyncio.sleep(0)  # the count is decremented in the loop's next iteration
        assert begun == []
        assert pool.in_flight == 0
        pool.close()

    asyncio.run(scenario())


def test_a_full_pool_refuses_jobs_until_a_place_is_free() -> None:
    async def scenario() -> None:
        release = threading.Event()
        pool = WorkPool("searches", 1, 1)
        accepted = [pool.submit(lambda: release.wait(10)) for _ in range(2)]
        assert pool.waiting == 1
        with pytest.raises(Overloaded):
            pool.submit(lambda: None)
        release.set()
        await asyncio.gather(*accepted)
        await asyncio.sleep(0)
        assert await pool.run(lambda: 7) == 7
        pool.close()

    asyncio.run(scenario())


def test_a_stopping_server_finishes_what_it_accepted(tmp_path: Path, gate: threading.Event) -> None:
    with CollectionStore(tmp_path) as store, ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        store.create("c").write([Document("1", text="heron")])
        client = stack.enter_context(httpx.Client(base_url=stack.enter_context(running(store))))
        asked = pool.submit(ask, client)
        wait_until(lambda: 'lsr_queue_size{queue="searches_in_flight"} 1.0' in client.get("/metrics").text)
        stopped = pool.submit(stack.close)
        assert not asked.done()
        gate.set()
        assert asked.result(10).status_code == 200
        stopped.result(20)
        with pytest.raises(httpx.ConnectError):
            ask(client)
