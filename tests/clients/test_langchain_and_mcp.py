"""LangChain and the MCP server with the real packages, against a service (see serving.py)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="mcp is not installed")
pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.documents import Document
from lsr_client import Client
from lsr_client.langchain import LsrStore
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

pytest_plugins = ["serving"]


def test_langchain_adds_finds_and_deletes(url: str) -> None:
    with Client(url) as client:
        store = LsrStore(client, "dishes")
        ids = store.add_documents(
            [Document("Crab cakes from Maine", metadata={"year": 2020, "title": "Cakes"})], ids=["c"]
        )
        assert ids == ["c"]
        (made,) = store.add_texts(["Crab salad"], [{"year": 2022}])
        found = store.as_retriever(k=5, filter={"year": {"lt": 2022}}).invoke("crab")
        assert [(one.id, one.page_content, one.metadata["title"]) for one in found] == [
            ("c", "Crab cakes from Maine", "Cakes")
        ]
        with_scores = store.similarity_search_with_score("crab", k=2)
        assert {one.id for one, _ in with_scores} == {"c", made}
        assert with_scores[0][1] >= with_scores[1][1] > 0
        again = store.add_documents(found)  # what was found can be written again
        assert again == ["c"]
        with pytest.raises(ValueError, match="invalid_metadata"):
            store.add_texts(["x"], [{"year": "not a number"}])
        assert store.delete(["c", made])
        assert not store.delete(["c"])


def test_an_agent_searches_fetches_and_explains(url: str) -> None:
    async def use() -> dict[str, Any]:
        command = ["-m", "lsr_client.command", "mcp", url, "--collection", "dishes"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        parameters = StdioServerParameters(command=sys.executable, args=command, env=environment)
        results: dict[str, Any] = {}
        async with stdio_client(parameters) as (reads, writes), ClientSession(reads, writes) as session:
            await session.initialize()
            results["tools"] = sorted(tool.name for tool in (await session.list_tools()).tools)
            for name, arguments in (
                ("search", {"query": "lobster", "k": 1, "filter": {"year": {"gte": 2020}}}),
                ("fetch", {"id": "d2"}),
                ("explain", {"query": "lobster roll"}),
                ("wrong", {"query": "lobster", "k": 0}),
                ("missing", {"id": "none"}),
            ):
                tool = {"wrong": "search", "missing": "fetch"}.get(name, name)
                results[name] = await session.call_tool(tool, arguments)
        return results

    results = asyncio.run(use())
    assert results["tools"] == ["explain", "fetch", "search"]
    found = json.loads(results["search"].content[0].text)
    assert [hit["id"] for hit in found["hits"]] == ["d2"]
    assert len(found["hits"][0]["text"]) == 600
    assert len(json.loads(results["fetch"].content[0].text)["text"]) > 1500
    explained = json.loads(results["explain"].content[0].text)
    best = explained["hits"][0]
    assert best["id"] == "d1"
    assert {term["token"] for term in best["lists"][0]["matched"]} == {"lobster", "roll"}
    assert sum(one["contribution"] for one in best["lists"]) == pytest.approx(best["score"], rel=1e-5)
    assert results["wrong"].is_error
    assert "k must be between 1 and 50" in results["wrong"].content[0].text
    assert results["missing"].is_error
    assert "404 document-not-found" in results["missing"].content[0].text


def test_wrong_arguments_of_the_command_are_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lsr_client.command", "mcp"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "url, --collection" in done.stderr
