"""Documents read back: all of them by pages, many at once, with their vectors; and a whole snapshot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import UnknownField

PATH = "/v1/collections/birds"
DOCUMENTS = f"{PATH}/documents"
VECTORS = {
    "default": {"encoder": "bm25"},
    "made": {"encoder": None},
    "near": {"encoder": None, "dense": True, "dimensions": 3},
}
BIRDS: list[dict[str, Any]] = [
    {"id": "heron/1", "text": "a tall bird", "metadata": {"legs": 2}, "vectors": {"made": {"sparse": {"tall": 1.5}}}},
    {
        "id": "emu",
        "text": "a taller bird",
        "vectors": {"made": {"sparse": {"tall": 2.0}}, "near": {"dense": [0, 1, 0]}},
    },
    {"id": "Ä", "text": "small", "vectors": {"made": {"sparse": {"small": 1.0}}}},
    {"id": "zebra finch", "text": "smaller", "vectors": {"made": {"sparse": {"small": 2.0}}}},
]


@pytest.fixture(scope="module")
def birds(serve) -> httpx.Client:
    client = serve()
    client.put(PATH, json={"vectors": VECTORS, "schema": {"legs": "int"}}).raise_for_status()
    client.post(DOCUMENTS, json={"documents": BIRDS}).raise_for_status()
    return client


def pages(client: httpx.Client, **asked: Any) -> Iterator[list[dict[str, Any]]]:
    after: dict[str, str] = {}
    while True:
        answer = client.get(DOCUMENTS, params={**asked, **after})
        answer.raise_for_status()
        yield answer.json()["documents"]
        if answer.json()["next_after"] is None:
            return
        after = {"after": answer.json()["next_after"]}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
def test_all_documents_are_listed_by_id(birds: httpx.Client, size: int) -> None:
    listed = [document["id"] for page in pages(birds, size=size) for document in page]
    assert listed == sorted(document["id"] for document in BIRDS)


def test_a_page_goes_on_after_an_id_that_is_gone(birds: httpx.Client) -> None:
    answer = birds.get(DOCUMENTS, params={"after": "f"}).json()
    assert [document["id"] for document in answer["documents"]] == ["heron/1", "zebra finch", "Ä"]


def test_the_documents_of_a_filter_are_listed_by_pages(birds: httpx.Client) -> None:
    for condition, expected in (
        ('{"legs": {"exists": false}}', ["emu", "zebra finch", "Ä"]),
        ('{"legs": {"gte": 2}}', ["heron/1"]),
        ('{"ids": ["Ä", "emu"], "not": {"legs": 2}}', ["emu", "Ä"]),
        ("{}", ["emu", "heron/1", "zebra finch", "Ä"]),
    ):
        listed = [document["id"] for page in pages(birds, size=1, filter=condition) for document in page]
        assert listed == expected


@pytest.mark.parametrize(
    ("condition", "named"),
    [("{", "malformed JSON"), ("[]", "a JSON object is needed"), ('{"wings": 2}', "no field 'wings'"), ("", "filter")],
)
def test_a_filter_of_a_list_that_is_none_is_named(birds: httpx.Client, condition: str, named: str) -> None:
    answer = birds.get(DOCUMENTS, params={"filter": condition})
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("asked", [{"size": 0}, {"size": 1001}, {"size": "x"}, {"after": ""}, {"after": "a\0"}])
def test_another_page_is_a_422(birds: httpx.Client, asked: dict[str, object]) -> None:
    assert birds.get(DOCUMENTS, params=asked).status_code == 422


def test_many_documents_are_read_at_once(birds: httpx.Client) -> None:
    answer = birds.post(f"{DOCUMENTS}:get", json={"ids": ["emu", "nobody", "heron/1", "emu"]}).json()
    assert [document["id"] for document in answer["documents"]] == ["emu", "heron/1"]
    assert answer["missing"] == ["nobody"]
    assert answer["documents"][0] == birds.get(f"{DOCUMENTS}/emu").json()
    for ids in ([], ["a"] * 1001, [1]):
        assert birds.post(f"{DOCUMENTS}:get", json={"ids": ids}).status_code == 422


def test_what_is_read_with_vectors_can_be_written_again(birds: httpx.Client) -> None:
    birds.put("/v1/collections/copies", json={"vectors": VECTORS, "schema": {"legs": "int"}}).raise_for_status()
    read = [document for page in pages(birds, vectors=True, size=3) for document in page]
    assert (
        read
        == birds.post(f"{DOCUMENTS}:get", json={"ids": [d["id"] for d in read], "vectors": True}).json()["documents"]
    )
    assert read == [birds.get(f"{DOCUMENTS}/{d['id']}", params={"vectors": True}).json() for d in read]
    emu = next(document for document in read if document["id"] == "emu")
    assert emu["vectors"]["made"] == {"sparse": {"tall": 2.0}}
    assert emu["vectors"]["near"] == {"dense": [0.0, 1.0, 0.0]}
    assert set(emu["vectors"]["default"]["sparse"]) == {"bird", "taller"}
    assert "near" not in read[-1]["vectors"]
    written = birds.post("/v1/collections/copies/documents", json={"documents": read}).json()
    assert (written["accepted"], written["failed"]) == (4, 0)
    answer = birds.get("/v1/collections/copies/documents", params={"vectors": True}).json()
    assert answer["documents"] == read
    birds.delete("/v1/collections/copies").raise_for_status()


def test_a_snapshot_is_downloaded_as_a_collection(birds: httpx.Client, tmp_path: Path) -> None:
    snapshot = birds.post(f"{PATH}/snapshots", json={"name": "first"}).json()
    response = birds.get(f"{PATH}/snapshots/first")
    assert response.headers["content-type"] == "application/x-tar"
    assert response.headers["etag"] == f'"{snapshot["sha256"]}"'
    assert int(response.headers["content-length"]) == len(response.content)
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        archive.extractall(tmp_path, filter="data")
    with Collection.open(tmp_path / "first") as collection:
        assert [document.id for document in collection.page()] == sorted(document["id"] for document in BIRDS)
    head = birds.head(f"{PATH}/snapshots/first")
    assert (head.headers["content-length"], head.content) == (response.headers["content-length"], b"")
    birds.delete(f"{PATH}/snapshots/first").raise_for_status()
    assert birds.get(f"{PATH}/snapshots/first").status_code == 404


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pages_are_the_live_documents_in_order(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    names = st.text(st.sampled_from("abÄz/😀"), min_size=1, max_size=3)
    wanted: dict[str, int] = {}
    with Collection.create(tmp_path_factory.mktemp("pages") / "c", schema={"n": "int"}) as collection:
        for number in range(data.draw(st.integers(1, 4), label="batches")):
            for identifier in data.draw(st.lists(names, max_size=6), label="written"):
                collection.write([Document(identifier, text="a", metadata={"n": number})])
                wanted[identifier] = number
            for identifier in data.draw(st.lists(names, max_size=2), label="deleted"):
                collection.delete([identifier])
                wanted.pop(identifier, None)
            if data.draw(st.booleans(), label="sealed"):
                collection.seal()
        after = data.draw(st.none() | names, label="after")
        size = data.draw(st.integers(1, 8), label="size")
        expected = sorted(identifier for identifier in wanted if after is None or identifier > after)
        assert [document.id for document in collection.page(after, size)] == expected[:size]
        even = [identifier for identifier in expected if wanted[identifier] == 0]
        assert [document.id for document in collection.page(after, size, filter={"n": 0})] == even[:size]
        with pytest.raises(UnknownField):
            collection.page(filter={"m": 1})
