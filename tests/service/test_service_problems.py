"""Hostile and invalid requests: each is a problem (RFC 9457) with the right status, none is a 5xx."""

from __future__ import annotations

import http.client
import socket
import time

import httpx
import pytest

from service.settings import ServiceSettings

SEARCH = "/v1/collections/dishes/search"
JSON = {"Content-Type": "application/json"}


def check_problem(response: httpx.Response, status: int, slug: str | None = None) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = response.json()
    assert set(problem) >= {"type", "title", "status", "detail", "instance", "request_id"}
    assert problem["status"] == status
    assert problem["instance"] == response.request.url.path
    assert problem["request_id"] == response.headers["x-request-id"]
    if slug:
        assert problem["type"] == f"/problems/{slug}"
    return problem


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "malformed"),
        (b'{"query":{"sparse":{"a":NaN}}}', "query.sparse.a"),
        (b'{"query":{"sparse":{"a":-Infinity}}}', "query.sparse.a"),
        (b'{"query":{"sparse":{"a":1e999}}}', "query.sparse.a"),
        (b'{"query":{"text":"a"},"query":{"text":"b"}}', "query"),
        (b'{"query":{"sparse":{"a":1,"a":2}}}', "query.sparse.a"),
        (b'{"query":{"text":"\\ud800"}}', "query.text"),
        (b'{"query":{"text":"\xff"}}', "UTF-8"),
        (b"[" * 100_000, "deep"),
        (b'{"query":' * 100_000, "deep"),
        (b'{"query":{"filter":' + b"[" * 100 + b"]" * 100 + b"}}", "deep"),
    ],
)
def test_json_that_is_not_strict_is_a_400_that_says_why(client: httpx.Client, body: bytes, word: str) -> None:
    problem = check_problem(client.post(SEARCH, content=body, headers=JSON), 400, "malformed-json")
    assert word in str(problem["detail"])


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"text"', b"1"])
def test_json_that_is_not_an_object_is_a_422(client: httpx.Client, body: bytes) -> None:
    check_problem(client.post(SEARCH, content=body, headers=JSON), 422)


def test_an_unknown_path_is_a_404(client: httpx.Client) -> None:
    for path in ("/nothing", "/v1", "/v1/collections/", "/static/../app.py", "/static/%2e%2e/app.py"):
        check_problem(client.get(path), 404)


def test_a_method_that_is_not_offered_is_a_405_with_allow(client: httpx.Client) -> None:
    response = client.get(SEARCH)
    check_problem(response, 405)
    assert response.headers["allow"] == "POST"
    check_problem(client.request("PATCH", "/healthz"), 405)
    response = client.options("/v1/collections/dishes/documents/d1")
    check_problem(response, 405)
    assert response.headers["allow"] == "DELETE, GET, PATCH"
    snapshot = "/v1/collections/dishes/snapshots/20260101T000000Z"
    assert client.put(snapshot).headers["allow"] == "DELETE, GET"
    assert client.get(snapshot + ":restore").headers["allow"] == "POST"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "a/b/c"]
)
def test_another_media_type_is_a_415(client: httpx.Client, kind: str) -> None:
    body = b'{"query":{"text":"lobster"}}'
    check_problem(client.post(SEARCH, content=body, headers={"Content-Type": kind}), 415, "unsupported-media-type")
    check_problem(client.post("/v1/collections/dishes/documents", content=body, headers={"Content-Type": kind}), 415)


def test_parameters_of_the_media_type_are_fine(client: httpx.Client) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post(SEARCH, content=b'{"query":{"text":"lobster"}}', headers=headers).status_code == 200


def test_a_body_above_the_limit_is_a_413_by_its_length_and_by_counting(serve) -> None:
    client = serve(ServiceSettings(max_body=10_000))
    body = b'{"query":{"text":"' + b"a" * 20_000 + b'"}}'
    check_problem(client.post(SEARCH, content=body, headers=JSON), 413, "body-too-large")

    def pieces():
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    check_problem(client.post(SEARCH, content=pieces(), headers=JSON), 413, "body-too-large")
    assert client.get("/healthz").status_code == 200


def test_bodies_that_are_too_large_together_are_refused_until_one_is_gone(serve) -> None:
    client = serve(ServiceSettings(max_body=10_000, max_bodies=12_000))
    head = f"POST {SEARCH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
    body = b'{"query":{"text":"' + b"a" * 8_000 + b'"}}'
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as first:
        first.sendall(head.encode() + b" " * 8_000)
        deadline = time.monotonic() + 10
        while (response := client.post(SEARCH, content=body, headers=JSON)).status_code != 429:
            assert time.monotonic() < deadline
        check_problem(response, 429, "overloaded")
    while client.post(SEARCH, content=body, headers=JSON).status_code == 429:
        assert time.monotonic() < deadline


def test_a_wrong_content_length_does_not_get_past_the_count(serve) -> None:
    client = serve(ServiceSettings(max_body=10_000))
    for length in ("-5", "abc", "9" * 30):
        connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80, timeout=10)
        connection.putrequest("POST", SEARCH)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status in (400, 413)
        connection.close()


def test_the_callers_request_id_is_returned_if_it_is_plain(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-123"}).headers["x-request-id"] == "abc-123"
    for bad in ("a b", "x" * 65, "<script>"):
        given = [client.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"] for _ in range(2)]
        assert bad not in given
        assert given[0] != given[1]


def test_answers_are_not_cached_sniffed_or_framed(client: httpx.Client) -> None:
    headers = client.get("/v1/collections").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_an_unexpected_error_is_a_500_without_a_traceback(client: httpx.Client, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service.routes.search.search", fail)
    response = client.post(SEARCH, json={"query": {"text": "a"}})
    check_problem(response, 500, "internal")
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_a_search_that_runs_out_of_time_is_a_503_that_says_so(client: httpx.Client, monkeypatch) -> None:
    from index.errors import SearchStopped

    def stop(*_: object, **__: object) -> None:
        raise SearchStopped("stopped")

    monkeypatch.setattr("lsr.collection.Collection.search", stop)
    problem = check_problem(client.post(SEARCH, json={"query": {"text": "a"}, "timeout_ms": 5000}), 503, "timeout")
    assert "5000" in str(problem["detail"])
