"""A client that goes away, or is too slow, is no error of the service: 499 or 408 in the metrics, no traceback."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lsr.collection import Collection
from lsr.store import CollectionStore
from service.server import running
from service.settings import ServiceSettings

DOCUMENTS = "/v1/collections/{collection}/documents"
SEARCH = "/v1/collections/{collection}/search"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.URL]:
    settings = ServiceSettings(body_timeout=1.0, quick_search_ms=0)
    with CollectionStore(tmp_path_factory.mktemp("departures")) as store:
        store.create("c")
        with running(store, settings) as url:
            yield httpx.URL(url)


def answered(url: httpx.URL) -> Counter[tuple[str, str]]:
    """Return how many requests of each route ended with each status."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = [one for family in families for one in family.samples if one.name == "lsr_requests_total"]
    return Counter({(one.labels["route"], one.labels["status"]): int(one.value) for one in samples})


def more(url: httpx.URL, before: Counter[tuple[str, str]], route: str) -> dict[str, int]:
    return {status: count for (name, status), count in (answered(url) - before).items() if name == route}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(url: httpx.URL, method: str, path: str, sent: bytes, length: int, media_type: str) -> socket.socket:
    connection = socket.create_connection((url.host, url.port or 0))
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n"
    connection.sendall(head.encode() + b"\r\n" + sent)
    return connection


UPLOADS = [
    ("POST", DOCUMENTS, "application/x-ndjson"),
    ("POST", DOCUMENTS, "application/json"),
    ("POST", SEARCH, "application/json"),
    ("PUT", "/v1/collections/{collection}", "application/json"),
]


@pytest.mark.parametrize(("method", "route", "media_type"), UPLOADS)
def test_leaving_during_an_upload_is_a_499_without_a_traceback(
    url: httpx.URL, caplog: pytest.LogCaptureFixture, method: str, route: str, media_type: str
) -> None:
    before = answered(url)
    path = route.replace("{collection}", "c")
    with caplog.at_level(logging.INFO):
        for size in (0, 10, 70_000):
            for _ in range(4):
                connection = begin(url, method, path, b"{" * size, 100_000, media_type)
                time.sleep(0.01)
                connection.close()
        wait_until(lambda: sum(more(url, before, route).values()) == 12)
    assert more(url, before, route) == {"499": 12}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]


def test_leaving_while_the_search_runs_is_a_499(url: httpx.URL, monkeypatch, caplog) -> None:
    opened, begun = threading.Event(), threading.Event()
    search = Collection.search

    def held(self, *args, **options):
        begun.set()
        opened.wait(20)
        return search(self, *args, **options)

    monkeypatch.setattr(Collection, "search", held)
    before = answered(url)
    body = json.dumps({"query": {"text": "heron"}}).encode()
    connection = begin(url, "POST", SEARCH.replace("{collection}", "c"), body, len(body), "application/json")
    assert begun.wait(20)
    connection.close()
    time.sleep(0.1)
    opened.set()
    wait_until(lambda: bool(more(url, before, SEARCH)))
    assert more(url, before, SEARCH) == {"499": 1}
    assert not [record for record in caplog.records if record.exc_info]


def test_a_body_that_does_not_arrive_is_a_408(url: httpx.URL, caplog: pytest.LogCaptureFixture) -> None:
    before = answered(url)
    with begin(url, "POST", SEARCH.replace("{collection}", "c"), b"{", 100, "application/json") as connection:
        connection.settimeout(20)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(content)["type"] == "/problems/request-timeout"
    wait_until(lambda: bool(more(url, before, SEARCH)))
    assert more(url, before, SEARCH) == {"408": 1}
    assert not [record for record in caplog.records if record.exc_info]


def test_an_answered_request_keeps_its_status(url: httpx.URL) -> None:
    before = answered(url)
    for _ in range(5):
        httpx.get(f"{url}/healthz").raise_for_status()
    assert more(url, before, "/healthz") == {"200": 5}
