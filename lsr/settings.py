"""Settings for all commands, in order of priority: a flag, an LSR_* variable, lsr.toml, the default.

lsr.toml is in the current folder, or at the path in LSR_CONFIG, and has `name = value` lines:

    encoder = "lsr-mini"
    port = 9200

Each value keeps its source, which `lsr config show` prints. This module imports little: `lsr --help` needs it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

FILE_NAME: Final = "lsr.toml"
ENVIRONMENT_PREFIX: Final = "LSR_"
CONFIG_VARIABLE: Final = "LSR_CONFIG"

_WORDS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _about(description: str, minimum: float | None = None, maximum: float | None = None) -> dict[str, Any]:
    return {"description": description, "minimum": minimum, "maximum": maximum}


# The model that comes with the package: docs/decisions/0708-lsr-mini-is-the-default.md.
DEFAULT_ENCODER: Final = "lsr-mini"
# The encoders that come with the package and need no download.
BUILT_IN_ENCODERS: Final = ("bm25", "lsr-mini", "lsr-nano")


@dataclass(frozen=True)
class Settings:
    """The current values; `origins` gives the source of each."""

    encoder: str = field(
        default=DEFAULT_ENCODER, metadata=_about("encoder of a new collection: an id, a name or a path")
    )
    device: str = field(default="auto", metadata=_about("where encoders run: auto, cpu, cuda, mps"))
    threads: int | None = field(default=None, metadata=_about("threads of one command; default: all cores", 1, 1024))
    k: int = field(default=10, metadata=_about("hits of a search", 1, 1_000))
    host: str = field(default="127.0.0.1", metadata=_about("address that the service binds to"))
    port: int = field(default=8080, metadata=_about("port of the service; 0: any free port", 0, 65_535))
    api_key_file: Path | None = field(default=None, metadata=_about("file with the service's API keys"))
    # Of the service. None: service/settings.py chooses a value, some of them for the machine.
    search_threads: int | None = field(default=None, metadata=_about("concurrent searches in the service", 1, 1024))
    search_queue: int | None = field(default=None, metadata=_about("searches that may wait in the service", 0, 100_000))
    quick_search_ms: float | None = field(
        default=None, metadata=_about("shorter searches run on the service's event loop; 0: all in threads", 0)
    )
    default_timeout_ms: int | None = field(
        default=None, metadata=_about("time limit of a search that names none", 1, 60_000)
    )
    slow_query_ms: float | None = field(default=None, metadata=_about("the service logs slower searches", 0))
    write_queue: int | None = field(
        default=None, metadata=_about("writes that may wait or run in the service", 1, 100_000)
    )
    write_queue_bytes: int | None = field(default=None, metadata=_about("bytes of these writes", 1, 1 << 40))
    write_wait: float | None = field(
        default=None, metadata=_about("seconds until a write is answered with a job", 0, 3_600)
    )
    max_body: int | None = field(default=None, metadata=_about("bytes of a request's body, expanded", 1, 1 << 40))
    max_bodies: int | None = field(default=None, metadata=_about("bytes of all bodies in flight", 1, 1 << 40))
    max_headers: int | None = field(default=None, metadata=_about("headers of a request", 1, 10_000))
    max_header_bytes: int | None = field(
        default=None, metadata=_about("bytes of a request's headers with its request line", 256, 1 << 24)
    )
    header_timeout: float | None = field(
        default=None, metadata=_about("seconds for a client to send headers", 0.1, 3_600)
    )
    body_timeout: float | None = field(
        default=None, metadata=_about("seconds for a client to send a body, or to read an answer", 0.1, 86_400)
    )
    keep_alive: float | None = field(
        default=None, metadata=_about("seconds that an idle connection stays open", 0, 86_400)
    )
    shutdown_timeout: float | None = field(
        default=None, metadata=_about("seconds for requests to finish when the service stops", 0, 86_400)
    )
    scrub_hours: float | None = field(
        default=None, metadata=_about("hours until the service reads all files again to find damage; 0: never", 0)
    )
    scrub_bytes_per_second: float | None = field(default=None, metadata=_about("speed of that reading", 1))
    root_path: str | None = field(default=None, metadata=_about("path prefix that a proxy adds, such as /search"))
    cors_origin: str | None = field(
        default=None, metadata=_about("origins whose pages may call the service, separated by commas")
    )
    access_log: bool | None = field(default=None, metadata=_about("log every request of the service"))
    log_format: str | None = field(default=None, metadata=_about("form of the service's log: text or json"))
    origins: Mapping[str, str] = field(default_factory=dict)


SERVICE_SETTINGS: Final = tuple(
    item.name for item in fields(Settings) if item.default is None and item.name not in ("threads", "api_key_file")
)


def setting_names() -> list[str]:
    """Return the names of all settings, in the order of `Settings`."""
    return [item.name for item in fields(Settings) if item.name != "origins"]


def describe_setting(name: str) -> str:
    """Return a setting's description, in one line."""
    return str(Settings.__dataclass_fields__[name].metadata["description"])


def setting_type(name: str) -> type:
    """Return a setting's type."""
    return _types()[name]


def load_settings(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the current settings; a flag that is None was not given.

    Raises SettingsError for an unknown name, a wrong type or a value out of range; it names the flag, variable or file.
    """
    environment = os.environ if environment is None else environment
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    in_file, path = _read_file(environment)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in setting_names():
        variable = ENVIRONMENT_PREFIX + name.upper()
        if name in given:
            values[name], origins[name] = _check(name, given[name], _flag(name)), "flag"
        elif variable in environment:
            values[name], origins[name] = _check(name, environment[variable], variable), variable
        elif name in in_file:
            values[name], origins[name] = _check(name, in_file[name], f"{path}: {name}"), str(path)
        else:
            origins[name] = "default"
    return Settings(**values, origins=origins)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"


def _read_file(environment: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    path = Path(environment.get(CONFIG_VARIABLE) or FILE_NAME)
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        if CONFIG_VARIABLE in environment:
            raise _error(f"{CONFIG_VARIABLE}: {path}: no such file") from None
        return {}, path
    except OSError as error:
        raise _error(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _error(f"{path}: not TOML: {error}") from None
    known = setting_names()
    for name in content:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
            raise _error(f"{path}: unknown setting {name!r}; {hint}")
    return content, path


def _check(name: str, value: object, origin: str) -> object:
    """Return `value` as the setting's type; strings from the environment are converted."""
    declared = _types()[name]
    if declared is bool:
        converted = _WORDS.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(converted, bool):
            raise _error(f"{origin}: {value!r} is not true or false")
        return converted
    if declared in (int, float):
        return _check_number(name, value, origin, declared)
    if not isinstance(value, (str, Path)) or not str(value):
        raise _error(f"{origin}: {value!r} is not a string")
    return declared(value)


def _check_number(name: str, value: object, origin: str, declared: type) -> float:
    try:
        if isinstance(value, bool) or (declared is int and isinstance(value, float)):
            raise ValueError
        number: float = declared(value)
    except (TypeError, ValueError):
        kind = "an integer" if declared is int else "a number"
        raise _error(f"{origin}: {value!r} is not {kind}") from None
    limits = Settings.__dataclass_fields__[name].metadata
    low, high = limits["minimum"], limits["maximum"]
    # NaN, for which every comparison is false, must be out of range.
    if not ((low is None or number >= low) and (high is None or number <= high)):
        upper = f" and {high:,}" if high is not None else ""
        raise _error(f"{origin}: {value} is out of range: at least {low}{upper and ', at most' + upper[4:]}")
    return number


def _types() -> dict[str, type]:
    """Return each setting's type, without the None that means "not set"."""
    hints = get_type_hints(Settings)
    return {
        name: next(t for t in (*getattr(hints[name], "__args__", ()), hints[name]) if t is not type(None))
        for name in setting_names()
    }


def _error(message: str) -> Exception:
    from lsr.errors import SettingsError  # not at the top: it imports the index and the encoders

    return SettingsError(message)
