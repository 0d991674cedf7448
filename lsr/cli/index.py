"""`lsr index`: from a corpus to a collection, offline."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.encoder_options import SettingOption, parse_settings, stored_name
from lsr.cli.output import JsonFlag


class CorpusFormat(StrEnum):
    """How a corpus is written down; `auto` goes by the name."""

    auto = "auto"
    beir = "beir"
    jsonl = "jsonl"
    tsv = "tsv"
    parquet = "parquet"
    vectors = "vectors"


def index(
    corpus: Annotated[
        str,
        typer.Argument(
            help="BEIR folder, JSONL, TSV or Parquet file (also .gz, .zst), - for stdin, or ir-datasets:ID.",
            metavar="CORPUS",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new collection.", metavar="DIR")],
    encoder: Annotated[
        str | None,
        typer.Option(help="bm25, lsr-mini, or a checkpoint's name or path.  [default: lsr-mini]", metavar="NAME|PATH"),
    ] = None,
    setting: SettingOption = None,
    format: Annotated[CorpusFormat, typer.Option(help="How the corpus is written down.")] = CorpusFormat.auto,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            help='Types of metadata to filter by, such as \'{"year":"int","tag":"keyword[]"}\'.', metavar="JSON"
        ),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(help="Cut texts into passages of this many words, with parent set.", min=1, metavar="WORDS"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run left off.")] = False,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.", metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Make a collection of a corpus.

    A line that cannot be taken is told on stderr with its number and left out; the exit code is then 4. A run that
    was stopped leaves a folder that --resume finishes with the same result.
    """
    from lsr.cli.indexing import index_and_report
    from lsr.cli.json_options import parse_object
    from lsr.corpora import holds_vectors, open_corpus
    from lsr.documents import DEFAULT_VECTOR
    from lsr.settings import load_settings
    from lsr.vectors import VectorConfig

    declared = parse_object(schema, "--schema")
    settings = load_settings({"encoder": encoder, "device": device, "threads": threads})
    chosen = parse_settings(setting)
    opened = open_corpus(corpus, format.value, chunk=chunk)
    if holds_vectors(corpus, format.value):
        from lsr.cli.ready_made import config_for_vectors

        config = config_for_vectors(opened, stored_name(encoder) if encoder is not None else None, chosen)
    else:
        config = VectorConfig(stored_name(settings.encoder), chosen)
    return index_and_report(
        opened,
        out,
        {DEFAULT_VECTOR: config},
        schema=declared,
        resume=resume,
        threads=settings.threads,
        device=settings.device,
        as_json=json,
    )
