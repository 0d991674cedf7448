"""Arguments that several commands share: an encoder and its settings, a JSON object, the folder of one collection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lsr.settings import BUILT_IN_ENCODERS

SettingOption = Annotated[
    list[str] | None,
    typer.Option("--setting", help="An encoder setting, such as k1=1.2; can be repeated.", metavar="NAME=VALUE"),
]

INDEX_SETTING: Final = "--index-setting"
IndexSettingOption = Annotated[
    list[str] | None,
    typer.Option(
        INDEX_SETTING,
        help="A build parameter of the index, such as n_postings=3000, or bm25.block_maxima=true for one of several "
        "vectors; can be repeated.",
        metavar="[VECTOR.]NAME=VALUE",
    ),
]

SHOWN_COLLECTIONS: Final = 5


def stored_name(encoder: str) -> str:
    """Return the name to store; a folder becomes an absolute path, which is valid from every folder."""
    if encoder not in BUILT_IN_ENCODERS and Path(encoder).is_dir():
        return str(Path(encoder).resolve())
    return encoder


def parse_settings(pairs: Sequence[str] | None, option: str = "--setting") -> dict[str, Any]:
    """Return the settings given with `option`; a value that is not JSON is a string.

    Raises typer.BadParameter for a setting without a name or given twice.
    """
    from lsr.errors import InvalidJson
    from lsr.strict_json import loads

    settings: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not name or not equals:
            form = "[VECTOR.]NAME=VALUE" if option == INDEX_SETTING else "NAME=VALUE"
            raise typer.BadParameter(f"{pair!r} is not {form}", param_hint=option)
        if name in settings:
            raise typer.BadParameter(f"{name} is given twice", param_hint=option)
        try:
            settings[name] = loads(text)
        except InvalidJson:
            settings[name] = text
    return settings


def parse_object(text: str | None, option: str) -> dict[str, Any] | None:
    """Return the JSON object given to `option`; None if it was not given.

    Raises typer.BadParameter, which names the option.
    """
    if text is None:
        return None
    from lsr.errors import InvalidJson
    from lsr.strict_json import loads

    try:
        value = loads(text)
    except InvalidJson as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter("a JSON object is needed, such as '{\"year\": …}'", param_hint=option)
    return value


def one_collection(directory: Path) -> Path:
    """Return `directory`; raises CollectionNotFound, which names the collections inside it, if any."""
    from lsr.errors import CollectionNotFound
    from lsr.storage.layout import is_collection

    if is_collection(directory):
        return directory
    if not directory.is_dir():
        raise CollectionNotFound(f"{directory}: no such folder")
    inside = sorted(folder for folder in directory.iterdir() if folder.is_dir() and is_collection(folder))
    if inside:
        names = ", ".join(map(str, inside[:SHOWN_COLLECTIONS])) + (", …" if len(inside) > SHOWN_COLLECTIONS else "")
        raise CollectionNotFound(f"{directory} is a folder of collections; give one of them: {names}")
    raise CollectionNotFound(f"{directory} is not a collection: it has no catalog")
