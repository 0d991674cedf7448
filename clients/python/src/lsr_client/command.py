"""The command `lsr-client`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lsr_client.async_client import AsyncClient


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 2 for wrong arguments and 1 where a package is missing."""
    parser = argparse.ArgumentParser("lsr-client", description="Tools for a running lsr service.")
    commands = parser.add_subparsers(dest="command", required=True)
    mcp = commands.add_parser("mcp", help="offer a collection to a language model's agent (MCP)")
    mcp.add_argument("url", help="the service, such as http://localhost:8080")
    mcp.add_argument("--collection", required=True)
    mcp.add_argument("--api-key", default=os.environ.get("LSR_API_KEY"), help="default: the variable LSR_API_KEY")
    mcp.add_argument("--http", action="store_true", help="listen with streamable HTTP; default: stdio")
    mcp.add_argument("--host", default="127.0.0.1", help="where to listen with --http (default: %(default)s)")
    mcp.add_argument("--port", type=int, default=8090, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        from lsr_client.mcp_server import create_server
    except ModuleNotFoundError as error:
        sys.exit(f"lsr-client mcp needs the package {error.name}: pip install 'lsr-client[mcp]'")
    client = AsyncClient(options.url, options.api_key)
    server = create_server(client, options.collection)
    if options.http:
        server.run("streamable-http", host=options.host, port=options.port)
    else:
        server.run("stdio")


if __name__ == "__main__":
    main()
