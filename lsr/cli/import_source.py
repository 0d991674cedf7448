"""`lsr import`: a collection of another search system, or a file of vectors, as a collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lsr.cli.arguments import SettingOption, parse_object, parse_settings
from lsr.cli.corpus_options import AUTO, IdOption, MetadataOption, StrictFlag, TextOption, TitleOption, fields_of
from lsr.cli.output import JsonFlag

if TYPE_CHECKING:
    from lsr.exchange.servers import Access

KEY_VARIABLE: Final = "LSR_SOURCE_KEY"

KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help=f"File with the server's API key, or user:password; the environment variable {KEY_VARIABLE} works too.",
        metavar="FILE",
    ),
]
CaFileOption = Annotated[
    Path | None,
    typer.Option("--ca-file", help="PEM file of the authority that signed the server's certificate.", metavar="FILE"),
]


class WeightType(StrEnum):
    """How a collection keeps the weights."""

    float16 = "float16"
    float32 = "float32"


def import_source(
    source: Annotated[
        str,
        typer.Argument(
            help="qdrant:URL/COLLECTION, qdrant:FILE.snapshot, opensearch:URL/INDEX, elasticsearch:URL/INDEX, "
            "milvus:URL/COLLECTION, milvus:FILE.db/COLLECTION; or a file or folder: JSON vectors (Pyserini, Seismic, "
            "ours), Parquet, Arrow, a data set saved by the package datasets.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new collection.", metavar="DIR")],
    vector: Annotated[
        str | None,
        typer.Option(
            help="Vectors to read, by the server's names, with ours where they differ; none: encode the texts.  "
            "[default: all; the only sparse one becomes default]",
            metavar="FIELD[=NAME],…",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="The encoder that made the sparse vectors, or, if there are none, that makes them.  [default: none; "
            "lsr-mini for texts]",
            metavar="NAME|PATH",
        ),
    ] = None,
    setting: SettingOption = None,
    terms: Annotated[
        Path | None,
        typer.Option(help="Table of term numbers and tokens, as lsr export --terms writes it.", metavar="FILE"),
    ] = None,
    weights: Annotated[
        WeightType, typer.Option(help="float32 keeps the weights as they are; float16 needs half the space.")
    ] = WeightType.float32,
    identifier: IdOption = None,
    title: TitleOption = None,
    text: TextOption = None,
    metadata: MetadataOption = None,
    schema: Annotated[
        str | None,
        typer.Option(help="Metadata fields to filter by, as JSON; auto: guessed, printed.", metavar="JSON|auto"),
    ] = None,
    key_file: KeyFileOption = None,
    ca_file: CaFileOption = None,
    batch: Annotated[int, typer.Option(help="Documents per request.", min=1, max=10_000, metavar="N")] = 256,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an import that was stopped.")] = False,
    strict: StrictFlag = False,
    threads: Annotated[int | None, typer.Option(help="Threads; default: all cores.", metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Import a collection of another system, or a file of vectors.

    A server is read once, into DIR.import, which is removed at the end; after Ctrl-C or a failure the same command with
    --resume continues where it stopped. Fields that are neither title nor text become metadata.
    """
    from lsr.cli.import_steps import ImportOptions, import_file, import_remote
    from lsr.exchange.servers import is_remote

    options = ImportOptions(
        source=source,
        out=out,
        vector=vector,
        encoder=encoder,
        settings=parse_settings(setting),
        terms=terms,
        weights=weights.value,
        fields=fields_of(identifier, title, text, metadata),
        schema=AUTO if schema == AUTO else _declared(schema),
        resume=resume,
        strict=strict,
        threads=threads,
        as_json=json,
    )
    if is_remote(source):
        return import_remote(options, access(source, key_file, ca_file, batch))
    return import_file(options)


def access(source: str, key_file: Path | None, ca_file: Path | None, rows: int = 256) -> Access:
    """Return how to reach a server; warns where its key would be sent without encryption.

    Raises typer.BadParameter for a key file that cannot be read or is empty.
    """
    from lsr.cli.output import say
    from lsr.exchange.servers import Access
    from lsr.exchange.servers.json_client import sends_key_openly

    key = os.environ.get(KEY_VARIABLE) or None
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{key_file}: {error}", param_hint="--key-file") from None
        if not key:
            raise typer.BadParameter(f"{key_file} is empty", param_hint="--key-file")
    server = source.partition(":")[2]
    if key is not None and server.startswith("http") and sends_key_openly(server):
        say(f"warning: the key is sent to {server} without encryption: use https")
    return Access(key, ca_file, rows)


def _declared(schema: str | None) -> Mapping[str, Any] | None:
    return parse_object(schema, "--schema")
