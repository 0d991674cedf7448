"""`lsr serve`: collections over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    directory: Annotated[Path, typer.Argument(help="A collection, or a folder of collections.", metavar="DIR")],
    host: Annotated[
        str | None, typer.Option(help="Address to bind to.  [default: 127.0.0.1]", metavar="ADDRESS")
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.  [default: 8080]", metavar="N")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the API keys.", metavar="FILE")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let other machines in without a key.")] = False,
) -> int:
    """Serve collections over HTTP until Ctrl-C.

    The URL is printed when searches are answered.
    """
    from lsr.cli.serving import announce, log_to_stderr, service_settings
    from lsr.settings import load_settings
    from service.server import serve as run_server

    settings = load_settings({"host": host, "port": port, "api_key_file": api_key_file})
    log_to_stderr()
    run_server(
        directory,
        host=settings.host,
        port=settings.port,
        api_key_file=settings.api_key_file,
        insecure=insecure,
        settings=service_settings(settings),
        on_ready=announce,
    )
    return 0
