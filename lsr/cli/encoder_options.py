"""An encoder as options name it: `--encoder NAME|PATH`, and `--setting NAME=VALUE` for what its author left open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

SettingOption = Annotated[
    list[str] | None,
    typer.Option("--setting", help="A setting of the encoder, such as k1=1.2; can be repeated.", metavar="NAME=VALUE"),
]

BUILT_IN: Final = ("bm25", "lsr-mini")


def stored_name(encoder: str) -> str:
    """Return the name to store: a folder by its absolute path, for the collection is opened from other folders, too."""
    if encoder not in BUILT_IN and Path(encoder).is_dir():
        return str(Path(encoder).resolve())
    return encoder


def parse_settings(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Return the settings that `--setting` gave; a value is JSON, or else the text itself.

    Raises typer.BadParameter for one without a name or given twice.
    """
    from lsr.errors import InvalidJson
    from lsr.strict_json import loads

    settings: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--setting")
        if name in settings:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--setting")
        try:
            settings[name] = loads(text)
        except InvalidJson:
            settings[name] = text
    return settings
