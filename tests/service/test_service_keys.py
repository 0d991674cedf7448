"""API keys: scopes, and the restrictions of a service without keys."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.auth import ApiKey, KeyFileError, granted, load_api_keys
from service.server import ServerAddressError, secure
from service.settings import ServiceSettings

READER, WRITER, ADMIN = "reader-key-0123456789", "writer-key-0123456789", "admin-key-01234567890"


@pytest.fixture(scope="module")
def guarded(serve) -> httpx.Client:
    keys = (ApiKey.of(READER, "read"), ApiKey.of(WRITER, "write"), ApiKey.of(ADMIN))
    client = serve(ServiceSettings(api_keys=keys))
    client.put("/v1/collections/c", json={}, headers=bearer(ADMIN)).raise_for_status()
    return client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def status(client: httpx.Client, method: str, path: str, key: str | None, body: object = None) -> int:
    return client.request(method, path, json=body, headers=bearer(key) if key else {}).status_code


def test_without_a_key_everything_but_the_page_and_health_is_a_401(guarded: httpx.Client) -> None:
    for method, path in [("GET", "/v1/collections"), ("POST", "/v1/collections/c/search"), ("GET", "/metrics")]:
        response = guarded.request(method, path, json={"query": {"text": "a"}} if method == "POST" else None)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["type"] == "/problems/unauthorized"
    for path in ("/", "/healthz", "/readyz", "/openapi.json"):
        assert guarded.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "allowed"),
    [
        ("POST", "/v1/collections/c/search", {"query": {"text": "a"}}, {READER, ADMIN}),
        ("GET", "/v1/collections", None, {READER, ADMIN}),
        ("GET", "/metrics", None, {READER, ADMIN}),
        ("POST", "/v1/collections/c/documents", {"documents": [{"id": "1", "text": "a"}]}, {WRITER, ADMIN}),
        ("PUT", "/v1/collections/c", {}, {ADMIN}),
        ("DELETE", "/v1/collections/none", None, {ADMIN}),
    ],
)
def test_a_key_may_do_what_its_scopes_say(
    guarded: httpx.Client, method: str, path: str, body: object, allowed: set[str]
) -> None:
    for key in (READER, WRITER, ADMIN):
        answer = status(guarded, method, path, key, body)
        assert (answer == 403) == (key not in allowed), (key, answer)
        assert answer != 401


def test_both_headers_are_accepted_and_a_wrong_key_is_not(guarded: httpx.Client) -> None:
    assert guarded.get("/v1/collections", headers={"X-API-Key": READER}).status_code == 200
    assert guarded.get("/v1/collections", headers={"Authorization": f"bearer {READER}"}).status_code == 200
    for wrong in (READER[:-1].encode(), READER.encode() + b"x", "é".encode(), b"\xff", b""):
        assert guarded.get("/v1/collections", headers={b"X-API-Key": wrong}).status_code == 401


def test_the_key_is_checked_before_the_body_is_read(guarded: httpx.Client) -> None:
    response = guarded.post("/v1/collections/c/search", content=b"{not json", headers={"Content-Type": "text/x"})
    assert response.status_code == 401


def test_only_digests_are_kept() -> None:
    key = ApiKey.of(READER, "read")
    assert READER.encode() not in key.digest
    assert granted((key,), READER) is key
    assert granted((key,), None) is None


def test_a_key_file_gives_keys_and_scopes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# keys\n\n{READER}  read # the page\n{WRITER}\tread,write\n{ADMIN}\n")
    keys = load_api_keys(file)
    assert [sorted(key.scopes) for key in keys] == [["read"], ["read", "write"], ["admin"]]
    assert granted(keys, WRITER) is keys[1]


@pytest.mark.parametrize("text", ["", "# nothing\n", "short read\n", f"{READER} reed\n"])
def test_a_bad_key_file_is_refused_without_showing_a_key(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(KeyFileError) as caught:
        load_api_keys(file)
    assert str(file) in str(caught.value)
    assert READER not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_open_to_others_needs_a_key_or_insecure(host: str, tmp_path: Path) -> None:
    with pytest.raises(ServerAddressError, match="api-key-file"):
        secure(ServiceSettings(), host, None, insecure=False)
    assert secure(ServiceSettings(), host, None, insecure=True).allowed_hosts is None
    file = tmp_path / "keys"
    file.write_text(READER)
    assert secure(ServiceSettings(), host, file, insecure=False).api_keys


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_a_keyless_loopback_service_answers_only_to_its_own_name(host: str, serve) -> None:
    client = serve(secure(ServiceSettings(), host, None, insecure=False))
    assert client.get("/healthz", headers={"Host": "localhost:8080"}).status_code == 200
    response = client.get("/v1/collections", headers={"Host": "evil.example"})
    assert response.status_code == 403
    assert response.json()["type"] == "/problems/wrong-host"
