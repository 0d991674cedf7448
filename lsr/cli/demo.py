"""`lsr demo`: the sample collection, indexed and served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.settings import DEFAULT_ENCODER


def demo(
    port: Annotated[int | None, typer.Option(help="0 takes a free one.  [default: 8080]", metavar="N")] = None,
    out: Annotated[Path, typer.Option(help="Where the collection goes, or is already.", metavar="DIR")] = Path(".demo"),
    encoder: Annotated[str, typer.Option(help="bm25, lsr-mini, or another.", metavar="NAME|PATH")] = DEFAULT_ENCODER,
    encode: Annotated[
        bool, typer.Option("--encode", help="Encode the sample here instead of taking the vectors that come with it.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Ask three queries over HTTP, check the hits, stop.")] = False,
) -> int:
    """Index and serve the sample: 10,000 arXiv abstracts."""
    from lsr.cli.demonstration import demonstrate, smoke_test
    from lsr.settings import load_settings

    settings = load_settings({"port": port})
    return (
        smoke_test(out, encoder=encoder, encode=encode)
        if smoke
        else demonstrate(out, settings, encoder=encoder, encode=encode)
    )
