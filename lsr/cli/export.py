"""`lsr export`: a collection's documents and vectors in another system's format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ExportFormat(StrEnum):
    """What `lsr.exchange` writes."""

    jsonl = "jsonl"
    arrow = "arrow"
    anserini = "anserini"
    ciff = "ciff"
    opensearch = "opensearch"
    qdrant = "qdrant"


def export(
    directory: Annotated[Path, typer.Argument(help="A collection; it may be served meanwhile.", metavar="DIR")],
    to: Annotated[ExportFormat, typer.Option(help="The format.")],
    out: Annotated[str, typer.Option("--out", "-o", help="File to write; - for stdout.", metavar="FILE")] = "-",
    using: Annotated[str, typer.Option(help="Which of the collection's named vectors.", metavar="NAME")] = "default",
    scale: Annotated[
        float,
        typer.Option(help="Weights are multiplied by this and rounded, where only whole numbers fit: anserini, ciff."),
    ] = 100.0,
) -> int:
    """Write a collection in a format that others read.

    jsonl and arrow are taken back by lsr index --format vectors; the others go to Anserini, CIFF readers, OpenSearch
    (_bulk) and Qdrant (bodies of PUT points, one a line).
    """
    from lsr.cli.exporting import export_collection

    return export_collection(directory, to.value, out, using, scale)
