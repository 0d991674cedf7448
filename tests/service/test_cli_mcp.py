"""`lsr mcp` with the real package, over stdio and HTTP, next to the client's server for the same collection."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="mcp is not installed")

from lsr_client import AsyncClient
from lsr_client.mcp_server import create_server as create_client_server
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from lsr.cli.running import run
from tests.conftest import interruptible

LSR = [sys.executable, "-m", "lsr"]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("search", {"query": "lobster", "k": 2, "filter": {"year": {"gte": 2020}}}),
    ("search", {"query": "nothing of the kind"}),
    ("fetch", {"id": "a/b c?"}),
    ("explain", {"query": "lobster roll"}),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("search", {"query": "lobster", "k": 51}, "k must be between 1 and 50"),
    ("search", {"query": "lobster", "filter": {"colour": 1}}, "no field 'colour'"),
    ("fetch", {"id": "none"}, "document-not-found"),
]


@pytest.fixture(scope="module")
def served(serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The URL of a service and the folder of its collection: the command reads what the service writes."""
    from tests.service.conftest import DISHES

    folder = tmp_path_factory.mktemp("mcp")
    client = serve(folder=folder)
    schema = {"year": "int", "tag": "keyword[]"}
    client.put("/v1/collections/dishes", json={"encoder": "bm25", "schema": schema}).raise_for_status()
    client.post("/v1/collections/dishes/documents", json={"documents": DISHES}).raise_for_status()
    return str(client.base_url), folder / "dishes"


@asynccontextmanager
async def over_stdio(folder: Path) -> AsyncIterator[ClientSession]:
    parameters = StdioServerParameters(command=LSR[0], args=[*LSR[1:], "mcp", str(folder)], env=dict(os.environ))
    async with stdio_client(parameters) as (reads, writes), ClientSession(reads, writes) as session:
        await session.initialize()
        yield session


async def use(session: ClientSession) -> dict[str, Any]:
    """Return what the tools are and what each call answers."""
    tools = (await session.list_tools()).tools
    answers = [await session.call_tool(name, arguments) for name, arguments in CALLS]
    refused = [await session.call_tool(name, arguments) for name, arguments, _ in REFUSED]
    return {
        "tools": {one.name: (one.description, one.input_schema) for one in tools},
        "answers": [json.loads(one.content[0].text) for one in answers],
        "refused": [(one.is_error, one.content[0].text) for one in refused],
    }


def test_over_stdio_it_answers_as_the_clients_server_does(served: tuple[str, Path]) -> None:
    url, folder = served

    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        async with over_stdio(folder) as session:
            ours = await use(session)
        async with AsyncClient(url) as client:
            server = create_client_server(client, "dishes")
            tools = await server.list_tools()
            answers = [await server.call_tool(name, arguments) for name, arguments in CALLS]
        return ours, {
            "tools": {one.name: (one.description, one.input_schema) for one in tools},
            "answers": [json.loads(one.content[0].text) for one in answers],
        }

    ours, theirs = asyncio.run(both())
    assert ours["tools"] == theirs["tools"]
    assert set(ours["tools"]) == {"search", "fetch", "explain"}
    assert ours["answers"] == theirs["answers"]
    found, _, fetched, explained = ours["answers"]
    assert [hit["id"] for hit in found["hits"]] == ["a/b c?", "d2"]
    assert fetched["title"] == "Odd id"
    best = explained["hits"][0]
    assert sum(one["contribution"] for one in best["lists"]) == pytest.approx(best["score"], rel=1e-5)
    for (failed, text), (_, _, words) in zip(ours["refused"], REFUSED, strict=True):
        assert failed
        assert words in text


@pytest.fixture
def listening(served: tuple[str, Path]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*LSR, "mcp", str(served[1]), "--http", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=interruptible) as process:
        deadline = time.monotonic() + 240
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()
        process.wait(60)


def test_over_http_it_answers_too(listening: str) -> None:
    async def ask() -> dict[str, Any]:
        async with streamable_http_client(listening) as (reads, writes, *_), ClientSession(reads, writes) as session:
            await session.initialize()
            return await use(session)

    assert [hit["id"] for hit in asyncio.run(ask())["answers"][0]["hits"]] == ["a/b c?", "d2"]


def test_an_address_that_others_reach_is_refused(served: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mcp", str(served[1]), "--http", "--host", "0.0.0.0"]) == 2
    assert "--insecure" in capsys.readouterr().err


def test_without_the_package_the_message_says_what_to_install(
    served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [one for one in sys.modules if one == "mcp" or one.startswith("mcp.")] + ["mcp"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert run(["mcp", str(served[1])]) == 1
    assert "lsr mcp needs the package mcp: pip install 'lsr[mcp]'" in capsys.readouterr().err
