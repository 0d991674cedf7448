"""A live service on a real socket, with real collections, for all tests in this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from lsr.store import CollectionStore
from service.server import running
from service.settings import ServiceSettings

DISHES = [
    {
        "id": "d1",
        "title": "Lobster roll",
        "text": "A lobster roll with butter.",
        "metadata": {"year": 2019, "tag": ["food"]},
    },
    {
        "id": "d2",
        "title": "Clam chowder",
        "text": "Soup of clams, and rarely a lobster.",
        "metadata": {"year": 2021, "tag": ["food", "soup"]},
    },
    {
        "id": "d3",
        "title": "",
        "text": "Rolling hills and a long road.",
        "metadata": {"year": 2020, "tag": ["travel"]},
    },
    {
        "id": "a/b c?",
        "title": "Odd id",
        "text": "Lobsters, lobsters, lobsters — 🦞 lobster!",
        "metadata": {"year": 2022},
    },
]

Serve = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start a service with the given settings; returns a client. All are stopped after the module."""
    with ExitStack() as stack:

        def start(settings: ServiceSettings | None = None, folder: Path | None = None) -> httpx.Client:
            folder = folder or tmp_path_factory.mktemp("collections")
            store = stack.enter_context(CollectionStore(folder))
            url = stack.enter_context(running(store, settings))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30))

        yield start


@pytest.fixture(scope="module")
def client(serve: Serve) -> httpx.Client:
    """A client of a service with the collection `dishes`."""
    client = serve()
    schema = {"year": "int", "tag": "keyword[]"}
    client.put("/v1/collections/dishes", json={"encoder": "bm25", "schema": schema}).raise_for_status()
    client.post("/v1/collections/dishes/documents", json={"documents": DISHES}).raise_for_status()
    return client
