"""`lsr merge`: all segments merged into one, without the deleted documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, human_bytes, print_json


def merge(
    directory: Annotated[Path, typer.Argument(help="A collection; no service may have it open.", metavar="DIR")],
    json: JsonFlag = False,
) -> int:
    """Merge a collection's segments and drop deleted documents.

    Results do not change; searches get faster and the folder smaller. A running service merges by itself.
    """
    from lsr.cli.arguments import one_collection
    from lsr.collection import Collection

    with Collection.open(one_collection(directory), "w") as collection:
        before = collection.info()
        collection.seal()
        collection.merge()
        after = collection.info()
    if json:
        shown = {
            name: {"segments": info.segments, "deleted": info.deleted, "pending": info.pending, "bytes": info.bytes}
            for name, info in (("before", before), ("after", after))
        }
        print_json({"documents": after.documents, **shown})
    else:
        sizes = f"{human_bytes(before.bytes)} -> {human_bytes(after.bytes)}"
        segments = f"{before.segments} -> {after.segments} segments"
        print(f"{directory}: {after.documents:,} documents, {segments}, {sizes}")
    return 0
