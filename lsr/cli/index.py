"""`lsr index`: from a corpus to a collection, offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lsr.cli.arguments import (
    INDEX_SETTING,
    IndexSettingOption,
    SettingOption,
    parse_object,
    parse_settings,
    stored_name,
)
from lsr.cli.corpus_options import (
    AUTO,
    IdOption,
    MetadataOption,
    ProblemLog,
    StrictFlag,
    TextOption,
    TitleOption,
    check_not_empty,
    fields_of,
    guessed_schema,
    textual,
)
from lsr.cli.output import JsonFlag, exit_code, human_bytes, print_json, progress_bar
from lsr.cli.shards import RayOption, ShardsOption, WorkersOption, WorkOption, expanded, index_sharded
from lsr.cli.vector_options import OPTION, dense_for_vectors, parse_vectors

if TYPE_CHECKING:
    from lsr.corpora import Corpus
    from lsr.errors import ExitCode
    from lsr.results import IndexReport
    from lsr.vectors import VectorConfig


class CorpusFormat(StrEnum):
    """The format of a corpus; `auto`: by the file name."""

    auto = "auto"
    beir = "beir"
    jsonl = "jsonl"
    tsv = "tsv"
    csv = "csv"
    parquet = "parquet"
    arrow = "arrow"
    vectors = "vectors"


def index(
    corpus: Annotated[
        str,
        typer.Argument(
            help="BEIR folder, JSONL, TSV, CSV (also .gz, .zst), Parquet, Arrow, data set saved by the package "
            "datasets, - for stdin, or ir-datasets:ID.",
            metavar="CORPUS",
        ),
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder of the new collection.", metavar="DIR")],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="bm25, lsr-mini, lsr-nano, or a checkpoint's name or path.  [default: lsr-mini]", metavar="NAME|PATH"
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            help="Several named vectors in one pass, such as default=lsr-mini,bm25=bm25,meaning=dense:lsr-mini; "
            "none and dense alone: every document brings its own.",
            metavar="NAME=ENCODER,…",
        ),
    ] = None,
    setting: SettingOption = None,
    index_setting: IndexSettingOption = None,
    format: Annotated[CorpusFormat, typer.Option(help="Format of the corpus.")] = CorpusFormat.auto,
    identifier: IdOption = None,
    title: TitleOption = None,
    text: TextOption = None,
    metadata: MetadataOption = None,
    strict: StrictFlag = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            help='Metadata fields to filter by, such as \'{"year":"int","tag":"keyword[]"}\'; auto: guessed, printed.',
            metavar="JSON|auto",
        ),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(help="Cut texts into passages of at most this many words; sets parent.", min=1, metavar="WORDS"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads; default: all cores.", metavar="N")] = None,
    shards: ShardsOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    work: WorkOption = None,
    json: JsonFlag = False,
) -> int:
    """Build a collection from a corpus.

    Invalid lines are reported on stderr with their numbers and skipped; the exit code is then 4. After a run that was
    stopped, --resume finishes the collection with the same result. Your own files need no conversion: --id, --title,
    --text and --metadata name their fields.
    """
    from lsr.corpora import brings_vectors, open_corpus
    from lsr.default_pipeline import vectors_for
    from lsr.documents import DEFAULT_VECTOR
    from lsr.settings import load_settings
    from lsr.vectors import with_index_settings

    if vectors is not None and encoder is not None:
        raise typer.BadParameter("give --encoder or --vectors, not both", param_hint=OPTION)
    declared: Mapping[str, Any] | None = None if schema == AUTO else parse_object(schema, "--schema")
    fields = fields_of(identifier, title, text, metadata)
    settings = load_settings({"encoder": encoder, "device": device, "threads": threads})
    chosen, of_index = parse_settings(setting), parse_settings(index_setting, INDEX_SETTING)
    if shards is None and ray is not None:
        raise typer.BadParameter("--ray builds shards: give --shards N as well", param_hint="--ray")
    inputs = [corpus] if shards is None else expanded(corpus)
    corpus = inputs[0]
    opened = open_corpus(corpus, format.value, chunk=chunk, fields=fields)
    check_not_empty(opened, strict=strict)
    if schema == AUTO:
        declared = guessed_schema(opened)
    if (typed := textual(declared, opened, fields)) is not None:
        fields = typed
        opened = open_corpus(corpus, format.value, chunk=chunk, fields=typed)
    configs: dict[str, VectorConfig]
    if vectors is not None:
        configs = parse_vectors(vectors, chosen, opened)
    elif format is CorpusFormat.vectors or brings_vectors(opened):
        config = config_for_vectors(opened, stored_name(encoder) if encoder is not None else None, chosen)
        configs = {DEFAULT_VECTOR: config, **dense_for_vectors(opened)}
    else:
        configs = vectors_for(stored_name(settings.encoder), chosen)
    configs = with_index_settings(configs, of_index, INDEX_SETTING)
    if shards is not None:
        return index_sharded(
            inputs,
            out,
            configs,
            corpus_format=format.value,
            chunk=chunk,
            fields=fields,
            schema=declared,
            shards=shards,
            ray=ray or "local",
            workers=workers,
            work=work,
            resume=resume,
            device=settings.device,
            strict=strict,
            as_json=json,
        )
    return index_and_report(
        opened,
        Path(out),
        configs,
        schema=declared,
        resume=resume,
        threads=settings.threads,
        device=settings.device,
        strict=strict,
        as_json=json,
    )


def index_and_report(
    corpus: Corpus,
    out: Path,
    vectors: Mapping[str, VectorConfig],
    *,
    schema: Mapping[str, str] | None = None,
    resume: bool = False,
    threads: int | None = None,
    device: str = "auto",
    strict: bool = False,
    as_json: bool = False,
    problems: ProblemLog | None = None,
) -> ExitCode:
    """Index `corpus` into `out`; print the report and, on stderr, the lines that were skipped.

    `problems` may hold lines that were refused before. Returns PARTIAL if some lines were skipped, FAILURE if all were.
    Raises what `index_corpus` raises, and InputRefused where most lines are refused for one reason, or with `strict`
    one line is.
    """
    from lsr.writing.bulk_load import index_corpus

    problems = problems or ProblemLog(corpus.name, strict=strict)
    with progress_bar() as progress:
        report = index_corpus(
            corpus,
            out,
            vectors=vectors,
            schema=schema,
            resume=resume,
            threads=threads,
            device=device,
            progress=progress,
            on_problem=problems.add,
        )
    problems.close()
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report, out)
    return exit_code(report.accepted, max(report.failed, problems.count))


def _print_report(report: IndexReport, out: Path) -> None:
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {report.accepted:,} documents in {report.seconds:.1f} s, {human_bytes(size)}")
    if report.empty:
        print(f"  documents without a term, which no query can find: {report.empty:,}")
    if report.failed:
        print(f"  skipped lines: {report.failed:,}")
    if report.failed and not report.accepted:
        print(f"  nothing was indexed: remove {out} before you try again")


def config_for_vectors(corpus: Corpus, encoder: str | None, settings: Mapping[str, Any]) -> VectorConfig:
    """Return the vector's configuration for a corpus of ready-made vectors.

    An Arrow file of `lsr encode` names its encoder; `encoder` may only give its current path. For other files `encoder`
    is not checked; without it the collection accepts sparse queries only. Raises EncoderMismatch, UnknownEncoder,
    SettingError.
    """
    from lsr.corpora.arrow_vectors import ArrowVectorsCorpus
    from lsr.errors import EncoderMismatch
    from lsr.vectors import VectorConfig

    note = corpus.encoder if isinstance(corpus, ArrowVectorsCorpus) else None
    if note is None:
        return VectorConfig(encoder, settings)
    from encoders import SettingError, load_with_settings

    name = encoder or note["encoder"]
    made = {**note["settings"], **settings}
    dtypes = tuple(note.get("dtypes", ()))
    if dtypes and settings.get("dtype", "auto") not in ("auto", *dtypes):
        raise SettingError(
            f"{corpus.name} holds vectors that were made in {', '.join(dtypes)}; dtype cannot change that"
        )
    found = load_with_settings(name, made).fingerprint
    if found != note.get("fingerprint"):
        raise EncoderMismatch(
            f"{corpus.name} was encoded by {note['encoder']!r} with fingerprint {note.get('fingerprint')}, "
            f"but {name!r} has {found} here: give the path of that encoder with --encoder"
        )
    return VectorConfig(name, made, dtypes=dtypes)
