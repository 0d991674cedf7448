"""`lsr serve`: collections over HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lsr.cli.shards import DEFAULT_CACHE, CacheOption, LiveOption, RayOption, ReplicasOption, serve_sharded
from lsr.settings import SERVICE_SETTINGS, Settings, describe_setting, setting_type

if TYPE_CHECKING:
    from service.settings import ServiceSettings


def with_service_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command an option for each setting of the service; it receives them as keyword arguments."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind != inspect.Parameter.VAR_KEYWORD]
    options = []
    for name in SERVICE_SETTINGS:
        kind = setting_type(name)
        text = describe_setting(name)
        option = typer.Option(help=f"{text[0].upper()}{text[1:]}.", rich_help_panel="Settings of the service")
        hint: Any = Annotated[kind | None, option]
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint))
    described: Any = command
    described.__signature__ = signature.replace(parameters=[*own, *options])
    described.__annotations__ = {one.name: one.annotation for one in [*own, *options]}
    return command


@with_service_options
def serve(
    directory: Annotated[
        str,
        typer.Argument(help="A collection, or a folder of collections; with --ray: a publication.", metavar="DIR|URI"),
    ],
    host: Annotated[
        str | None, typer.Option(help="Address to bind to.  [default: 127.0.0.1]", metavar="ADDRESS")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any free port.  [default: 8080]", metavar="N")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the API keys.", metavar="FILE")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow other machines without an API key.")] = False,
    ray: RayOption = None,
    replicas: ReplicasOption = 1,
    cache: CacheOption = DEFAULT_CACHE,
    live: LiveOption = None,
    **options: Any,
) -> int:
    """Serve collections over HTTP until Ctrl-C.

    The URL is printed when the service is ready to search.
    """
    from lsr.settings import load_settings
    from service.logs import log_to_stderr
    from service.server import serve as run_server

    settings = load_settings({"host": host, "port": port, "api_key_file": api_key_file, **options})
    log_to_stderr(settings.log_format or "text")
    if ray is not None:
        return serve_sharded(
            directory,
            ray=ray,
            replicas=replicas,
            cache=cache,
            live=live,
            host=settings.host,
            port=settings.port,
            api_key_file=settings.api_key_file,
            insecure=insecure,
            settings=service_settings(settings),
            on_ready=announce,
        )
    check_one_machine(directory, replicas, live)
    run_server(
        Path(directory),
        host=settings.host,
        port=settings.port,
        api_key_file=settings.api_key_file,
        insecure=insecure,
        settings=service_settings(settings),
        on_ready=announce,
    )
    return 0


def check_one_machine(directory: str, replicas: int, live: Path | None) -> None:
    """Raise QueryError for what only a cluster can do: serve shards, keep replicas, write with --live."""
    from lsr.errors import QueryError
    from lsr.sharding.manifest import MANIFEST_FILE
    from lsr.sharding.places import is_uri

    if live is not None or replicas != 1:
        option = "live" if live is not None else "replicas"
        raise QueryError(f"--{option} is for collections in shards: give --ray too (--ray local on this machine)")
    if is_uri(directory) or (Path(directory) / MANIFEST_FILE).is_file():
        raise QueryError(f"{directory} holds a collection in shards: give --ray (--ray local on this machine)")


def service_settings(settings: Settings) -> ServiceSettings:
    """Return the service's settings, with the user's values where given."""
    from service.settings import ServiceSettings, parse_origins

    chosen = {name: getattr(settings, name) for name in SERVICE_SETTINGS if name not in ("cors_origin", "log_format")}
    given = ServiceSettings(
        default_encoder=settings.encoder, **{name: value for name, value in chosen.items() if value is not None}
    )
    return replace(given, cors_origins=parse_origins(settings.cors_origin or ""))


def announce(url: str) -> None:
    """Print the URL on stdout; scripts wait for this line."""
    print(url, flush=True)
