"""The page in a real browser: Debian's Chromium through Playwright, against a live service.

Without Chromium or Playwright these tests are skipped; so are those with axe-core where it is missing. `make browser`
installs what a machine with Chromium and npm lacks.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from index import IndexConfig
from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.store import CollectionStore
from lsr.vectors import VectorConfig
from service.auth import ApiKey
from service.server import running
from service.settings import ServiceSettings
from tests.unit.test_query_sample import topical_rows

CHROMIUM: Final = shutil.which("chromium")
AXE: Final = Path(__file__).parents[2] / ".browser" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE: Final = 600  # seconds to wait for anything: the machine may be busy
KEY: Final = "some-key-0123456789"

RLO, PDF = "\u202e", "\u202c"
HOSTILE: Final = [
    {
        "id": "<img src=x onerror=window.hacked=1>",
        "title": "<script>window.hacked = 1</script> lobster",
        "text": "lobster <b onmouseover='window.hacked=1'>bold</b> <svg/onload=window.hacked=1>",
        "metadata": {"link": "javascript:window.hacked=1", "tag": ["<i>tag</i>", "javascript:alert(1)"]},
    },
    {
        "id": "rtl",
        "title": f"{RLO}retsbol{PDF} lobster {RLO}",
        "text": f"סרטן lobster {RLO} not closed",
        "metadata": {"tag": [f"{RLO}gat"]},
    },
    {"id": "long-title", "title": "lobster " * 250, "text": "lobster"},
    {"id": "megabyte", "title": "Large", "text": "lobster " + "🦞 word " * 120_000},
    {"id": "javascript:window.hacked=1", "title": "", "text": "lobster \ud7ff \u2028 \u0007 control"},
]


def recipes() -> list[dict[str, Any]]:
    """Return 130 documents that all hold `soup`, with metadata of every type."""
    made = []
    for number in range(130):
        fish = number % 3 == 0
        what = "lobster and butter" if fish else "carrots"
        metadata = {
            "year": 1990 + number % 30,
            "tag": ["soup", "fish" if fish else "plants"],
            "kind": "fish" if fish else "plant",
            "hot": number % 2 == 0,
            "at": f"{1990 + number % 30}-05-01",
            "price": number / 10,
        }
        text = f"Soup with {what}. " + "A slow fire helps. " * (30 + number % 9)
        title = f"{'Lobster' if fish else 'Carrot'} soup number {number}"
        made.append({"id": f"r{number}", "title": title, "text": text, "metadata": metadata})
    return made


SCHEMA: Final = {"year": "int", "tag": "keyword[]", "kind": "keyword", "hot": "bool", "at": "date", "price": "float"}


def until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait until a JavaScript expression holds (Playwright's own waiting evaluates strings, which the page forbids)."""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"never: {expression}"
        page.wait_for_timeout(50)


def measured(folder: Path) -> None:
    """Write a collection whose approximate search has a measured curve, of 300 queries that were asked."""
    vectors = {"default": VectorConfig(None, index=IndexConfig(n_postings=60, exact_lists=False))}
    with Collection.create(folder, vectors=vectors) as collection:
        collection.keep_query_sample(True)
        documents = [{"default": SparseByToken(row)} for row in topical_rows(1500, 1, 40)]
        collection.write([Document(f"d{at}", vectors=vector) for at, vector in enumerate(documents)])
        collection.seal()
        for row in topical_rows(300, 2, 12):
            collection.search(SparseByToken(row))
        collection.wait_for_upkeep()
        collection.measure_recall()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the collections `recipes` (BM25, two lists), `hostile` and `measured`; returns the address."""
    folder = tmp_path_factory.mktemp("collections")
    measured(folder / "measured")
    with (
        CollectionStore(folder) as store,
        running(store) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        vectors = {"default": {"encoder": "bm25"}, "second": {"encoder": "bm25"}}
        search = {"queries": [{"using": "default"}, {"using": "second"}], "method": "scaled", "weights": [1, 1]}
        body = {"vectors": vectors, "schema": SCHEMA, "search": search}
        client.put("/v1/collections/recipes", json=body).raise_for_status()
        client.post("/v1/collections/recipes/documents", json={"documents": recipes()}).raise_for_status()
        body = {"encoder": "bm25", "schema": {"tag": "keyword[]"}}
        client.put("/v1/collections/hostile", json=body).raise_for_status()
        client.post("/v1/collections/hostile/documents", json={"documents": HOSTILE}).raise_for_status()
        yield url


@pytest.fixture(scope="session")
def pipeline(service: str) -> str:
    """The name of a collection with the default pipeline: lsr-mini, BM25, rescoring by a dense vector."""
    with httpx.Client(base_url=f"{service}/v1/collections", timeout=PATIENCE) as client:
        client.put("/pipeline", json={"encoder": "lsr-mini"}).raise_for_status()
        few = [{name: one[name] for name in ("id", "title")} for one in recipes()[:12]]
        client.post("/pipeline/documents", json={"documents": few}).raise_for_status()
    return "pipeline"


@pytest.fixture(scope="session")
def locked_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an empty folder that needs a key; returns the address."""
    settings = ServiceSettings(api_keys=(ApiKey.of(KEY), ApiKey.of("writer-0123456789", "write")))
    with CollectionStore(tmp_path_factory.mktemp("locked")) as store, running(store, settings) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium, or skip.

    For a module, not for the session: Playwright's event loop would still run when tests of other folders start theirs.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE * 1000)
        yield chromium
        chromium.close()


class Visit:
    """A page with what went wrong on it: errors of scripts and of the console, requests to other hosts, dialogs."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.troubles: list[str] = []
        self.expected: tuple[str, ...] = ()  # parts of messages that a test provokes
        page.on("console", lambda message: message.type in ("error", "warning") and self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", lambda dialog: (self.troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self._requested)

    def _requested(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.troubles.append(f"request to {request.url}")

    def open(self, address: str) -> Any:
        """Open an address of the page and wait until it has what it asked for."""
        self.page.goto(self.url + address)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def unexpected(self) -> list[str]:
        """Return the troubles that the test did not provoke."""
        return [one for one in self.troubles if not any(part in one for part in self.expected)]


@pytest.fixture
def visit(browser: Any, service: str) -> Iterator[Callable[..., Visit]]:
    """Return what opens pages; after the test none of them may have had a trouble."""
    visits: list[Visit] = []
    contexts: list[Any] = []

    def start(url: str = service, **options: Any) -> Visit:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        visits.append(Visit(context.new_page(), url))
        return visits[-1]

    yield start
    troubles = [one for visited in visits for one in visited.unexpected()]
    for context in contexts:
        context.close()
    assert troubles == []
