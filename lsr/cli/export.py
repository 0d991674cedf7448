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

    return export_collection(directory, to.value, out, using, scale)


def export_collection(directory: Path, format_name: str, out: str, using: str, scale: float) -> ExitCode:
    """Write the collection to `out`; tell on stderr how many documents that were."""
    from lsr.collection import Collection
    from lsr.errors import ExitCode
    from lsr.exchange import VectorRow, VectorSource, write_vectors

    with Collection.open(one_collection(directory)) as collection, progress_bar() as progress:
        total = collection.info().documents

        def rows() -> Iterator[VectorRow]:
            for done, (document, term_ids, impacts) in enumerate(collection.scan(using), start=1):
                yield VectorRow(document, term_ids, impacts)
                if progress is not None:
                    progress("exporting", done, total)

        source = VectorSource(
            rows(), lambda ids: collection.tokens(ids, using), using, _encoder_note(collection, using)
        )
        written = write_vectors(source, out, format_name, scale=scale)
    say(f"{written:,} documents written to {'stdout' if out == '-' else out}")
    return ExitCode.OK


def _encoder_note(collection: Collection, using: str) -> dict[str, Any] | None:
    vector = collection.info().vectors.get(using)
    if vector is None or vector.encoder is None:
        return None
    encoder = collection.encoder(using)
    return {
        "encoder": vector.encoder,
        "settings": dict(encoder.settings),
        "fingerprint": encoder.fingerprint,
        "dtypes": list(vector.dtypes),
    }
