"""`lsr mcp`: a collection as tools of a language model's agent (Model Context Protocol), straight from its folder.

The tools are those of `lsr-client mcp`, which offers a collection of a running service: same names, same arguments,
same answers. tests/service/test_cli_mcp.py compares them. The package `mcp` is the extra `lsr[mcp]`.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from lsr.collection import Collection

INSTALL: Final = "pip install 'lsr[mcp]'"
MAX_HITS: Final = 50
SNIPPET: Final = 600  # characters of a hit's text; fetch returns all of it
EXPLAINED_TERMS: Final = 12


def mcp(
    directory: Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")],
    http: Annotated[bool, typer.Option("--http", help="Listen with streamable HTTP; default: stdio.")] = False,
    host: Annotated[str, typer.Option(help="Address to bind to, with --http.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port, with --http.", metavar="N", min=1, max=65535)] = 8090,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow other machines; there are no keys.")] = False,
) -> int:
    """Offer a collection as tools of a language model's agent.

    The tools are search, fetch and explain. Over stdio the agent starts this command. With --http it is at
    http://ADDRESS:PORT/mcp until Ctrl-C.
    """
    from lsr.cli.arguments import one_collection
    from lsr.cli.output import say
    from lsr.collection import Collection
    from lsr.errors import LsrError

    if http and not insecure and not _is_loopback(host):
        raise typer.BadParameter(
            f"{host} is open to other machines, without a key; add --insecure", param_hint="--host"
        )
    try:
        from mcp.server import mcpserver  # noqa: F401
    except ModuleNotFoundError as error:
        missing = (error.name or "mcp").partition(".")[0]
        raise LsrError(f"lsr mcp needs the package {missing}: {INSTALL}") from None
    with Collection.open(one_collection(directory)) as collection:
        server = create_server(collection)
        if http:
            say(f"http://{host}:{port}/mcp")
            server.run("streamable-http", host=host, port=port)
        else:
            server.run("stdio")
    return 0


def create_server(collection: Collection) -> MCPServer:
    """Return the server of an open collection."""
    from anyio.to_thread import run_sync
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("lsr", instructions=f"Searches the collection {collection.name!r}.")

    @server.tool()
    async def search(query: str, k: int = 10, filter: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find documents about a question or topic. Returns ids, titles, scores and the beginning of each text.

        `filter` restricts the metadata, such as {"year": {"gte": 2020}}.
        """
        answer = await run_sync(_search, collection, query, k, filter, 0)
        return {
            "hits": [{**_hit(hit), "text": hit["text"][:SNIPPET]} for hit in answer["hits"]],
            "total": answer["total"],
            "warnings": answer["warnings"],
        }

    @server.tool()
    async def fetch(id: str) -> dict[str, Any]:
        """Return a document's whole title, text and metadata, by the id that search gave."""
        from service.messages.rendering import render_document

        document = await run_sync(collection.get, id)
        if document is None:
            raise ToolError(f"document-not-found: no document {id!r:.200} in the collection {collection.name!r}")
        return {name: value for name, value in render_document(document).items() if value is not None}

    @server.tool()
    async def explain(query: str, k: int = 3, filter: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show why documents are found for a query: what each list and each matched term adds to the score."""
        answer = await run_sync(_search, collection, query, k, filter, EXPLAINED_TERMS)
        return {
            "query_terms": [{"token": one["token"], "weight": one["weight"]} for one in answer["query"]["terms"]],
            "hits": [{**_hit(hit), "lists": [_without_null(leg) for leg in hit["legs"]]} for hit in answer["hits"]],
        }

    return server


def _search(
    collection: Collection, query: str, k: int, conditions: dict[str, Any] | None, terms: int
) -> dict[str, Any]:
    """Return the answer to a search as the HTTP API gives it; raises ToolError, whose words the agent reads."""
    from mcp.server.mcpserver.exceptions import ToolError

    from lsr.errors import EXPECTED_ERRORS
    from service.messages.rendering import Shown, render_search

    if not 1 <= k <= MAX_HITS:
        raise ToolError(f"k must be between 1 and {MAX_HITS}, not {k}")
    try:
        result = collection.search(query, k=k, filter=conditions or None, explain_terms=terms)
    except EXPECTED_ERRORS as error:
        raise ToolError(str(error)) from error
    shown = Shown(("metadata", "title", "text"), None, terms or None)
    return render_search(result, took_ms=result.timings.total, shown=shown, words=None)


def _hit(hit: dict[str, Any]) -> dict[str, Any]:
    return {"id": hit["id"], "title": hit["title"], "score": hit["score"], "metadata": hit["metadata"]}


def _without_null(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if value is not None}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
