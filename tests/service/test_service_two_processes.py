"""Two real `lsr serve` processes on one folder: a rolling restart needs nobody, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from lsr.collection import Collection
from lsr.documents import Document
from tests.conftest import interruptible


@contextmanager
def served(folder: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "lsr", "serve", str(folder), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, timeout=30) as client:
            yield client, process
    finally:
        process.kill()
        process.communicate()


def ids(client: httpx.Client) -> set[str]:
    answer = client.post("/v1/collections/birds/search", json={"query": {"text": "heron"}, "k": 1000})
    assert answer.status_code == 200, answer.text
    return {hit["id"] for hit in answer.json()["hits"]}


def write(client: httpx.Client, identifier: str) -> httpx.Response:
    documents = [{"id": identifier, "text": "heron"}]
    return client.post("/v1/collections/birds/documents", json={"documents": documents})


def read_only(client: httpx.Client) -> list[str]:
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["read_only"]]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_second_process_reads_at_once_and_writes_when_the_first_has_ended(
    tmp_path: Path, end: signal.Signals
) -> None:
    with Collection.create(tmp_path / "birds") as made:
        made.write([Document("before", text="heron")])
    with served(tmp_path) as (first, first_process), served(tmp_path) as (second, _):
        assert read_only(first) == []
        assert read_only(second) == ["birds"]
        assert ids(second) == {"before"}
        assert "another process" in second.get("/v1/collections/birds").json()["read_only"]
        refused = write(second, "refused")
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/collection-locked")
        assert refused.headers["retry-after"] == "1"
        assert second.delete("/v1/collections/birds").status_code == 409
        acknowledged = {"before"}
        for number in range(50):
            if write(first, f"first-{number}").status_code == 200:
                acknowledged.add(f"first-{number}")
        assert len(acknowledged) == 51
        until(lambda: ids(second) == acknowledged)  # what the first writes is read here
        first_process.send_signal(end)
        until(lambda: write(second, "after").status_code == 200)
        assert read_only(second) == []
        assert ids(second) == acknowledged | {"after"}
        assert second.get("/v1/collections/birds").json()["read_only"] is None


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end
        sleep(0.05)


def test_readiness_says_when_no_collection_can_be_used(tmp_path: Path) -> None:
    Collection.create(tmp_path / "birds").close()
    catalog = tmp_path / "birds" / "catalog.sqlite"
    content = catalog.read_bytes()
    catalog.write_bytes(b"\xff" * len(content))
    with served(tmp_path) as (client, _):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
        assert client.get("/healthz").status_code == 200
        (broken,) = client.get("/v1/collections").json()["broken"]
        assert broken["name"] == "birds"
        catalog.write_bytes(content)  # put back: it is opened without a restart
        until(lambda: client.get("/readyz").status_code == 200)
        assert write(client, "a").status_code == 200
