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
        if link == "#main":  # the way past the header, on this page
            continue
        assert link.startswith("/")
        assert client.get(link).status_code == 200
    assert not re.search(r"\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", response.text)


def test_data_never_becomes_markup() -> None:
    scripts = [file for file in (files("service") / "static").iterdir() if file.name.endswith(".js")]
    assert len(scripts) > 10
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        for danger in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "setHTML",
            "srcdoc",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "createContextualFragment",
        ):
            assert danger not in text, (script.name, danger)


def test_every_module_is_served_and_imports_only_modules_of_the_page(client: httpx.Client) -> None:
    wanted = {"page.js"}
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        response = client.get(f"/static/{name}")
        assert response.status_code == 200, name
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        for imported in re.findall(r'from "([^"]+)"', response.text):
            assert imported.startswith("./"), (name, imported)
            if imported.removeprefix("./") not in seen:
                wanted.add(imported.removeprefix("./"))
    stored = {file.name for file in (files("service") / "static").iterdir() if file.name.endswith(".js")}
    assert seen == stored


def test_an_unchanged_file_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/static/page.js")
    again = client.get("/static/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert client.head("/static/page.js").status_code == 200
