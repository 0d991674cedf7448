"""`lsr export`: a collection's documents and vectors in another system's format, or in that system itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lsr.cli.arguments import one_collection
from lsr.cli.import_source import CaFileOption, KeyFileOption, access
from lsr.cli.output import Progress, progress_bar, say

if TYPE_CHECKING:
    from lsr.collection import Collection
    from lsr.errors import ExitCode
    from lsr.exchange import VectorRow, VectorSource
    from lsr.exchange.servers import Access


WITHOUT_DENSE: Final = ("anserini", "ciff")
BY_NUMBER: Final = ("qdrant", "milvus")  # their sparse vectors have term numbers


class ExportFormat(StrEnum):
    """The formats of `lsr.exchange`."""

    jsonl = "jsonl"
    arrow = "arrow"
    parquet = "parquet"
    huggingface = "huggingface"
    anserini = "anserini"
    ciff = "ciff"
    opensearch = "opensearch"
    qdrant = "qdrant"
    milvus = "milvus"


@dataclass(frozen=True)
class ExportOptions:
    """The options of `lsr export`; `server` is how to reach the server, if `out` is a collection of one."""

    out: str
    format: str
    using: str
    scale: float
    terms: Path | None
    server: Access | None
    update: bool


def export(
    directory: Annotated[
        Path, typer.Argument(help="A collection; a service may serve it at the same time.", metavar="DIR")
    ],
    to: Annotated[ExportFormat | None, typer.Option(help="The format of a file.")] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="File to write, - for stdout; or a new collection of a server: qdrant:URL/NAME, opensearch:URL/NAME, "
            "elasticsearch:URL/NAME, milvus:URL/NAME, milvus:FILE.db/NAME.",
            metavar="FILE|SERVER",
        ),
    ] = "-",
    using: Annotated[str, typer.Option(help="The collection's named vector to export.", metavar="NAME")] = "default",
    scale: Annotated[
        float,
        typer.Option(help="For formats with integer weights (anserini, ciff): multiply by this, then round."),
    ] = 100.0,
    terms: Annotated[
        Path | None,
        typer.Option(help="Also write the table of term numbers and tokens (qdrant, milvus).", metavar="FILE"),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="The server's collection may exist: same ids are replaced.")
    ] = False,
    key_file: KeyFileOption = None,
    ca_file: CaFileOption = None,
) -> int:
    """Export a collection to a file or server of another system.

    lsr index --format vectors reads jsonl, arrow and parquet again, lsr import also the folder of huggingface and the
    systems themselves.
    """
    from lsr.exchange.servers import is_remote

    kind = out.partition(":")[0] if is_remote(out) else None
    format_name = {"elasticsearch": "opensearch"}.get(kind, kind) if kind is not None else to and to.value
    if format_name is None:
        raise typer.BadParameter("give the format of the file", param_hint="--to")
    if to is not None and to.value != format_name:
        raise typer.BadParameter(f"{out} is in the format {format_name}", param_hint="--to")
    if kind is None and (update or key_file is not None or ca_file is not None):
        raise typer.BadParameter("--update, --key-file and --ca-file are for a server", param_hint="--out")
    if terms is not None and format_name not in BY_NUMBER:
        raise typer.BadParameter(f"the format {format_name} has tokens, not numbers", param_hint="--terms")
    server = access(out, key_file, ca_file) if kind is not None else None
    return export_collection(directory, ExportOptions(out, format_name, using, scale, terms, server, update))


def export_collection(directory: Path, options: ExportOptions) -> ExitCode:
    """Write the collection to `options.out`; report the number of documents on stderr.

    Raises QueryError, OSError; for a server SourceFailed, CollectionExists.
    """
    from lsr.collection import Collection
    from lsr.errors import ExitCode
    from lsr.exchange import write_vectors
    from lsr.exchange.export import counted, without_empty
    from lsr.exchange.servers.writing import write_remote

    with Collection.open(one_collection(directory)) as collection, progress_bar() as progress:
        source = _source(collection, options, progress)
        if options.format in BY_NUMBER:
            source = _numbered(source, collection, options)
        if options.server is None:
            written = write_vectors(source, options.out, options.format, scale=options.scale)
        else:
            sent = counted(without_empty(source) if options.format == "milvus" else source)
            write_remote(sent.source, options.out, options.server, update=options.update)
            written = sent.count
        left_out = collection.info().documents - written
    say(f"{written:,} documents written to {'stdout' if options.out == '-' else options.out}")
    if options.format == "milvus" and left_out > 0:
        say(f"{left_out:,} documents have no term: Milvus refuses an empty vector, and they were left out")
    return ExitCode.OK


def _source(collection: Collection, options: ExportOptions, progress: Progress | None) -> VectorSource:
    from lsr.exchange import DenseNote, VectorRow, VectorSource

    using = options.using
    info = collection.info()
    dense = {
        name: DenseNote(vector.dimensions or 0, _note(collection, name))
        for name, vector in info.vectors.items()
        if vector.kind == "dense" and options.format not in WITHOUT_DENSE
    }

    def rows() -> Iterator[VectorRow]:
        for done, (document, term_ids, impacts) in enumerate(collection.scan(using, dense=list(dense)), start=1):
            yield VectorRow(document, term_ids, impacts)
            if progress is not None:
                progress("exporting", done, info.documents)

    note = _note(collection, using) if using in info.vectors else None
    return VectorSource(rows(), lambda ids: collection.tokens(ids, using), using, note, dense)


def _numbered(source: VectorSource, collection: Collection, options: ExportOptions) -> VectorSource:
    """Return the source with the numbers for a system without tokens; write or mention their table."""
    from lsr.exchange.term_numbers import numbers_of
    from lsr.exchange.term_table import write_terms
    from lsr.output_file import output_file

    given = collection.vector_config(options.using).encoder is None
    found = numbers_of(collection.vocabulary(options.using), given=given)
    if options.terms is not None:
        with output_file(options.terms) as file:
            write_terms(found.pairs(), file)
    elif found.own:
        say("the term numbers are this collection's own: --terms FILE writes their tokens, for lsr import --terms FILE")
    return replace(source, numbers=found.numbers)


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
