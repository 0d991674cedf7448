"""`lsr snapshot`: take and restore snapshots of a collection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, human_bytes, print_json, print_table, say

snapshot = typer.Typer(help="Take and restore snapshots.", no_args_is_help=True, rich_markup_mode=None)

_Directory = Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")]
_Name = Annotated[str, typer.Argument(help="The snapshot.", metavar="NAME")]


@snapshot.callback()
def _group() -> None:
    """Take and restore snapshots.

    A snapshot is a folder in DIR/snapshots. It is itself a collection, which can be searched, verified and copied even
    if DIR no longer opens. A running service takes snapshots over HTTP; these commands need exclusive access to DIR.
    """


@snapshot.command("create")
def create(
    directory: _Directory,
    name: Annotated[str | None, typer.Option(help="Name of the snapshot; default: the time.", metavar="NAME")] = None,
    json: JsonFlag = False,
) -> int:
    """Take a snapshot."""
    from lsr.cli.arguments import one_collection
    from lsr.collection import Collection

    with Collection.open(one_collection(directory), "w") as collection:
        info = collection.snapshot(name)
    if json:
        print_json(asdict(info))
    else:
        print(f"{info.name}: {info.documents:,} documents, {human_bytes(info.size)}, sha256 {info.sha256}")
    return 0


@snapshot.command("list")
def list_snapshots(directory: _Directory, json: JsonFlag = False) -> int:
    """List the snapshots, oldest first."""
    from lsr.cli.arguments import one_collection
    from lsr.upkeep.snapshots import listed

    found = listed(one_collection(directory))
    if json:
        print_json({"snapshots": [asdict(info) for info in found]})
    else:
        rows = [(info.name, info.created, f"{info.documents:,}", human_bytes(info.size)) for info in found]
        print_table(("snapshot", "created", "documents", "size"), rows, right=(2, 3))
    return 0


@snapshot.command("restore")
def restore(directory: _Directory, name: _Name) -> int:
    """Restore a snapshot; everything written since is lost."""
    from lsr.cli.arguments import one_collection
    from lsr.collection import Collection

    with Collection.open(one_collection(directory), "w") as collection:
        collection.restore(name)
        documents = collection.info().documents
    say(f"{directory} is restored to {name}: {documents:,} documents")
    return 0


@snapshot.command("delete")
def delete(directory: _Directory, name: _Name) -> int:
    """Remove a snapshot."""
    from lsr.cli.arguments import one_collection
    from lsr.collection import Collection

    with Collection.open(one_collection(directory), "w") as collection:
        collection.delete_snapshot(name)
    say(f"{name} removed")
    return 0
