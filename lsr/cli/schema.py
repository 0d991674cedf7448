"""`lsr schema`: the metadata fields of a collection, and more of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.arguments import one_collection, parse_object
from lsr.cli.output import JsonFlag, print_json, print_table, say


def schema(
    directory: Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")],
    add: Annotated[
        str | None,
        typer.Option(
            help='Fields to add, such as \'{"lang":"keyword"}\'; no service may have the collection open.',
            metavar="JSON",
        ),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Show the metadata fields that filters can use, and add some.

    Every document has an added field at once: the value that its metadata already has under the name, or none. A
    running service adds fields over HTTP (PATCH). lsr reindex --schema makes a new collection with other fields.
    """
    from lsr.collection import Collection

    added = parse_object(add, "--add")
    with Collection.open(one_collection(directory), "r" if added is None else "w") as collection:
        before = collection.schema.fields
        fields = before if added is None else collection.extend_schema(added).fields
    if json:
        print_json({"schema": dict(fields), "added": sorted(fields.keys() - before.keys())})
        return 0
    if not fields:
        say(f"{directory}: no fields; --add declares some")
    else:
        print_table(("field", "type"), list(fields.items()))
    return 0
