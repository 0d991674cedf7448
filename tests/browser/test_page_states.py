"""What the page says when something is missing, and how to go on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.browser.conftest import KEY

Start = Callable[..., Any]


def test_a_key_is_asked_for_and_can_be_changed(visit: Start, locked_service: str) -> None:
    visited = visit(locked_service)
    visited.expected = ("401", "403")
    page = visited.open("/")
    assert page.locator("h1:visible").inner_text() == "This service needs an API key"
    page.fill("#key", "a-wrong-key-0123456789")
    page.press("#key", "Enter")
    page.get_by_role("heading", name="That key was not accepted").wait_for()
    page.fill("#key", "writer-0123456789")
    page.press("#key", "Enter")
    page.get_by_role("heading", name="Not allowed with this key").wait_for()
    page.get_by_role("button", name="Use another API key").click()
    page.fill("#key", KEY)
    page.press("#key", "Enter")
    page.get_by_role("heading", name="No collection yet").wait_for()
    page.get_by_role("button", name="API key", exact=True).click()
    assert page.locator("#key").is_visible()


def test_no_hits_say_what_to_do(visit: Start) -> None:
    page = visit().open("/?c=recipes&q=xylophone")
    page.get_by_role("heading", name="No hits").wait_for()
    filtered = json.dumps({"year": {"gte": 3000}})
    page.goto(page.url.replace("xylophone", "soup") + f"&filter={filtered}")
    page.get_by_role("heading", name="No hits").wait_for()
    page.get_by_role("button", name="Search without filters").click()
    page.locator(".hit").first.wait_for()


def test_every_term_switched_off_is_said(visit: Start) -> None:
    page = visit().open("/?c=recipes&q=soup&terms=" + json.dumps({"default": {"soup": 0}, "second": {"soup": 0}}))
    page.get_by_role("heading", name="Every term is switched off").wait_for()
    page.get_by_role("button", name="Undo changes of terms").first.click()
    page.locator(".hit").first.wait_for()


def test_an_unknown_collection_names_those_there_are(visit: Start) -> None:
    visited = visit()
    visited.expected = ("404",)
    page = visited.open("/?c=nowhere&q=soup")
    page.get_by_role("heading", name="No such collection").wait_for()
    page.locator("#message").get_by_role("button", name="recipes").click()
    page.locator("#start h1").wait_for()


def test_a_broken_address_is_no_dead_end(visit: Start) -> None:
    visited = visit()
    visited.expected = ("422",)
    page = visited.open('/?c=recipes&q=soup&filter={"colour":{"in":["red"]}}&terms=[[&legs=7&rescore=x')
    page.get_by_role("button", name="Search without filters and changed terms").click()
    page.locator(".hit").first.wait_for()


def test_a_service_that_is_gone_is_tried_again(visit: Start) -> None:
    visited = visit()
    visited.expected = ("ERR_FAILED",)
    page = visited.open("/?c=recipes")
    page.route("**/v1/**", lambda route: route.abort())
    page.fill("#q", "soup")
    page.press("#q", "Enter")
    page.get_by_role("heading", name="The service does not answer").wait_for()
    page.unroute("**/v1/**")
    page.get_by_role("button", name="Try again").click()
    page.locator(".hit").first.wait_for()


def test_a_service_that_starts_is_waited_for(visit: Start) -> None:
    visited = visit()
    visited.expected = ("503",)
    problem = json.dumps(
        {"type": "/problems/not-ready", "title": "Not ready", "status": 503, "detail": "it is starting"}
    )
    visited.page.route(
        "**/v1/**",
        lambda route: route.fulfill(
            status=503, body=problem, content_type="application/problem+json", headers={"Retry-After": "1"}
        ),
    )
    page = visited.open("/?c=recipes&q=soup")
    page.get_by_role("heading", name="The service is starting").wait_for()
    page.unroute("**/v1/**")
    page.locator(".hit").first.wait_for()
