"""The collection view: figures, a document's vector, upload."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.browser.conftest import PATIENCE, until

Start = Callable[..., Any]


def test_the_collection_shows_what_it_holds(visit: Start) -> None:
    page = visit().open("/?c=recipes")
    page.get_by_role("link", name="Collection", exact=True).click()
    page.locator("#collection-view h1").wait_for()
    page.wait_for_load_state("networkidle")
    shown = page.locator("#collection-view").inner_text()
    for part in (
        "130",
        "bm25",
        "keyword[]",
        "Fused: default × 1, second × 1 (scaled)",
        "No search took longer",
        "searched exactly",
        "Bytes by kind",
    ):
        assert part in shown, part
    assert "object HTML" not in shown


def test_bytes_are_shown_by_kind_and_follow_an_upload(visit: Start, service: str) -> None:
    httpx.put(f"{service}/v1/collections/growing", json={"encoder": "bm25"}, timeout=PATIENCE).raise_for_status()
    page = visit().open("/?c=growing&view=collection")

    def shown() -> list[str]:
        return page.locator(".storage tr").all_inner_texts()

    before = shown()
    assert [one.split()[0] for one in before] == ["Catalog"]
    content = "\n".join(json.dumps({"id": str(n), "text": "lobster " * 200}) for n in range(1500)).encode()
    page.set_input_files("#upload-file", {"name": "u.jsonl", "mimeType": "application/x-ndjson", "buffer": content})
    page.get_by_role("button", name="Upload").click()
    page.get_by_text("Done: what was accepted").wait_for()
    until(page, "before => document.querySelector('.storage tr').innerText !== before", before[0])
    listed = page.locator("#collection-view").get_by_role("table", name="What the files hold")
    assert listed.get_by_role("row").count() == len(shown())


def test_the_curve_shows_the_operating_point_of_the_search(visit: Start, service: str) -> None:
    measured = httpx.get(f"{service}/v1/collections/measured/curve", timeout=PATIENCE).json()
    usual = measured["usual"]["10"]
    page = visit().open("/?c=measured&view=collection")
    assert page.locator(".curve circle.point").count() == 1
    assert page.locator(".curve circle:not(.point)").count() == len(measured["curves"]["10"])
    note = page.locator(".curve-note")
    percent = f"{100 * usual['recall']:.1f}".removesuffix(".0")
    assert f"Now: recall {percent} %" in note.inner_text()
    page.goto(page.url + "&recall=0.9")
    page.locator(".curve").wait_for()
    reached = next(point for point in measured["curves"]["10"] if point["floor"] >= 0.9)
    percent = f"{100 * reached['recall']:.1f}".removesuffix(".0")
    assert f"target 90 %: recall {percent} %" in note.inner_text()
    page.goto(page.url.replace("recall=0.9", "exact=1"))
    page.locator(".curve").wait_for()
    assert "exact search" in note.inner_text()
    assert page.locator(".curve circle.point").count() == 0


def test_a_documents_vector_is_shown_by_word(visit: Start) -> None:
    visited = visit()
    visited.expected = ("404",)
    page = visited.open("/?c=recipes&q=lobster")
    page.get_by_role("button", name="Whole vector").first.click()
    page.locator(".vector").first.wait_for()
    assert "Lobster" in page.locator(".vector th").all_inner_texts()
    page.fill("#vector-id", "nothing here")
    page.press("#vector-id", "Enter")
    page.get_by_text("There is no document of this id here.").wait_for()


def test_an_upload_names_the_refused_lines(visit: Start, service: str) -> None:
    httpx.put(
        f"{service}/v1/collections/uploads", json={"encoder": "bm25", "schema": {"year": "int"}}, timeout=PATIENCE
    ).raise_for_status()
    lines = [json.dumps({"id": f"u{n}", "text": "lobster " * 200, "metadata": {"year": n}}) for n in range(1500)]
    lines[3] = "{not json"
    lines[1400] = json.dumps({"id": "bad", "text": "x", "metadata": {"year": "never"}})
    content = "\n".join(lines).encode()
    visited = visit()
    page = visited.open("/?c=uploads&view=collection")
    seen = []
    page.on("request", lambda one: one.url.endswith("/documents") and seen.append(len(one.post_data_buffer)))
    page.set_input_files("#upload-file", {"name": "u.jsonl", "mimeType": "application/x-ndjson", "buffer": content})
    page.get_by_role("button", name="Upload").click()
    page.get_by_text("Done: what was accepted").wait_for()
    assert len(seen) > 3
    assert sum(seen) == len(content)
    text = page.locator(".upload-result").inner_text()
    assert "1,498 accepted, 2 refused" in text
    refused = page.locator(".refused li").all_inner_texts()
    assert [one.split(" ")[1] for one in refused] == ["4", "1,401"]
    assert httpx.get(f"{service}/v1/collections/uploads", timeout=PATIENCE).json()["documents"] == 1498
