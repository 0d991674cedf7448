"""A path prefix from a proxy, pages of other origins, logs, and limits from a file, a variable or a flag."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lsr.errors import SettingsError
from lsr.settings import SERVICE_SETTINGS, load_settings, setting_type
from lsr.store import CollectionStore
from service.http.admission import Admission
from service.http.named_origins import NamedOrigins
from service.logs import JsonFormatter, TextFormatter
from service.metrics import ServiceMetrics
from service.server import running
from service.settings import ServiceSettings
from tests.conftest import interruptible

ORIGIN = "https://example.org:8443"
SEARCH = "/v1/collections/dishes/search"


# --- a path prefix


@pytest.fixture(scope="module")
def prefixed(serve) -> httpx.Client:
    client = serve(ServiceSettings(root_path="/find/me/"))
    client.put("/v1/collections/dishes", json={}).raise_for_status()
    return client


@pytest.mark.parametrize("prefix", ["", "/find/me"])
def test_a_proxy_may_remove_the_prefix_or_leave_it(prefixed: httpx.Client, prefix: str) -> None:
    assert prefixed.get(f"{prefix}/healthz").status_code == 200
    assert prefixed.post(f"{prefix}{SEARCH}", json={"query": "a"}).status_code == 200
    assert prefixed.get(f"{prefix}/static/page.js").status_code == 200
    page = prefixed.get(f"{prefix}/")
    links = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert links
    for link in links:
        assert link.startswith("/find/me/")
        assert prefixed.get(link).status_code == 200
    assert prefixed.get(f"{prefix}/find").status_code == 404


def test_links_in_answers_have_the_prefix(prefixed: httpx.Client) -> None:
    created = prefixed.put("/v1/collections/more", json={})
    assert created.headers["location"] == "/find/me/v1/collections/more"
    job = prefixed.post(
        "/v1/collections/more/documents", json={"documents": [{"id": "1"}]}, headers={"Prefer": "respond-async"}
    )
    assert job.headers["location"].startswith("/find/me/v1/jobs/")
    assert prefixed.get(job.headers["location"]).status_code == 200
    assert prefixed.get("/openapi.json").json()["servers"] == [{"url": "/find/me"}]


def test_without_a_prefix_nothing_changes(client: httpx.Client) -> None:
    assert "servers" not in client.get("/openapi.json").json()
    assert client.get("/find/me/healthz").status_code == 404


@pytest.mark.parametrize("path", ["find", "/find me", "/../x?", "//x", "http://x"])
def test_another_prefix_is_a_settings_error(path: str) -> None:
    with pytest.raises(SettingsError, match="root_path"):
        ServiceSettings(root_path=path)


# --- other origins


def test_a_page_of_a_named_origin_may_call(serve) -> None:
    client = serve(ServiceSettings(cors_origins=(ORIGIN,)))
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    preflight = client.options(SEARCH, headers={"Origin": ORIGIN, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = client.get("/v1/collections", headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "origin" in answer.headers["vary"].lower()
    assert client.get("/v1/collections/nothing", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"]
    for other in ("https://example.org", "https://example.com:8443", "null"):
        assert client.options(SEARCH, headers={"Origin": other, **asked}).status_code == 400
        assert "access-control-allow-origin" not in client.get("/v1/collections", headers={"Origin": other}).headers


def test_without_named_origins_there_are_no_cors_headers(client: httpx.Client) -> None:
    answer = client.get("/v1/collections", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def exchange(client: httpx.Client, request: bytes) -> tuple[int, dict[str, str]]:
    """Send bytes; return the status and the headers of what comes before the server closes the connection."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:])


@pytest.fixture(scope="module")
def limited(serve) -> httpx.Client:
    settings = ServiceSettings(
        cors_origins=(ORIGIN,), max_headers=20, max_header_bytes=4_000, body_timeout=0.5, max_body=1_000,
        allowed_hosts=frozenset({"localhost", "127.0.0.1"}),
    )  # fmt: skip
    client = serve(settings)
    client.put("/v1/collections/c", json={}).raise_for_status()
    return client


UPLOAD = b"POST /v1/collections/c/documents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (431, b"GET / HTTP/1.1\r\nHost: localhost\r\n{origin}" + b"X: y\r\n" * 30),
        (431, b"GET /?" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n{origin}\r\n"),
        (408, UPLOAD + b"{origin}Content-Length: 100\r\n\r\n{"),
        (400, b"GET / HTTP/1.1\r\n{origin}\r\n"),
        (413, UPLOAD + b"{origin}Content-Length: 2000\r\nConnection: close\r\n\r\n" + b"a" * 2_000),
        (400, b"GET /v1/collections/%FF HTTP/1.1\r\nHost: localhost\r\n{origin}Connection: close\r\n\r\n"),
        (403, b"GET / HTTP/1.1\r\nHost: elsewhere\r\n{origin}Connection: close\r\n\r\n"),
    ],
    ids=["431", "431-url", "408", "400", "413", "400-path", "403"],
)
def test_a_page_of_a_named_origin_may_read_every_refusal(
    limited: httpx.Client, status: int, request_bytes: bytes
) -> None:
    sent, headers = exchange(limited, request_bytes.replace(b"{origin}", b"Origin: %b\r\n" % ORIGIN.encode()))
    assert sent == status
    assert headers["access-control-allow-origin"] == ORIGIN
    assert "Retry-After" in headers["access-control-expose-headers"]
    assert "Origin" in headers["vary"]
    other = exchange(limited, request_bytes.replace(b"{origin}", b"Origin: https://other.example\r\n"))[1]
    assert other.get("access-control-allow-origin") in (None, ORIGIN)


def test_a_refusal_for_load_can_be_read_and_a_preflight_is_never_one() -> None:
    origins = NamedOrigins((ORIGIN, "https://second.example"))
    admission = Admission(ServiceMetrics(), searches=1, others=1, origins=origins)
    page, other = [(b"origin", ORIGIN.encode())], [(b"origin", b"https://other.example")]
    assert b"access-control-allow-origin: %b\r\n" % ORIGIN.encode() in admission.refusal(b"/x/search", page)
    assert b"access-control" not in admission.refusal(b"/x/search", other)
    assert b"access-control" not in admission.refusal(b"/x/search", [])
    assert admission.kind(b"OPTIONS", b"/x/search", page) is None
    assert admission.kind(b"OPTIONS", b"/x/search", other) == "searches"
    assert admission.kind(b"POST", b"/x/search", page) == "searches"
    head, _, body = admission.refusal(b"/x/search", page).partition(b"\r\n\r\n")
    assert json.loads(body)["status"] == 429
    assert f"content-length: {len(body)}".encode() in head


@pytest.mark.parametrize("origin", ["*", "example.org", "https://example.org/", "https://*.org", "null"])
def test_another_origin_is_a_settings_error(origin: str) -> None:
    with pytest.raises(SettingsError, match="cors_origin"):
        ServiceSettings(cors_origins=(origin,))


# --- logs


def accessed(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record)["fields"] for record in caplog.records if record.name == "lsr.service.access"]


def test_the_access_log_has_every_request_and_no_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = ServiceSettings(access_log=True, max_headers=20)
    with caplog.at_level(logging.INFO), CollectionStore(tmp_path) as store, running(store, settings) as url:
        store.create("dishes")
        body = {"query": {"text": "a secret"}}
        httpx.post(f"{url}{SEARCH}", json=body, headers={"X-Request-ID": "mine"}).raise_for_status()
        httpx.get(f"{url}/v1/collections/dishes/suggest?prefix=secret%0Aforged").raise_for_status()
        httpx.get(f"{url}/nothing%0AINFO%20forged")
        httpx.get(f"{url}/healthz", headers={f"x-{number}": "1" for number in range(30)})
    search, suggest, nothing, refused = accessed(caplog)
    assert (search["method"], search["path"], search["status"], search["request_id"]) == ("POST", SEARCH, 200, "mine")
    assert search["route"] == "/v1/collections/{collection}/search"
    assert search["bytes_received"] == len(json.dumps(body, separators=(",", ":")))
    assert 0 < float(str(search["duration_ms"])) < 100_000
    assert (suggest["path"], nothing["path"]) == ("/v1/collections/dishes/suggest", "/nothing%0AINFO%20forged")
    assert (refused["status"], refused["path"], refused["answered_by"]) == (431, "/healthz", "protocol")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("lsr")]
    assert not [line for line in ours if "secret" in line]


def test_without_the_option_requests_are_not_logged(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get("/healthz")
    assert accessed(caplog) == []


def test_a_json_line_is_one_object_with_the_record_s_fields_and_traceback() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("lsr.x", logging.ERROR, "", 1, "bad %s\n%s", ("x", 'y"'), sys.exc_info())
    record.fields = {"status": 500}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    shown = json.loads(line)
    assert (shown["level"], shown["logger"], shown["message"], shown["status"]) == ("ERROR", "lsr.x", 'bad x\ny"', 500)
    assert "ValueError: a" in shown["exception"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown["time"])
    record.exc_info = None
    assert TextFormatter("%(message)s").format(record) == 'bad x\\ny"'


# --- the command


def start(folder: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from lsr.cli import main; main()", "serve", str(folder), "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())} | variables
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=interruptible
    )


def test_limits_come_from_the_file_a_variable_or_a_flag_and_the_log_shows_the_shutdown(tmp_path: Path) -> None:
    config = tmp_path / "lsr.toml"
    config.write_text('max_body = 1000\nlog_format = "json"\naccess_log = true\n', encoding="utf-8")
    (tmp_path / "collections").mkdir()
    process = start(
        tmp_path / "collections", "--max-headers", "12", "--cors-origin", ORIGIN,
        LSR_CONFIG=str(config), LSR_MAX_HEADER_BYTES="2000",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = httpx.URL(process.stdout.readline().strip())
        assert httpx.get(f"{url}/healthz", headers={f"x-{number}": "1" for number in range(12)}).status_code == 431
        assert httpx.get(f"{url}/healthz", headers={"x": "1" * 2000}).status_code == 431
        assert httpx.put(f"{url}/v1/collections/c", content=b" " * 1001).status_code == 413
        allowed = httpx.get(f"{url}/healthz", headers={"Origin": ORIGIN})
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        with socket.create_connection((url.host, url.port or 0)):
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in errors.splitlines()]
    assert process.returncode == 0
    assert [line["status"] for line in lines if line["logger"] == "lsr.service.access"] == [431, 431, 413, 200]
    steps = [line["message"] for line in lines if line["logger"] == "lsr.service"][-4:]
    assert [step.split(":")[0] for step in steps] == ["SIGTERM", "stopping", "stopped", "the collections are closed"]


def test_every_setting_of_the_service_is_a_setting_of_the_command() -> None:
    own = {"api_keys", "allowed_hosts", "encoders", "default_encoder", "cors_origins"}
    assert set(vars(ServiceSettings())) - own == set(SERVICE_SETTINGS) - {"cors_origin", "log_format"}


@pytest.mark.parametrize("name", SERVICE_SETTINGS)
def test_a_wrong_value_is_refused_with_the_name_of_its_source(name: str) -> None:
    variable = f"LSR_{name.upper()}"
    if setting_type(name) is str:
        assert getattr(load_settings(environment={variable: "x"}), name) == "x"
        return
    with pytest.raises(SettingsError, match=f"{variable}: 'x"):
        load_settings(environment={variable: "x"})
