"""`lsr encode`: a corpus's texts as sparse vectors in a file, which `lsr index` and others read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.encoder_options import SettingOption, parse_settings
from lsr.cli.index import CorpusFormat


class VectorFormat(StrEnum):
    """How vectors are written down; `auto` goes by the name."""

    auto = "auto"
    jsonl = "jsonl"
    arrow = "arrow"
    anserini = "anserini"


def encode(
    corpus: Annotated[
        str, typer.Argument(help="As for lsr index: folder, file, - or ir-datasets:ID.", metavar="CORPUS")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="File to write; - for stdout (JSON lines).", metavar="FILE")],
    encoder: Annotated[
        str | None,
        typer.Option(help="bm25, lsr-mini, or a checkpoint's name or path.  [default: lsr-mini]", metavar="NAME|PATH"),
    ] = None,
    setting: SettingOption = None,
    format: Annotated[CorpusFormat, typer.Option(help="How the corpus is written down.")] = CorpusFormat.auto,
    to: Annotated[VectorFormat, typer.Option(help="How the vectors are written down.")] = VectorFormat.auto,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Cut texts into passages of this many words.", min=1, metavar="WORDS")
    ] = None,
) -> int:
    """Encode a corpus into a file of sparse vectors.

    The file holds the documents too. lsr index takes it in place of the corpus and then encodes nothing; an Arrow file
    also says which encoder made it.
    """
    from lsr.cli.encoding import encode_corpus
    from lsr.corpora import open_corpus
    from lsr.settings import load_settings

    if to is VectorFormat.auto:
        to = VectorFormat.arrow if Path(out).suffix in (".arrow", ".ipc", ".feather") else VectorFormat.jsonl
    settings = load_settings({"encoder": encoder, "device": device})
    return encode_corpus(
        open_corpus(corpus, format.value, chunk=chunk),
        out,
        to.value,
        encoder=settings.encoder,
        encoder_settings=parse_settings(setting),
        device=settings.device,
    )
