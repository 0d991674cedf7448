"""`lsr serve`: collections over HTTP."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lsr.settings import Settings

if TYPE_CHECKING:
    from service.settings import ServiceSettings


def serve(
    directory: Annotated[Path, typer.Argument(help="A collection, or a folder of collections.", metavar="DIR")],
    host: Annotated[
        str | None, typer.Option(help="Address to bind to.  [default: 127.0.0.1]", metavar="ADDRESS")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any free port.  [default: 8080]", metavar="N")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the API keys.", metavar="FILE")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow other machines without an API key.")] = False,
) -> int:
    """Serve collections over HTTP until Ctrl-C.

    The URL is printed when the service is ready to search.
    """
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


def service_settings(settings: Settings) -> ServiceSettings:
    """Return the service's settings, with the user's values where given."""
    from service.settings import ServiceSettings

    names = ("search_threads", "search_queue", "quick_search_ms", "slow_query_ms", "scrub_hours")
    chosen = {name: getattr(settings, name) for name in names} | {"default_encoder": settings.encoder}
    return ServiceSettings(**{name: value for name, value in chosen.items() if value is not None})


def log_to_stderr() -> None:
    """Write the service's log to stderr, one line per event."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its INFO lines repeat ours


def announce(url: str) -> None:
    """Print the URL on stdout; scripts wait for this line."""
    print(url, flush=True)
