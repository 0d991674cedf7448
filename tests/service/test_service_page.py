"""The web page: served from this host only, and safe with untrusted data."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    links = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert links
    for link in links:
        assert link.startswith("/")
        assert client.get(link).status_code == 200
    assert not re.search(r"\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", response.text)


def test_data_never_becomes_markup() -> None:
    script = (files("service") / "static" / "page.js").read_text(encoding="utf-8")
    for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert danger not in script


def test_an_unchanged_file_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/static/page.js")
    again = client.get("/static/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert client.head("/static/page.js").status_code == 200
