"""A router over shards answers every request as the service of the unsharded collection does. Without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from index.errors import SearchStopped
from lsr.collection import Collection
from lsr.errors import ShardUnavailable
from lsr.sharding.asking import Answer, LocalShard, Pin
from lsr.sharding.collection import ShardedCollection
from lsr.sharding.local import open_shards
from lsr.sharding.manifest import Publication
from lsr.sharding.splitting import split_collection
from lsr.sharding.store import ShardedStore
from lsr.store import CollectionStore
from service.server import running
from tests.service import sharded_requests as requests


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Publication]:
    folder = tmp_path_factory.mktemp("router")
    with Collection.create(folder / "papers", vectors=requests.VECTORS, schema=requests.SCHEMA) as collection:
        collection.write(requests.documents())
        collection.seal()
    return folder, split_collection(folder / "papers", folder / "shards", 3)


@pytest.fixture(scope="module")
def router(published: tuple[Path, Publication]) -> Iterator[httpx.Client]:
    folder, publication = published
    collection = open_shards(folder / "shards", publication, "papers")
    with ShardedStore({"papers": collection}) as store, running(store) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture(scope="module")
def plain(published: tuple[Path, Publication]) -> Iterator[httpx.Client]:
    with (
        CollectionStore(published[0] / "papers", "r") as store,
        running(store) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def test_a_router_answers_as_one_machine_does(plain: httpx.Client, router: httpx.Client) -> None:
    requests.assert_answers_alike(plain, router, "papers")


def test_the_log_of_a_routers_start_names_no_folder_that_the_user_does_not_know(
    published: tuple[Path, Publication], caplog: pytest.LogCaptureFixture
) -> None:
    folder, publication = published
    collection = open_shards(folder / "shards", publication, "papers")
    with caplog.at_level("INFO", "lsr.service"), ShardedStore({"papers": collection}) as store, running(store):
        pass
    assert "warming up" in caplog.text
    assert "is served under the name" not in caplog.text  # the open folder is that of what all shards share


def test_pages_of_a_router_are_those_of_one_machine_and_its_cursors_are_its_own(
    plain: httpx.Client, router: httpx.Client
) -> None:
    pages: list[list[str]] = [[], []]
    body: dict[str, Any] = {"query": {"text": "light seven"}, "k": 30, "params": {"exact": True}}
    cursor = None
    for client, ids in ((plain, pages[0]), (router, pages[1])):
        cursor = True
        while cursor:
            answer = client.post("/v1/collections/papers/search", json={**body, "cursor": cursor}).json()
            ids += [hit["id"] for hit in answer["hits"]]
            cursor = answer["next_cursor"]
    assert pages[0] == pages[1]
    assert len(set(pages[0])) == len(pages[0]) > 60
    first = router.post("/v1/collections/papers/search", json={**body, "cursor": True}).json()["next_cursor"]
    gone = plain.post("/v1/collections/papers/search", json={**body, "cursor": first})
    assert gone.status_code == 410


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/collections/papers/documents", {"documents": [{"id": "x", "text": "new"}]}),
        ("DELETE", "/v1/collections/papers/documents/d0001", None),
        ("PATCH", "/v1/collections/papers/documents/d0001", {"metadata": {"year": 1}}),
        ("PUT", "/v1/collections/another", {}),
        ("DELETE", "/v1/collections/papers", None),
        ("PUT", "/v1/aliases/a", {"collection": "papers"}),
    ],
)
def test_what_would_write_is_refused_and_says_what_to_do(
    router: httpx.Client, method: str, path: str, body: Any
) -> None:
    answer = router.request(method, path, json=body)
    assert answer.status_code == 403, answer.text
    assert answer.json()["type"].endswith("read-only")
    assert "publish" in answer.json()["detail"].lower()


class Troubled:
    """A shard that fails in one operation, as often as it is told to."""

    def __init__(self, shard: LocalShard) -> None:
        self._shard = shard
        self.name = shard.name
        self.fails: Callable[[str], Exception | None] = lambda _: None

    def begin(self, operation: str, arguments: Sequence[Any], seconds: float | None, pin: Pin) -> Answer:
        def answer() -> Any:
            error = self.fails(operation)
            if error is not None:
                raise error
            return self._shard.begin(operation, arguments, seconds, pin)()

        return answer

    def close(self) -> None:
        self._shard.close()


@pytest.fixture
def troubled(published: tuple[Path, Publication]) -> Iterator[tuple[ShardedCollection, list[Troubled], Collection]]:
    folder, publication = published
    opened = open_shards(folder / "shards", publication, "papers")
    shards = [Troubled(shard) for shard in opened._shards if isinstance(shard, LocalShard)]
    common = folder / "shards" / publication.common.folder
    collection = ShardedCollection(common, publication, shards, opened._sharded.frequencies, "papers")
    with Collection.open(folder / "papers") as whole:
        yield collection, shards, whole
    collection.close()


@pytest.mark.parametrize("operation", ["search", "fetch", "score", "dense_scores", "value_counts"])
@pytest.mark.parametrize("error", [ShardUnavailable("shard 1 does not answer"), SearchStopped("late")])
def test_a_missing_shard_fails_a_search_or_is_named_in_a_partial_answer(
    troubled: Any, operation: str, error: Exception
) -> None:
    collection, shards, whole = troubled
    shards[1].fails = lambda asked: error if asked == operation else None
    options: dict[str, Any] = {"k": 200, "exact": True, "cache": False}
    if operation == "value_counts":
        from lsr.search.request import Facets

        options["facets"] = Facets(("tag",), over="matches")
    if operation in ("search", "fetch", "value_counts"):
        with pytest.raises(type(error)):
            collection.search("lobster roll", **options)
    found = collection.search("lobster roll", on_late="skip", **options)
    if operation not in ("search", "fetch", "value_counts"):
        assert not found.partial  # this search has no such stage
        return
    assert found.partial
    assert any("a missing shard (shard-0001-of-0003) puts" in warning for warning in found.warnings)
    expected = [
        (hit.id, hit.score)
        for hit in whole.search("lobster roll", k=1000, exact=True).hits
        if requests_shard(hit.id) != 1
    ]
    assert [(hit.id, hit.score) for hit in found.hits] == expected[:200]
    shards[1].fails = lambda _: None
    again = collection.search("lobster roll", **{**options, "cache": True})
    assert not again.partial  # a partial answer is not kept


def requests_shard(identifier: str) -> int:
    from lsr.sharding.placement import shards_of

    return int(shards_of([identifier], 3)[0])


def test_a_document_of_a_missing_shard_is_not_said_to_be_missing(troubled: Any) -> None:
    collection, shards, _ = troubled
    shards[2].fails = lambda _: ShardUnavailable("shard-0002-of-0003 does not answer")
    owned = {at: f"d{number:04}" for number in range(30) for at in [requests_shard(f"d{number:04}")]}
    assert collection.get(owned[0]) is not None
    with pytest.raises(ShardUnavailable, match="shard-0002"):
        collection.get(owned[2])


def test_a_collection_in_shards_has_no_parts_so_a_bound_key_sees_nothing_of_it(troubled: Any) -> None:
    from lsr.errors import QueryError
    from lsr.part import Part

    with pytest.raises(QueryError, match="bind the key to whole collections"):
        Part(troubled[0], {"year": 2003})
