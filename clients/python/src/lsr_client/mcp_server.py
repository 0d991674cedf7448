"""A collection as tools of a language model's agent (Model Context Protocol): search, fetch, explain."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from lsr_client.async_client import AsyncClient
from lsr_client.errors import LsrError
from lsr_client.models import Hit, SearchAnswer

MAX_HITS = 50
SNIPPET = 600  # characters of a hit's text; fetch returns all of it


def create_server(client: AsyncClient, collection: str) -> MCPServer:
    """Return the server for one collection."""
    server = MCPServer("lsr", instructions=f"Searches the collection {collection!r}.")

    @server.tool()
    async def search(query: str, k: int = 10, filter: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find documents about a question or topic. Returns ids, titles, scores and the beginning of each text.

        `filter` restricts the metadata, such as {"year": {"gte": 2020}}.
        """
        answer = await _search(client, collection, query, k, filter)
        return {
            "hits": [{**_hit(hit), "text": (hit.text or "")[:SNIPPET]} for hit in answer.hits],
            "total": answer.total.model_dump(),
            "warnings": answer.warnings,
        }

    @server.tool()
    async def fetch(id: str) -> dict[str, Any]:
        """Return a document's whole title, text and metadata, by the id that search gave."""
        try:
            return (await client.get(collection, id)).model_dump(exclude_none=True)
        except LsrError as error:
            raise ToolError(str(error)) from error

    @server.tool()
    async def explain(query: str, k: int = 3, filter: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show why documents are found for a query: what each list and each matched term adds to the score."""
        answer = await _search(client, collection, query, k, filter, explain={"max_terms": 12})
        legs = {hit.id: [leg.model_dump(exclude_none=True) for leg in hit.legs] for hit in answer.hits}
        return {
            "query_terms": [{"token": term.token, "weight": term.weight} for term in answer.query.terms],
            "hits": [{**_hit(hit), "lists": legs[hit.id]} for hit in answer.hits],
        }

    return server


async def _search(
    client: AsyncClient, collection: str, query: str, k: int, filter: dict[str, Any] | None, **options: Any
) -> SearchAnswer:
    if not 1 <= k <= MAX_HITS:
        raise ToolError(f"k must be between 1 and {MAX_HITS}, not {k}")
    if filter:
        options["filter"] = filter
    try:
        return await client.search(collection, query, k=k, **options)
    except LsrError as error:
        raise ToolError(str(error)) from error


def _hit(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, "title": hit.title, "score": hit.score, "metadata": hit.metadata}
