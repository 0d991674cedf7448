"""A damaged byte on the disk of a running service: the scrub finds and names it, and the other segments are served."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lsr.collection import Collection
from lsr.documents import Document
from service.settings import ServiceSettings

FAST = ServiceSettings(scrub_hours=0.02 / 3600)
SEARCH = {"query": {"text": "heron"}, "k": 10}


def make(folder: Path) -> None:
    """Two segments of two documents, and one pending document."""
    with Collection.create(folder) as collection:
        for pair in (("a", "b"), ("c", "d")):
            collection.write([Document(name, text="grey heron") for name in pair])
            collection.seal()
        collection.write([Document("e", text="heron")])


def flip(path: Path) -> None:
    """Change a byte of a text if there is one, otherwise in the middle: damage that opening does not notice."""
    content = bytearray(path.read_bytes())
    content[max(content.find(b"grey"), 0) or len(content) // 2] ^= 4
    with path.open("r+b") as file:  # in place: a mapped file sees it
        file.write(content)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def metric(client: httpx.Client, name: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


@pytest.mark.parametrize("damaged", ["documents.arrow", "ids.npy", "manifest.json", "vectors/default/frequencies.npy"])
def test_a_flipped_byte_takes_its_segment_out_and_nothing_else(serve, tmp_path: Path, damaged: str) -> None:
    make(tmp_path / "birds")
    client = serve(FAST, tmp_path)
    whole = client.post("/v1/collections/birds/search", json=SEARCH).json()
    assert ({hit["id"] for hit in whole["hits"]}, whole["partial"]) == (set("abcde"), False)
    assert client.get("/readyz").json()["damaged"] == []
    path = min(tmp_path.glob("birds/segments/*")) / damaged
    flip(path)
    wait_for(lambda: client.get("/readyz").json()["damaged"] != [])
    (found,) = client.get("/readyz").json()["damaged"]
    assert (found["name"], found["file"], found["documents"]) == ("birds", str(path), 2)
    shown = client.get("/v1/collections/birds").json()
    assert (shown["documents"], shown["segments"], shown["damage"][0]["file"]) == (3, 1, str(path))
    answer = client.post("/v1/collections/birds/search", json=SEARCH)
    assert (answer.status_code, answer.json()["partial"]) == (200, True)
    left = {hit["id"] for hit in answer.json()["hits"]}
    assert left in (set("abe"), set("cde"))
    assert path.name in answer.json()["warnings"][0]
    assert metric(client, "lsr_damaged_files") == 1
    assert metric(client, "lsr_scrubbed_bytes_total") > 0
    gone = sorted(set("abcde") - left)[0]
    for refused in (
        client.get(f"/v1/collections/birds/documents/{gone}"),
        client.delete(f"/v1/collections/birds/documents/{gone}"),
        client.post("/v1/collections/birds/documents", json={"documents": [{"id": gone, "text": "new"}]}),
        client.post("/v1/collections/birds/snapshots"),
    ):
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/collection-corrupt")
        assert path.name in refused.json()["detail"]
    assert client.get("/v1/collections/birds/documents/e").status_code == 200


def test_a_damaged_collection_does_not_stop_another(serve, tmp_path: Path) -> None:
    make(tmp_path / "birds")
    make(tmp_path / "other")
    client = serve(FAST, tmp_path)
    flip(min(tmp_path.glob("birds/segments/*")) / "ids.npy")
    wait_for(lambda: client.get("/readyz").json()["damaged"] != [])
    new = client.post("/v1/collections/other/documents", json={"documents": [{"id": "f", "text": "heron"}]})
    assert new.status_code == 200
    assert len(client.post("/v1/collections/other/search", json=SEARCH).json()["hits"]) == 6


def test_a_file_put_back_is_served_again_after_a_restart(serve, tmp_path: Path) -> None:
    make(tmp_path / "birds")
    path = min(tmp_path.glob("birds/segments/*")) / "documents.arrow"
    sound = path.read_bytes()
    flip(path)
    with Collection.open(tmp_path / "birds", "w") as collection:
        assert [damage.path for damage in collection.scrub()] == [path]
        assert collection.scrub() == []
        assert collection.search("heron").partial
    path.write_bytes(sound)
    client = serve(FAST, tmp_path)
    wait_for(lambda: metric(client, "lsr_scrub_passes_total") >= 2)
    assert client.get("/readyz").json()["damaged"] == []
    assert not client.post("/v1/collections/birds/search", json=SEARCH).json()["partial"]


def test_the_scrub_reads_no_faster_than_allowed(serve, tmp_path: Path) -> None:
    make(tmp_path / "birds")
    size = sum(path.stat().st_size for path in tmp_path.glob("birds/segments/**/*") if path.is_file())
    started = time.monotonic()
    client = serve(ServiceSettings(scrub_bytes_per_second=size), tmp_path)
    wait_for(lambda: metric(client, "lsr_scrub_passes_total") == 1)
    assert time.monotonic() - started > 0.8
