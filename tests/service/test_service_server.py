"""The server process: addresses, signals, and clients that send or read too slowly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from lsr.errors import LsrError
from lsr.store import CollectionStore
from service.server import ServerAddressError, running, serve
from service.settings import ServiceSettings
from tests.conftest import interruptible

HOST = "127.0.0.1"


def test_a_port_in_use_is_reported_first(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken, pytest.raises(ServerAddressError, match="cannot listen"):
        serve(tmp_path, port=taken.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_out_of_range_is_an_expected_error(tmp_path: Path, port: int) -> None:
    with pytest.raises(LsrError):
        serve(tmp_path, port=port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from service.server import serve; "
        "serve(Path(sys.argv[1]), port=0, on_ready=lambda url: print(url, flush=True)); print('stopped', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())}, preexec_fn=interruptible,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/readyz").status_code == 200
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    if number == signal.SIGTERM:
        assert (process.returncode, output, errors) == (0, "stopped\n", "")
    else:
        assert errors.rstrip().endswith("KeyboardInterrupt")


def test_a_service_that_cannot_get_ready_says_why_instead_of_hanging(tmp_path: Path, monkeypatch) -> None:
    def fail() -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr("service.runtime.readiness.warm_kernels", fail)
    with CollectionStore(tmp_path) as store, pytest.raises(RuntimeError, match="no compiler"), running(store):
        pass
    with pytest.raises(RuntimeError, match="no compiler"):
        serve(tmp_path, port=0)


def test_invalid_http_is_a_problem_too(impatient: httpx.URL) -> None:
    with socket.create_connection((HOST, impatient.port or 0)) as connection:
        connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        connection.settimeout(5)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 400


def test_answers_do_not_wait_for_the_client_s_delayed_acknowledgement(impatient: httpx.URL) -> None:
    times = []
    with httpx.Client(base_url=impatient) as client:
        for _ in range(11):
            started = time.monotonic()
            client.get("/healthz").raise_for_status()
            times.append(time.monotonic() - started)
    assert sorted(times)[5] < 0.03  # without TCP_NODELAY it is 0.04 s or more


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory):
    settings = ServiceSettings(header_timeout=0.5, body_timeout=0.5)
    with CollectionStore(tmp_path_factory.mktemp("slow")) as store, running(store, settings) as url:
        yield httpx.URL(url)


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
PARTIAL = b"GET /healthz HT"
BODY = b"PUT /v1/collections/c HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"


@pytest.mark.parametrize(
    "start",
    [b"", PARTIAL, HEAD + b"X-Slow: ", BODY, HEAD + b"\r\n" + HEAD + b"X-Slow: "],
    ids=["nothing", "request-line", "headers", "body", "second-request"],
)
def test_a_client_that_sends_a_byte_at_a_time_is_dropped(impatient: httpx.URL, start: bytes) -> None:
    with socket.create_connection((HOST, impatient.port or 0)) as connection:
        connection.settimeout(0.1)
        connection.sendall(start)
        started = time.monotonic()
        closed = False
        if start == PARTIAL:
            connection.settimeout(5)
            assert connection.recv(65536) == b""  # any further byte would make the request invalid
            closed = True
        while not closed and time.monotonic() - started < 5:
            try:
                if start:
                    connection.sendall(b"a")
                closed = connection.recv(65536) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
        assert closed
        assert time.monotonic() - started > 0.3


def test_many_slow_clients_do_not_slow_the_others(impatient: httpx.URL) -> None:
    slow = []
    try:
        for _ in range(300):
            connection = socket.create_connection((HOST, impatient.port or 0))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
            slow.append(connection)
        started = time.monotonic()
        assert httpx.get(f"{impatient}/healthz").status_code == 200
        assert time.monotonic() - started < 2
        assert all(closed_within(connection, 5) for connection in slow)
    finally:
        for connection in slow:
            connection.close()
