"""Searching with the page: what a reader does with mouse and keyboard, and what comes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.browser.conftest import PATIENCE, until

Start = Callable[..., Any]


def titles(page: Any) -> list[str]:
    return page.locator(".hit .title").all_inner_texts()


def asked(page: Any) -> dict[str, list[str]]:
    """Return the search in the address."""
    return parse_qs(urlsplit(page.url).query)


def search(visit: Start, address: str = "/?c=recipes&q=lobster+soup") -> Any:
    page = visit().open(address)
    page.locator(".hit").first.wait_for()
    return page


def test_a_search_shows_hits_with_their_reasons(visit: Start) -> None:
    page = visit().open("/?c=recipes")
    page.fill("#q", "lobster")
    page.press("#q", "Enter")
    page.locator(".hit").first.wait_for()
    assert len(titles(page)) == 10
    assert all("Lobster" in one for one in titles(page))
    assert page.locator("h1:visible").inner_text() == "lobster"
    first = page.locator(".hit").first
    assert first.locator("mark").first.inner_text().lower() == "lobster"
    assert [one.strip() for one in first.locator(".leg-head .name").all_inner_texts()] == ["default", "second"]
    assert first.locator(".leg tr th").first.inner_text().lower() == "lobster"
    assert "44 documents" in page.locator("#summary").inner_text()
    assert "search" in page.locator(".timing .steps").inner_text()
    assert asked(page)["q"] == ["lobster"]


def test_a_chip_switched_off_repeats_the_search_without_its_term(visit: Start) -> None:
    page = search(visit)
    assert "Lobster" in titles(page)[0]
    with page.expect_request(lambda one: "sparse" in (one.post_data or "")) as sent:
        for at in range(2):
            page.locator(".chips").nth(at).get_by_role("button", name="lobster", exact=True).click()
            page.locator(".chips").nth(at).locator(".chip.off").wait_for()
    assert "lobster" not in json.loads(sent.value.post_data)["query"]["fusion"]["queries"][0]["sparse"]
    until(page, "document.querySelectorAll('.chip.off').length === 2")
    page.wait_for_load_state("networkidle")
    assert "Carrot" in "".join(titles(page))
    assert json.loads(asked(page)["terms"][0]) == {"default": {"lobster": 0}, "second": {"lobster": 0}}
    page.get_by_role("button", name="Undo changes of terms").click()
    until(page, "document.querySelectorAll('.chip.off').length === 0")
    page.wait_for_load_state("networkidle")
    assert "Lobster" in titles(page)[0]


def test_terms_of_each_origin_have_a_colour_of_their_own(visit: Start) -> None:
    visited = visit()

    def with_expansion(route: Any) -> None:
        answered = route.fetch()
        answer = answered.json()
        added = answer["query"]["terms"][0] | {"token": "crustacean", "origin": "expansion", "weight": 0.5}
        answer["query"]["terms"].append(added)
        route.fulfill(response=answered, json=answer)

    visited.page.route("**/search", with_expansion)  # BM25 itself adds nothing to a query
    page = visited.open("/?c=recipes&q=lobster&prf=1")
    page.locator(".chip.prf").first.wait_for()
    colours = {
        origin: page.locator(f".chip.{origin}")
        .first.locator("button")
        .evaluate("node => getComputedStyle(node).color + getComputedStyle(node.parentNode).backgroundColor")
        for origin in ("input", "expansion", "prf")
    }
    assert len(set(colours.values())) == 3
    said = page.locator(".legend").inner_text()
    assert all(one in said for one in ("from your query", "added by the encoder", "added from the first hits"))


def test_lists_of_the_fusion_and_rescoring_are_switched(visit: Start, pipeline: str) -> None:
    page = search(visit, f"/?c={pipeline}&q=lobster+soup")
    legs = page.locator(".hit").first.locator(".leg-head .name")
    assert sorted(one.strip() for one in legs.all_inner_texts()) == ["bm25", "default", "meaning"]
    page.get_by_text("Ranking", exact=True).click()
    with page.expect_request(lambda one: '"rescore":false' in (one.post_data or "")):
        page.get_by_role("checkbox", name="by meaning").uncheck()
    until(page, "document.querySelectorAll('.hit')[0].querySelectorAll('.leg-head').length === 2")
    assert asked(page)["rescore"] == ["0"]
    page.get_by_role("checkbox", name="bm25").uncheck()
    until(page, "document.querySelectorAll('.hit')[0].querySelectorAll('.leg-head').length === 1")
    assert json.loads(asked(page)["legs"][0]) == {"default": 1, "bm25": 0}
    page.get_by_role("button", name="Back to the collection's defaults").click()
    until(page, "document.querySelectorAll('.hit')[0].querySelectorAll('.leg-head').length === 3")


def test_a_new_weight_is_searched_with(visit: Start) -> None:
    page = search(visit)
    weight = page.get_by_label("Weight of soup").first
    with page.expect_request(lambda one: one.url.endswith("/search") and "sparse" in (one.post_data or "")) as sent:
        weight.fill("9")
        weight.press("Tab")
    queries = json.loads(sent.value.post_data)["query"]["fusion"]["queries"]
    assert queries[0]["sparse"]["soup"] == 9
    assert queries[1] == {"using": "second", "text": "lobster soup"}


def test_a_facet_narrows_and_the_back_button_returns(visit: Start) -> None:
    page = search(visit, "/?c=recipes&q=soup")
    assert "130 documents" in page.locator("#summary").inner_text()
    page.get_by_role("checkbox", name="plants").check()
    page.locator(".pill").wait_for()
    assert "86 documents" in page.locator("#summary").inner_text()
    # The other values keep their counts: they say what else could be chosen.
    assert "44" in page.locator(".facet", has_text="fish").first.inner_text()
    page.go_back()
    page.locator(".pill").wait_for(state="detached")
    until(page, "document.querySelector('#summary').textContent.includes('130')")
    page.go_forward()
    page.locator(".pill").wait_for()
    assert page.get_by_role("checkbox", name="plants").is_checked()


def test_ranges_dates_and_metadata_narrow(visit: Start) -> None:
    page = search(visit, "/?c=recipes&q=soup")
    page.locator(".facet", has_text="year").locator(".column:enabled").first.click()
    page.locator(".pill").wait_for()
    assert json.loads(asked(page)["filter"][0]) == {"year": {"gte": 1990, "lte": 1992}}
    page.locator(".pill").click()
    page.locator(".pill").wait_for(state="detached")
    page.get_by_label("at from").fill("2015-01-01")
    page.get_by_label("at from").press("Enter")
    page.locator(".pill").wait_for()
    assert "20 documents" in page.locator("#summary").inner_text()
    page.locator(".hit .value", has_text="fish").first.click()
    until(page, "document.querySelectorAll('.pill').length >= 2")
    assert all("Lobster" in one for one in titles(page))


def test_the_address_holds_the_whole_search(visit: Start) -> None:
    page = search(visit)
    page.get_by_text("Ranking", exact=True).click()
    page.get_by_label("Exact search", exact=True).check()
    until(page, "location.search.includes('exact=1')")
    page.get_by_label("Weight of second").fill("3")
    until(page, "location.search.includes('legs=')")
    page.get_by_label("Fusion by").select_option("rrf")
    until(page, "location.search.includes('method=rrf')")
    page.get_by_role("checkbox", name="plants").check()
    page.locator(".pill").wait_for()
    page.wait_for_load_state("networkidle")
    shared = search(visit, page.url.removeprefix(f"{urlsplit(page.url).scheme}://{urlsplit(page.url).netloc}"))
    assert titles(shared) == titles(page)
    assert shared.get_by_role("checkbox", name="plants").is_checked()
    shared.get_by_text("Ranking", exact=True).click()
    assert shared.get_by_label("Exact search", exact=True).is_checked()
    assert shared.get_by_label("Weight of second").input_value() == "3"
    assert shared.get_by_label("Fusion by").input_value() == "rrf"


def test_exact_and_approximate_are_compared(visit: Start) -> None:
    page = search(visit, "/?c=recipes&q=lobster&compare=1")
    assert "10 of 10 hits" in page.locator("#compared").inner_text()


def test_suggestions_are_chosen_by_keyboard(visit: Start) -> None:
    page = visit().open("/?c=recipes")
    page.locator("#q").press_sequentially("carr")
    page.locator("#suggestions li").first.wait_for()
    page.press("#q", "ArrowDown")
    first = page.locator("#suggestions [aria-selected=true]")
    assert page.get_attribute("#q", "aria-activedescendant") == first.get_attribute("id")
    chosen = first.locator(".suggested").inner_text()
    page.press("#q", "Enter")
    page.locator(".hit").first.wait_for()
    assert page.input_value("#q") == chosen == "carrot"


def test_an_example_query_is_a_title_of_the_collection(visit: Start) -> None:
    page = visit().open("/?c=recipes")
    example = page.locator("#examples .example").first
    text = example.inner_text()
    example.click()
    page.locator(".hit").first.wait_for()
    assert text in titles(page)


def test_everything_works_by_keyboard_alone(visit: Start) -> None:
    page = visit().open("/?c=recipes")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("butter fire lobster")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.locator(".hit").first.wait_for()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.matches('#hits > li:first-child .hit')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.matches('#hits > li:nth-child(2) .hit')")
    page.evaluate("document.querySelector('.whole').closest('.hit').focus()")
    page.keyboard.press("Enter")
    assert page.locator(".text.open").count() == 1
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Tab")  # the search button
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.chip-name-button')"):
            break
    page.keyboard.press("Space")
    page.locator(".chip.off").wait_for()


def test_more_hits_are_pages_of_one_list(visit: Start) -> None:
    page = search(visit, "/?c=recipes&q=soup&legs=%7B%22default%22%3A1%7D")
    bodies: list[dict[str, Any]] = []
    page.on("request", lambda one: one.post_data and bodies.append(json.loads(one.post_data)))
    while page.locator("#more").is_visible():
        count = page.locator(".hit").count()
        page.click("#more")
        until(page, "before => document.querySelectorAll('.hit').length > before", count)
        assert page.evaluate("document.activeElement.matches('.hit')")
    assert page.locator(".hit").count() == 130
    assert len(set(titles(page))) == 130
    assert len(bodies) == 12
    assert all(isinstance(body["cursor"], str) and body["k"] == 10 for body in bodies)


def test_more_like_this_groups_and_order(visit: Start) -> None:
    page = search(visit)
    first = titles(page)[0]
    page.get_by_role("button", name="More like this").first.click()
    until(page, "document.querySelector('#results-title').textContent.startsWith('Like')")
    assert first not in titles(page)
    page.get_by_text("Ranking", exact=True).click()
    page.get_by_label("One hit per").select_option("kind")
    until(page, "document.querySelectorAll('.hit').length === 2")
    assert page.locator(".group").first.is_visible()
    page.get_by_label("One hit per").select_option("")
    page.get_by_label("Ordered by").select_option("desc:price")
    dearest = next(one for one in ("Lobster soup number 129", "Carrot soup number 128") if one != first)
    until(page, "title => document.querySelector('.hit .title').textContent === title", dearest)


def test_reasons_fold_and_unfold_by_mouse_and_keyboard(visit: Start) -> None:
    page = search(visit)
    table = page.locator(".hit .leg").first
    summary = page.locator(".hit .why summary").first
    for act in (summary.click, summary.click, lambda: summary.press("Enter"), lambda: summary.press("Enter")):
        before = table.is_visible()
        act()
        assert table.is_visible() != before


def test_a_search_is_copied_and_what_is_copied_runs(visit: Start, service: str) -> None:
    address = "/?c=recipes&q=it%27s+lobster+soup%22+%5C+%F0%9F%A6%9E&terms=%7B%22default%22%3A%7B%22soup%22%3A2.5%7D%7D"
    page = visit(permissions=["clipboard-read", "clipboard-write"]).open(address)
    page.locator(".hit").first.wait_for()
    shown = [one.removeprefix("id ") for one in page.locator(".field.id").all_inner_texts()]
    copied = {}
    for kind in ("curl", "Python", "JSON"):
        page.get_by_role("button", name=kind, exact=True).click()
        page.get_by_role("button", name="Copied").wait_for()
        copied[kind] = page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name=kind, exact=True).wait_for()
    body = json.loads(copied["JSON"])
    assert body["query"]["fusion"]["queries"][1]["text"] == "it's lobster soup\" \\ 🦞"
    answers = [httpx.post(f"{service}/v1/collections/recipes/search", json=body, timeout=PATIENCE).json()]
    answers.append(json.loads(ran(["sh", "-c", copied["curl"]])))
    for answer in answers:
        assert [hit["id"] for hit in answer["hits"]] == shown
    printed = ran([sys.executable, "-"], copied["Python"]).splitlines()
    assert [line.split()[1] for line in printed] == shown


def ran(command: list[str], given: str = "") -> str:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout


def test_a_recall_target_is_part_of_the_search_and_of_the_address(visit: Start) -> None:
    page = search(visit)
    page.get_by_text("Ranking", exact=True).click()
    with page.expect_request(lambda one: "recall" in (one.post_data or "")) as sent:
        page.get_by_label("Recall target").select_option("0.95")
    assert json.loads(sent.value.post_data)["params"] == {"recall": 0.95}
    assert asked(page)["recall"] == ["0.95"]
    page.get_by_label("Exact search", exact=True).check()
    until(page, "[...document.querySelectorAll('#ranking select')].some(one => one.disabled)")
    assert page.get_by_label("Recall target").is_disabled()


def test_pieces_of_unknown_words_are_folded_and_flagged(visit: Start) -> None:
    page = visit().open("/")
    terms = [
        {"token": token, "weight": 1, "origin": "input", "using": "default"} for token in ("z", "##zq", "##x", "heat")
    ]
    folded = page.evaluate(
        """async terms => (await import('/static/words.js')).foldedTerms(terms, 'zzqx heat')
          .map(one => [one.label, one.whole])""",
        terms,
    )
    assert sorted(folded) == [["heat", True], ["zzqx", False]]
    strengths = page.evaluate(
        """async terms => {
          const strength = (await import('/static/words.js')).strengthOf(terms, 'zzqx heat');
          const hit = (token, word) => ({ legs: [{ using: 'default', matched: [{ token }], words: [{ word }] }] });
          return [hit('##zq', 'puzzqle'), hit('heat', 'heat'), hit('##zq', 'zzqx')].map(strength);
        }""",
        terms,
    )
    assert strengths == ["weak", "", ""]
