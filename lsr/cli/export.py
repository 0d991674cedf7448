"""`lsr export`: a collection's documents and vectors in another system's format."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lsr.cli.arguments import one_collection
from lsr.cli.output import progress_bar, say

if TYPE_CHECKING:
    from lsr.collection import Collection
    from lsr.errors import ExitCode
    from lsr.exchange import VectorRow


WITH_DENSE = ("jsonl", "arrow")


class ExportFormat(StrEnum):
    """The formats of `lsr.exchange`."""

    jsonl = "jsonl"
    arrow = "arrow"
    anserini = "anserini"
    ciff = "ciff"
    opensearch = "opensearch"
    qdrant = "qdrant"


def export(
    directory: Annotated[
        Path, typer.Argument(help="A collection; a service may serve it at the same time.", metavar="DIR")
    ],
    to: Annotated[ExportFormat, typer.Option(help="The format.")],
    out: Annotated[str, typer.Option("--out", "-o", help="File to write; - for stdout.", metavar="FILE")] = "-",
    using: Annotated[str, typer.Option(help="The collection's named vector to export.", metavar="NAME")] = "default",
    scale: Annotated[
        float,
        typer.Option(help="For formats with integer weights (anserini, ciff): multiply by this, then round."),
    ] = 100.0,
) -> int:
    """Export a collection to the format of another system.

    lsr index --format vectors reads jsonl and arrow again; the others are for Anserini, CIFF readers, OpenSearch
    (_bulk) and Qdrant (bodies of PUT points, one per line).
    """

    return export_collection(directory, to.value, out, using, scale)


def export_collection(directory: Path, format_name: str, out: str, using: str, scale: float) -> ExitCode:
    """Write the collection to `out`; report the number of documents on stderr."""
    from lsr.collection import Collection
    from lsr.errors import ExitCode
    from lsr.exchange import DenseNote, VectorRow, VectorSource, write_vectors

    with Collection.open(one_collection(directory)) as collection, progress_bar() as progress:
        info = collection.info()
        total = info.documents
        dense = {
            name: DenseNote(vector.dimensions or 0, _note(collection, name))
            for name, vector in info.vectors.items()
            if vector.kind == "dense" and format_name in WITH_DENSE
        }

        def rows() -> Iterator[VectorRow]:
            for done, (document, term_ids, impacts) in enumerate(collection.scan(using, dense=list(dense)), start=1):
                yield VectorRow(document, term_ids, impacts)
                if progress is not None:
                    progress("exporting", done, total)

        note = _note(collection, using) if using in info.vectors else None
        source = VectorSource(rows(), lambda ids: collection.tokens(ids, using), using, note, dense)
        written = write_vectors(source, out, format_name, scale=scale)
    say(f"{written:,} documents written to {'stdout' if out == '-' else out}")
    return ExitCode.OK


def _note(collection: Collection, name: str) -> dict[str, Any] | None:
    """Return what made a named vector: encoder, settings and fingerprint; None where documents bring their own."""
    config = collection.vector_config(name)
    if config.encoder is None:
        return None
    info = collection.info().vectors[name]
    return {
        "encoder": config.encoder,
        "settings": dict(config.settings),
        "fingerprint": info.fingerprint,
        "dtypes": list(info.dtypes),
    }
