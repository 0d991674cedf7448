"""Hostile documents stay text; every view is accessible, on a phone too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import AXE

Start = Callable[..., Any]

VIEWS = {
    "start": "/?c=recipes",
    "hits": "/?c=recipes&q=lobster+soup&compare=1",
    "changed": '/?c=recipes&q=lobster+soup&terms={"default":{"lobster":0}}&filter={"kind":{"in":["fish"]}}&prf=1',
    "hostile": "/?c=hostile&q=lobster",
    "nothing": "/?c=recipes&q=xylophone",
    "collection": "/?c=recipes&view=collection&doc=r3",
    "measured": "/?c=measured&view=collection&doc=d3",
}


def test_hostile_documents_stay_text(visit: Start) -> None:
    page = visit().open("/?c=hostile&q=lobster")
    assert page.locator(".hit").count() == 5
    shown = page.locator("#hits").inner_text()
    for part in (
        "<script>window.hacked = 1</script>",
        "<img src=x onerror=window.hacked=1>",
        "<i>tag</i>",
        "javascript:window.hacked=1",
    ):
        assert part in shown
    assert page.locator("#hits").locator("a, img, script, svg, iframe, i").count() == 0
    page.locator(".hit .value", has_text="javascript:alert(1)").click()
    page.locator(".pill").wait_for()
    page.hover(".hit .text")
    page.get_by_role("button", name="Whole vector").click()
    page.locator(".vector").first.wait_for()
    assert page.evaluate("window.hacked") is None


def test_control_characters_of_a_title_end_with_it(visit: Start) -> None:
    page = visit().open("/?c=hostile&q=lobster")
    hit = page.locator(".hit", has_text="rtl")
    for node in hit.locator(".title, .value bdi, .text").all():
        assert node.evaluate("node => getComputedStyle(node).unicodeBidi") == "isolate"
    assert hit.locator(".text").evaluate("node => getComputedStyle(node).direction") == "rtl"


def test_long_texts_are_folded(visit: Start) -> None:
    page = visit().open("/?c=hostile&q=lobster")
    title = page.locator(".hit", has_text="long-title").locator("h2")
    assert title.bounding_box()["height"] < 100
    hit = page.locator(".hit", has_text="megabyte")
    assert len(hit.locator(".text").inner_text()) < 500
    hit.get_by_role("button", name="Whole text").click()
    assert hit.locator(".text").evaluate("node => node.textContent.length") > 50_000
    assert hit.locator(".text").evaluate("node => node.textContent.length") < 50_100
    hit.get_by_role("button", name="more characters").click()
    assert hit.locator(".text").evaluate("node => node.textContent.length") > 100_000
    assert hit.locator(".text").bounding_box()["height"] <= 0.6 * 900 + 1


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone(visit: Start, view: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True).open(VIEWS[view])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if view == "hits":
        assert not page.locator(".leg").first.is_visible()
        page.locator(".why summary").first.tap()
        assert page.locator(".leg").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_violation(visit: Start, view: str, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make browser")
    page = visit(color_scheme=scheme, reduced_motion="reduce").open(VIEWS[view])
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    assert [(one["id"], [node["html"][:150] for node in one["nodes"]][:4]) for one in found] == []
