"""What a body becomes in memory is limited: errors while they are collected, jobs when they end, whole batches."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from lsr.store import CollectionStore
from lsr.upkeep.seal_and_merge import SEAL_DOCUMENTS
from lsr.writing.changes import MAX_PENDING
from service.messages.document_bodies import MAX_DOCUMENTS, MAX_LISTED, NDJSON, parse_batch
from service.messages.requests import CollectionRequest, DeleteRequest, EmbedRequest
from service.messages.search_requests import BatchRequest, SearchRequest
from service.problems import MAX_DETAIL, ProblemError
from service.runtime import jobs as jobs_module
from service.runtime.jobs import Jobs
from service.runtime.write_queue import WriteQueue
from service.runtime.writes import Upsert

DOCUMENTS = "/v1/collections/notes/documents"
LINES = {"Content-Type": NDJSON}


@pytest.fixture
def notes(client: httpx.Client) -> Iterator[httpx.Client]:
    client.put("/v1/collections/notes", json={}).raise_for_status()
    yield client
    client.delete("/v1/collections/notes").raise_for_status()


def test_of_many_refused_lines_the_first_are_kept_and_all_are_counted() -> None:
    body = b"\n".join([b"{}", b"not json"] * 2_000 + [b'{"id":"1"}'])
    batch = parse_batch(body, NDJSON)
    assert batch.errors.count == 4_000
    assert [error.line for error in batch.errors.listed()] == list(range(1, MAX_LISTED + 1))
    assert len(batch.documents) == 1


def test_errors_of_reading_and_of_writing_are_listed_by_line(notes: httpx.Client) -> None:
    lines = [b"{}", b'{"id":"1","text":"a"}', b'{"id":"2","sparse":{"a":1},"vectors":{"x":{"sparse":{}}}}', b"[]"]
    answer = notes.post(DOCUMENTS, content=b"\n".join(lines), headers=LINES).json()
    assert (answer["accepted"], answer["failed"]) == (1, 3)
    assert [(error["line"], error["code"]) for error in answer["errors"]] == [
        (1, "missing_id"), (3, "unknown_vector"), (4, "not_an_object"),
    ]  # fmt: skip


def test_a_message_does_not_repeat_megabytes_of_the_request(notes: httpx.Client) -> None:
    name = "x" * 2_000_000
    answer = notes.post(DOCUMENTS, content=b'{"id":"1"}\n{"id":"2","%b":1}' % name.encode(), headers=LINES)
    assert len(answer.json()["errors"][0]["detail"]) == MAX_DETAIL
    assert len(answer.content) < 2_000
    for body in ({name: 1}, {"query": {"text": "a"}, "filter": {name: 1}}, {"query": {name: 1}}):
        answer = notes.post("/v1/collections/notes/search", json=body)
        assert answer.status_code == 422
        assert len(answer.content) < 5 * MAX_DETAIL


@pytest.mark.parametrize("line", [b"{}", b'{"id":"1"}', b"nonsense"])
def test_a_batch_that_could_never_be_accepted_is_a_413_with_the_limit(notes: httpx.Client, line: bytes) -> None:
    body = b"\n".join([line] * (MAX_DOCUMENTS + 1))
    response = notes.post(DOCUMENTS, content=body, headers=LINES)
    assert response.status_code == 413
    assert response.json()["type"] == "/problems/batch-too-large"
    assert str(MAX_DOCUMENTS) in response.json()["detail"]
    listed = b'{"documents":[' + b",".join([b"{}"] * (MAX_DOCUMENTS + 1)) + b"]}"
    assert notes.post(DOCUMENTS, content=listed, headers={"Content-Type": "application/json"}).status_code == 413
    assert notes.get("/v1/collections/notes").json()["documents"] == 0


def test_the_largest_batch_has_room_next_to_documents_that_are_not_sealed_by_themselves() -> None:
    assert MAX_DOCUMENTS + SEAL_DOCUMENTS <= MAX_PENDING


MANY = {f"name{number}": "x" for number in range(20_000)}


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (SearchRequest, {"query": {"text": "a"}, **MANY}),
        (SearchRequest, {"query": MANY}),
        (SearchRequest, {"query": {"text": "a"}, "must": [1] * 20_000}),
        (SearchRequest, {"query": {"fusion": {"queries": [{"scores": MANY}]}}}),
        (SearchRequest, {"query": {"text": "a"}, "facets": {"fields": ["a"], "buckets": {f"\0{n}": 1 for n in MANY}}}),
        (BatchRequest, {"searches": [{"query": {"text": "a"}, **MANY}] * 100}),
        (DeleteRequest, {"ids": [1] * 20_000}),
        (CollectionRequest, {"schema": MANY}),
        (CollectionRequest, {"vectors": MANY}),
        (EmbedRequest, {"inputs": [1] * 20_000}),
    ],
)
def test_the_errors_of_a_body_are_limited_while_they_are_collected(model: type[BaseModel], body: object) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(body)
    assert 0 < raised.value.error_count() < 300


def test_large_objects_of_values_are_accepted_whole() -> None:
    scores = {f"d{number}": float(number) for number in range(2_345)}
    request = SearchRequest.model_validate({"query": {"fusion": {"queries": [{"scores": scores}]}}})
    assert request.query.fusion is not None
    assert request.query.fusion.queries[0].scores == scores


def test_a_finished_job_keeps_its_answer_and_not_its_error() -> None:
    jobs = Jobs()
    future: Future[dict[str, object]] = Future()
    job = jobs.add("c", future)["job"]
    try:
        body = bytearray(1_000)
        raise ProblemError(422, "invalid-document", "Invalid document", f"line 1 of {len(body)}")
    except ProblemError as error:
        future.set_exception(error)
        gone = weakref.ref(error)
    del future
    gc.collect()
    assert gone() is None
    assert jobs.show(job)["problem"]["detail"] == "line 1 of 1000"


def test_finished_jobs_are_limited_in_number_and_in_bytes(monkeypatch) -> None:
    monkeypatch.setattr(jobs_module, "MAX_BYTES", 10_000)
    monkeypatch.setattr(jobs_module, "MAX_FINISHED", 5)
    jobs = Jobs()

    def finish(size: int) -> str:
        future: Future[dict[str, object]] = Future()
        job: str = jobs.add("c", future)["job"]
        future.set_result({"errors": ["x" * size]})
        return job

    small = [finish(10) for _ in range(7)]
    with pytest.raises(ProblemError, match="no job"):
        jobs.show(small[1])
    assert jobs.show(small[2])["status"] == "done"
    large = [finish(4_000) for _ in range(4)]
    assert jobs.show(large[-1])["result"] == {"errors": ["x" * 4_000]}
    with pytest.raises(ProblemError, match="no job"):
        jobs.show(large[1])


def test_an_unexpected_error_of_a_job_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs()
    future: Future[dict[str, object]] = Future()
    job = jobs.add("c", future)["job"]
    future.set_exception(RuntimeError("a bug"))
    assert jobs.show(job)["problem"]["status"] == 500
    assert "a bug" not in str(jobs.show(job))
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("a bug",)]


def test_a_refused_write_releases_its_body(tmp_path: Path) -> None:
    with CollectionStore(tmp_path) as store:
        queue = WriteQueue(max_requests=10, max_bytes=1 << 20)
        jobs = Jobs()
        body = b"{}\n" * 100
        references = sys.getrefcount(body)
        future = queue.submit(store.create("c"), Upsert(body, NDJSON))
        job = jobs.add("c", future)["job"]
        assert future.exception(10) is not None
        del future
        queue.close()
        gc.collect()
        assert sys.getrefcount(body) == references
        assert jobs.show(job)["status"] == "failed"
