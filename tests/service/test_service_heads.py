"""Headers, trailers and pipelined requests have limits, counted before the API key is checked."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lsr.store import CollectionStore
from service.auth import ApiKey
from service.http.protocol import MAX_PIPELINED
from service.server import running
from service.settings import ServiceSettings

KEY = "a-key-of-some-length"
SETTINGS = ServiceSettings(
    max_headers=20, max_header_bytes=4_000, header_timeout=1.0, body_timeout=1.0, api_keys=(ApiKey.of(KEY),)
)
START = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = (
    b"POST /v1/collections/c/documents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    b"Authorization: Bearer %b\r\n" % KEY.encode()
)
CHUNKED = UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n"
FLOOD_BYTES = 48 << 20
ALLOWED_GROWTH = 24 << 20  # without limits, one of these floods takes from 50 MB (a header without end) to 1.5 GB


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.URL]:
    with CollectionStore(tmp_path_factory.mktemp("heads")) as store:
        store.create("c")
        with running(store, SETTINGS) as url:
            yield httpx.URL(url)


def connect(url: httpx.URL) -> socket.socket:
    connection = socket.create_connection((url.host, url.port or 0))
    connection.settimeout(10)
    return connection


def exchange(url: httpx.URL, data: bytes) -> bytes:
    """Send `data` and return all that comes until the server closes the connection."""
    with connect(url) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def problem(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return json.loads(body)


def headers(count: int, size: int = 1) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (number, b"a" * size) for number in range(count))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_as_many_headers_as_allowed_are_accepted(url: httpx.URL) -> None:
    assert statuses(exchange(url, START + headers(18) + b"Connection: close\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    "head",
    [
        START + headers(30) + b"\r\n",
        START + headers(4, 1_500) + b"\r\n",
        START + b"X-Long: " + b"a" * 5_000,
        b"GET /healthz?" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 5_000,
        START + b"\r\n" + START + headers(30) + b"\r\n",
    ],
    ids=["number", "bytes", "one-without-end", "request-line", "request-line-without-end", "second-request"],
)
def test_more_is_a_431(url: httpx.URL, head: bytes) -> None:
    answer = exchange(url, head)
    if head.startswith(START + b"\r\n"):
        assert statuses(answer) == [200]  # the answer that was due comes before the end
        return
    assert statuses(answer) == [431]
    assert problem(answer)["type"] == "/problems/headers-too-large"
    assert "20 headers, 4000 bytes" in str(problem(answer)["detail"])


@pytest.mark.parametrize(
    "trailers",
    [headers(30), headers(4, 1_500), b"X-Long: " + b"a" * 600_000],
    ids=["number", "bytes", "one-without-end"],
)
def test_trailers_have_the_same_limits(url: httpx.URL, trailers: bytes) -> None:
    answer = exchange(url, CHUNKED + b"3\r\n{}\n\r\n0\r\n" + trailers)
    assert statuses(answer) == [431]


def test_a_trailer_does_not_become_a_header(url: httpx.URL) -> None:
    body = b"5\r\n{}   \r\n0\r\nX-API-Key: %b\r\nConnection: close\r\n\r\n" % KEY.encode()
    start = b"PUT /v1/collections/d HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connect(url) as connection:
        connection.sendall(start + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert statuses(connection.recv(65536)) == [401]


@pytest.mark.parametrize(
    "flood",
    [
        (START, b"A: b\r\n"),
        (START + b"A: ", b"b"),
        (b"GET /", b"a"),
        (CHUNKED + b"3\r\n{}\n\r\n0\r\n", b"A: b\r\n"),
        (CHUNKED + b"3\r\n{}\n\r\n0\r\nA: ", b"b"),
        (CHUNKED + b"1;", b"a"),
        (b"", START + b"\r\n"),
        (b"", b"\r\n"),
    ],
    ids=["headers", "header", "path", "trailers", "trailer", "chunk-extension", "pipelined", "line-ends"],
)
def test_a_flood_leaves_memory_flat(url: httpx.URL, flood: tuple[bytes, bytes]) -> None:
    start, repeated = flood
    piece = repeated * (65_536 // len(repeated))
    before, highest, stop = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not stop.wait(0.01):
            highest = max(highest, resident())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with connect(url) as connection:
            connection.settimeout(3)
            connection.sendall(start)
            for _ in range(FLOOD_BYTES // len(piece)):
                connection.sendall(piece)
    except OSError:
        pass  # the server has closed the connection, or does not read more
    finally:
        stop.set()
        watching.join()
    assert highest - before < ALLOWED_GROWTH
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_pipelined_requests_are_answered_up_to_the_limit(url: httpx.URL) -> None:
    answer = exchange(url, (START + b"\r\n") * (MAX_PIPELINED + 40))
    assert set(statuses(answer)) == {200}
    assert MAX_PIPELINED <= len(statuses(answer)) <= MAX_PIPELINED + 2
    assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (b"Host: a\r\nHost: a\r\n", "host"),
        (b"Host: a\r\nAuthorization: Bearer x\r\nauthorization: Bearer y\r\n", "authorization"),
        (b"Host: a\r\nX-API-Key: x\r\nX-API-KEY: x\r\n", "x-api-key"),
        (b"Host: a\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n", "content-type"),
        (b"Accept: */*\r\n", "Host"),
    ],
)
def test_a_repeated_or_missing_header_is_a_400(url: httpx.URL, lines: bytes, named: str) -> None:
    answer = exchange(url, b"GET /healthz HTTP/1.1\r\n" + lines + b"\r\n")
    assert statuses(answer) == [400]
    assert named in str(problem(answer)["detail"])


def test_http_1_0_needs_no_host(url: httpx.URL) -> None:
    assert statuses(exchange(url, b"GET /healthz HTTP/1.0\r\n\r\n")) == [200]


def test_line_ends_do_not_keep_a_connection_open(url: httpx.URL) -> None:
    with connect(url) as connection:
        connection.sendall(START + b"\r\n")
        assert statuses(connection.recv(65536)) == [200]
        connection.sendall(b"\r\n")
        started = time.monotonic()
        assert connection.recv(65536) == b""
        assert time.monotonic() - started > 0.5


def test_refused_heads_are_in_the_metrics(url: httpx.URL) -> None:
    exchange(url, START + headers(30) + b"\r\n")
    text = httpx.get(f"{url}/metrics", headers={"X-API-Key": KEY}).text
    assert re.search(r'lsr_requests_total\{route="none",status="431"\} [1-9]', text)
    assert re.search(r'lsr_rejected_total\{reason="headers"\} [1-9]', text)
