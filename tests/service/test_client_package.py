"""clients/python against a live service, and against a service that fails on purpose."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from lsr_client import (
    AsyncClient,
    BulkFailed,
    BulkResult,
    Client,
    Conflict,
    Gone,
    Invalid,
    NotFound,
    Overloaded,
    Retries,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    models,
)
from pydantic import TypeAdapter

from lsr.store import CollectionStore
from service import ServiceSettings, create_app
from service.auth import ApiKey
from service.server import running

KEY = "a-key-of-some-length"
QUICK = Retries(attempts=4, first=0.001)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = ServiceSettings(api_keys=(ApiKey.of(KEY),))
    with CollectionStore(tmp_path_factory.mktemp("client")) as store, running(store, settings) as address:
        with Client(str(address), KEY) as client:
            client.create("dishes", {"encoder": "bm25", "schema": {"year": "int", "tag": "keyword[]"}})
            client.write(
                "dishes", [{"id": f"d{i}", "text": f"lobster dish {i}", "metadata": {"year": i}} for i in range(9)]
            )
        yield str(address)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, KEY) as client:
        yield client


def answering(*outcomes: httpx.Response | Exception) -> tuple[Client, list[httpx.Request]]:
    """Return a client whose service answers with these outcomes, one after the other, and the list of its requests."""
    requests: list[httpx.Request] = []
    left = list(outcomes)

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Client("http://service/prefix", retries=QUICK, transport=httpx.MockTransport(answer)), requests


def problem(status: int, kind: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return httpx.Response(
        status, headers=headers, json={"type": f"/problems/{kind}", "status": status, "detail": "x", **more}
    )


PAGE = httpx.Response(200, json={"documents": [], "next_after": None})


def test_a_search_with_filter_facets_and_explanation(client: Client) -> None:
    answer = client.search("dishes", "lobster", k=3, filter={"year": {"gte": 5}}, facets=["tag"], explain=True)
    assert len(answer.hits) == 3
    assert all((hit.metadata or {})["year"] >= 5 for hit in answer.hits)
    leg = answer.hits[0].legs[0]
    assert leg.using == "default"
    assert leg.matched is not None
    assert leg.matched[0].contribution == pytest.approx(leg.score)
    assert client.search("dishes", {"like": "d1"}, k=1).hits[0].id != "d1"
    both = client.search_many("dishes", [{"query": {"text": "lobster"}, "k": 2}, {"query": {"text": "soup"}}])
    assert [len(one.hits) for one in both] == [2, 0]


def test_pages_and_documents_yield_everything_once(client: Client) -> None:
    ids = [hit.id for page in client.pages("dishes", "lobster", k=4) for hit in page.hits]
    assert sorted(ids) == [f"d{i}" for i in range(9)]
    assert [one.id for one in client.documents("dishes", size=2)] == sorted(ids)
    assert [one.id for one in client.documents("dishes", size=1, filter={"year": {"gte": 7}})] == ["d7", "d8"]


def test_documents_are_written_changed_read_back_and_deleted(client: Client) -> None:
    client.create("own", {"encoder": "bm25", "schema": {"year": "int"}})
    odd = "a/b c?ü:x"
    assert (
        client.write("own", [{"id": odd, "text": "crab", "metadata": {"year": 1}}, {"id": "bad", "what": 1}]).failed
        == 1
    )
    client.patch("own", odd, {"year": 7, "gone": None})
    found = client.get("own", odd, vectors=True)
    assert (found.text, found.metadata) == ("crab", {"year": 7})
    client.write("own", [found])
    assert client.get_many("own", [odd, "none"]).missing == ["none"]
    assert client.delete("own", filter={"year": 7}, dry_run=True).matched == 1
    assert client.delete("own", [odd]).deleted == 1
    assert client.alias("second", "own").previous is None
    assert client.collection("own").fields == {"year": "int"}
    assert {one.name for one in client.collections().collections} >= {"dishes", "own"}
    with pytest.raises(ValueError, match="either ids or a filter"):
        client.delete("own")
    client.drop("own")


def test_bulk_reads_as_it_sends_and_names_refused_documents_by_position(client: Client) -> None:
    client.create("bulk", {"encoder": "bm25"})
    seen: list[int] = []
    sent: list[BulkResult] = []

    def documents() -> Iterator[dict[str, Any]]:
        for number in range(2500):
            seen.append(number)
            bad = number in (3, 1500) or number >= 2000
            yield {"id": f"n{number}", "text": f"word {number}", **({"wrong": 1} if bad else {})}

    result = client.bulk("bulk", documents(), progress=lambda one: sent.append(BulkResult(one.accepted, [], len(seen))))
    assert (result.sent, result.accepted) == (2500, 1998)
    positions = [at for at, _ in result.refused]
    assert positions[:3] == [3, 1500, 2000]  # the last batch was refused as a whole
    assert result.refused[2][1].code == "unknown_field"
    assert sent[0].sent <= 1001  # the iterable had not been read further when the first batch was written
    assert client.collection("bulk").documents == 1998
    client.drop("bulk")


def test_problems_are_exceptions_with_the_services_words(client: Client, url: str) -> None:
    with pytest.raises(NotFound, match="none") as missing:
        client.search("none", "x")
    assert missing.value.type == "collection-not-found"
    assert missing.value.request_id
    with pytest.raises(Invalid, match="k: ") as invalid:
        client.search("dishes", "x", k=0)
    assert invalid.value.errors[0]["field"] == "k"
    with pytest.raises(Conflict):
        client.create("dishes", {"encoder": "bm25"})
    with pytest.raises(Gone):
        client.search("dishes", "lobster", cursor="0" * 32)
    with pytest.raises(Invalid, match="unknown_field"):
        client.write("dishes", [{"id": "x", "wrong": 1}])
    with Client(url) as without_key, pytest.raises(Unauthorized):
        without_key.collections()
    with Client("http://127.0.0.1:9", retries=Retries(attempts=1)) as nobody, pytest.raises(Unreachable, match=":9"):
        nobody.collections()


def test_full_services_are_asked_again_after_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("lsr_client.client.time.sleep", pauses.append)
    full = problem(429, "overloaded", headers={"Retry-After": "3"})
    client, requests = answering(full, problem(503, "not-ready"), PAGE)
    assert list(client.documents("c")) == []
    assert pauses[0] == 3.0
    assert 0 < pauses[1] <= 0.002
    assert requests[0].url.path == "/prefix/v1/collections/c/documents"
    client, requests = answering(*[full] * 4)
    with pytest.raises(Overloaded):
        client.documents("c").__next__()
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("call", "error", "tries"),
    [
        (lambda client: client.write("c", [{"id": "1"}]), httpx.ReadError("lost"), 4),
        (lambda client: client.create("c", {}), httpx.ReadError("lost"), 1),
        (lambda client: client.create("c", {}), httpx.ConnectError("refused"), 4),
    ],
)
def test_a_lost_answer_is_asked_for_again_only_where_twice_is_once(
    call: Callable[[Client], object], error: Exception, tries: int
) -> None:
    client, requests = answering(*[error] * 4)
    with pytest.raises(Unreachable):
        call(client)
    assert len(requests) == tries


def test_a_failed_bulk_write_says_what_was_acknowledged() -> None:
    written = {"seq": 1, "durable": True, "accepted": 1000, "failed": 0, "errors": []}
    client, _ = answering(httpx.Response(200, json=written), problem(507, "storage-full"))
    with pytest.raises(BulkFailed, match="1000 documents were written, then: 507 storage-full") as failed:
        client.bulk("c", ({"id": str(number)} for number in range(1500)))
    assert failed.value.result.accepted == 1000


def test_a_job_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsr_client.client.time.sleep", lambda _: None)
    job = {"job": "9", "collection": "c", "status": "waiting", "durable": False}
    done = {**job, "status": "done", "durable": True, "result": {"seq": 2, "durable": True, "deleted": 4}}
    client, requests = answering(
        httpx.Response(202, json=job), httpx.Response(200, json=job), httpx.Response(200, json=done)
    )
    assert client.delete("c", ["1"]).deleted == 4
    assert [one.url.path for one in requests][1:] == ["/prefix/v1/jobs/9"] * 2
    failed = {**job, "status": "failed", "problem": {"status": 507, "type": "/problems/storage-full", "detail": "full"}}
    client, _ = answering(httpx.Response(202, json=job), httpx.Response(200, json=failed))
    with pytest.raises(Exception, match="storage-full: full"):
        client.delete("c", ["1"])


def test_other_answers_than_those_of_the_service_are_named() -> None:
    client, _ = answering(httpx.Response(502, text="<html>proxy</html>"), httpx.Response(200, json={"hits": 3}))
    with pytest.raises(UnexpectedAnswer, match="502 without a problem of lsr"):
        client.collections()
    with pytest.raises(UnexpectedAnswer, match="took_ms"):
        client.search("c", "x")


def test_the_async_client_does_the_same(url: str) -> None:
    async def use() -> None:
        async with AsyncClient(url, KEY) as client:
            answers = await asyncio.gather(*(client.search("dishes", "lobster", k=k) for k in (1, 2, 3)))
            assert [len(one.hits) for one in answers] == [1, 2, 3]
            assert len([one async for one in client.documents("dishes", size=4)]) == 9
            assert sum([len(page.hits) async for page in client.pages("dishes", "lobster", k=4)]) == 9
            result = await client.bulk("dishes", [{"id": "d0", "text": "lobster dish 0", "metadata": {"year": 0}}])
            assert result.accepted == 1
            with pytest.raises(NotFound):
                await client.get("dishes", "none")

    asyncio.run(use())


def test_both_clients_have_the_same_methods_and_parameters() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("__"):
            other = inspect.signature(getattr(AsyncClient, name))
            assert list(inspect.signature(method).parameters.values()) == list(other.parameters.values()), name


MODELS = {
    "SearchModel": models.SearchAnswer,
    "HitModel": models.Hit,
    "LegModel": models.Leg,
    "MatchedModel": models.MatchedTerm,
    "HighlightModel": models.Highlight,
    "QueryTermModel": models.QueryTerm,
    "TotalModel": models.Total,
    "BatchModel": models.BatchAnswer,
    "DocumentModel": models.Document,
    "DocumentsModel": models.DocumentPage,
    "FoundDocumentsModel": models.FoundDocuments,
    "WriteModel": models.WriteAnswer,
    "WriteErrorModel": models.WriteError,
    "DeleteModel": models.DeleteAnswer,
    "PatchModel": models.PatchAnswer,
    "JobModel": models.Job,
    "StoredModel": models.Stored,
    "CollectionModel": models.Collection,
    "CollectionsModel": models.Collections,
    "AliasModel": models.Alias,
}


def test_models_and_paths_are_those_of_the_openapi_document(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        document = json.loads(json.dumps(create_app(store, ServiceSettings()).openapi()))
    schemas = document["components"]["schemas"]
    for name, model in MODELS.items():
        theirs = schemas[name]
        for field, info in model.model_fields.items():
            known = info.alias or field
            assert known in theirs["properties"], f"{name}.{known}"
            assert not info.is_required() or known in theirs["required"], f"{name}.{known} may be missing"
            if {"type": "null"} in theirs["properties"][known].get("anyOf", []):
                TypeAdapter(info.annotation).validate_python(None)  # it may be null
    routes = {(method.upper(), path) for path, known in document["paths"].items() for method in known}
    client, requests = answering(*[PAGE] * 40)
    for call in (
        lambda: client.search("c", "x"),
        lambda: client.search_many("c", []),
        lambda: client.write("c", []),
        lambda: client.get("c", "1"),
        lambda: client.get_many("c", []),
        lambda: list(client.documents("c")),
        lambda: client.patch("c", "1", {}),
        lambda: client.delete("c", []),
        lambda: client.collections(),
        lambda: client.collection("c"),
        lambda: client.create("c", {}),
        lambda: client.change("c", {}),
        lambda: client.drop("c"),
        lambda: client.alias("c", "d"),
        lambda: client.suggest("c", "x"),
    ):
        with suppress(UnexpectedAnswer):
            call()
    sent = {(one.method, one.url.path.removeprefix("/prefix")) for one in requests}
    patterns = {
        (method, path.replace("{collection}", "c").replace("{id}", "1").replace("{alias}", "c"))
        for method, path in routes
    }
    assert len(sent) == 15
    assert sent <= patterns
