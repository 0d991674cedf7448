"""`lsr alias`: other names for the collections of a folder, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json, print_table


def alias(
    folder: Annotated[Path, typer.Argument(help="A folder of collections.", metavar="FOLDER")],
    name: Annotated[str | None, typer.Argument(help="The alias.", metavar="NAME", show_default=False)] = None,
    collection: Annotated[
        str | None, typer.Argument(help="What it stands for from now on.", metavar="COLLECTION", show_default=False)
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Return to the collection that it stood for before.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias; its collection stays.")] = False,
    json: JsonFlag = False,
) -> int:
    """List the aliases of a folder; set, revert or remove one.

    A service that runs on the folder follows within seconds.
    """
    from lsr.errors import CollectionNotFound
    from lsr.storage.alias_file import AliasFile
    from lsr.storage.layout import is_collection

    if (collection is not None) + back + remove != (name is not None):
        raise typer.BadParameter("give NAME with one of COLLECTION, --back and --remove, or FOLDER alone")
    if not folder.is_dir():
        raise CollectionNotFound(f"{folder}: there is no such folder")
    if is_collection(folder):
        raise CollectionNotFound(f"{folder} is a collection: aliases belong to the folder that it is in")
    aliases = AliasFile(folder)
    if name is None:
        found = sorted(aliases.read().items())
        if json:
            shown = [{"alias": one, "collection": to.collection, "previous": to.previous} for one, to in found]
            print_json({"aliases": shown})
        elif found:
            print_table(("alias", "collection", "before"), [(n, a.collection, a.previous or "") for n, a in found])
        else:
            print("no aliases")
        return 0
    if remove:
        aliases.drop(name)
        if json:
            print_json({"alias": name, "collection": None, "previous": None})
        else:
            print(f"{name}: removed")
        return 0
    pointed = aliases.back(name) if collection is None else aliases.point(name, collection)
    if json:
        print_json({"alias": name, "collection": pointed.collection, "previous": pointed.previous})
    else:
        before = f" (before: {pointed.previous})" if pointed.previous is not None else ""
        print(f"{name} -> {pointed.collection}{before}")
    return 0
