"""A service started by `lsr serve`, for the tests of the client's optional modules with the real packages.

They run in an environment that has the client and those packages alone (`make clients`): elsewhere they are skipped.
The variable LSR names the command that starts the service.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lsr_client import Client
from lsr_client.errors import Unavailable, Unreachable

DISHES: list[dict[str, Any]] = [
    {"id": "d1", "title": "Roll", "text": "A lobster roll.", "metadata": {"year": 2019}},
    {"id": "d2", "text": "A lobster soup. " * 100, "metadata": {"year": 2021}},
]
READY_WITHIN = 900  # seconds; the first start compiles the kernels


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with one collection, `dishes`."""
    command = [os.environ.get("LSR", "lsr"), "serve", str(tmp_path_factory.mktemp("served")), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
        try:
            assert service.stdout is not None
            found = next(match for line in service.stdout if (match := re.search(r"http://[\w.:]+", line)))
            with Client(found.group()) as client:
                _create_when_ready(client)
                client.write("dishes", DISHES)
            yield found.group()
        finally:
            service.terminate()
            service.communicate(timeout=600)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A client of the service."""
    with Client(url) as client:
        yield client


@pytest.fixture
def new_collection(client: Client, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """A function that creates a collection, which is dropped after the test, and returns its name."""
    created: list[str] = []

    def create(**config: Any) -> str:
        name = re.sub(r"[^a-z0-9]+", "-", f"{request.node.name.lower()}-{len(created)}")[-60:].strip("-")
        client.create(name, {"encoder": "bm25", **config})
        created.append(name)
        return name

    yield create
    for name in created:
        client.drop(name)


def _create_when_ready(client: Client) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            client.create("dishes", {"encoder": "bm25", "schema": {"year": "int"}})
        except (Unavailable, Unreachable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return
