"""`lsr encode`: the texts of a corpus as sparse vectors in a file, which `lsr index` and other programs read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lsr.cli.arguments import SettingOption, parse_settings, stored_name
from lsr.cli.corpus_options import (
    IdOption,
    MetadataOption,
    ProblemLog,
    StrictFlag,
    TextOption,
    TitleOption,
    check_not_empty,
    fields_of,
)
from lsr.cli.index import CorpusFormat
from lsr.cli.output import Progress, exit_code, progress_bar, say

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from lsr.corpora import Corpus
    from lsr.documents import Document
    from lsr.errors import ExitCode
    from lsr.exchange import VectorRow


BATCH_DOCUMENTS = 256


class VectorFormat(StrEnum):
    """The format of the vectors; `auto`: by the file name."""

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
        typer.Option(
            help="bm25, lsr-mini, lsr-nano, or a checkpoint's name or path.  [default: lsr-mini]", metavar="NAME|PATH"
        ),
    ] = None,
    setting: SettingOption = None,
    format: Annotated[CorpusFormat, typer.Option(help="Format of the corpus.")] = CorpusFormat.auto,
    identifier: IdOption = None,
    title: TitleOption = None,
    text: TextOption = None,
    metadata: MetadataOption = None,
    strict: StrictFlag = False,
    to: Annotated[VectorFormat, typer.Option(help="Format of the vectors.")] = VectorFormat.auto,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Cut texts into passages of at most this many words.", min=1, metavar="WORDS")
    ] = None,
) -> int:
    """Encode a corpus into a file of sparse vectors.

    The file contains the documents too. Give it to lsr index in place of the corpus: nothing is encoded again. An Arrow
    file also records its encoder.
    """
    from lsr.corpora import open_corpus
    from lsr.settings import load_settings

    if to is VectorFormat.auto:
        to = VectorFormat.arrow if Path(out).suffix in (".arrow", ".ipc", ".feather") else VectorFormat.jsonl
    settings = load_settings({"encoder": encoder, "device": device})
    opened = open_corpus(corpus, format.value, chunk=chunk, fields=fields_of(identifier, title, text, metadata))
    check_not_empty(opened, strict=strict)
    return encode_corpus(
        opened,
        out,
        to.value,
        encoder=settings.encoder,
        encoder_settings=parse_settings(setting),
        device=settings.device,
        strict=strict,
    )


def encode_corpus(
    corpus: Corpus,
    out: str,
    format_name: str,
    *,
    encoder: str,
    encoder_settings: Mapping[str, Any],
    device: str = "auto",
    strict: bool = False,
) -> ExitCode:
    """Encode `corpus` into the file `out`; report invalid lines and the number of documents on stderr.

    Raises what `load_with_settings` and the corpus raise, and InputRefused as `index_and_report`.
    """
    from contextlib import suppress

    from encoders import StatisticsMissing, load_with_settings
    from lsr.documents import DEFAULT_VECTOR
    from lsr.exchange import VectorSource, write_vectors

    loaded = load_with_settings(encoder, encoder_settings, device)
    loaded.prepare_documents()  # what is wrong with a model is said before a file is written
    problems = ProblemLog(corpus.name, strict=strict)
    with progress_bar() as progress:
        if loaded.settings.get("average_length", 0.0) is None:
            with suppress(StatisticsMissing):  # a corpus without a document, of which nothing is encoded
                loaded.measure(_texts(corpus, progress))  # type: ignore[attr-defined] # BM25 reads the whole corpus first
        note = {
            "encoder": stored_name(encoder),
            "settings": dict(loaded.settings),
            "fingerprint": loaded.fingerprint,
            "dtypes": [] if loaded.dtype is None else [loaded.dtype],
        }
        rows = _rows(loaded, _documents(corpus, problems, progress))
        written = write_vectors(VectorSource(rows, loaded.vocabulary.tokens, DEFAULT_VECTOR, note), out, format_name)
    problems.close()
    say(f"{written:,} documents written to {'stdout' if out == '-' else out}")
    return exit_code(written, problems.count)


def _texts(corpus: Corpus, progress: Progress | None) -> Iterator[str]:
    from lsr.documents import Document

    for _, content in corpus:
        if isinstance(content, Document):
            yield content.full_text
        if progress is not None:
            progress("measuring", corpus.position, corpus.size)


def _documents(corpus: Corpus, problems: ProblemLog, progress: Progress | None) -> Iterator[Document]:
    from lsr.documents import Document

    for number, content in corpus:
        if isinstance(content, Document):
            yield content
        else:
            problems.add(number, content)
        if progress is not None:
            progress("encoding", corpus.position, corpus.size)


def _rows(encoder: Encoder, documents: Iterator[Document]) -> Iterator[VectorRow]:
    import numpy as np

    from lsr.exchange import VectorRow
    from lsr.exchange.rows import in_batches

    for batch in in_batches(documents, BATCH_DOCUMENTS):
        matrix = encoder.encode_documents([document.full_text for document in batch])
        for row, document in enumerate(batch):
            place = slice(matrix.indptr[row], matrix.indptr[row + 1])
            terms, weights = matrix.indices[place], matrix.data[place]
            # A blank text must match nothing, although a model may give weights to its special tokens.
            kept = weights > 0 if document.full_text.strip() else np.zeros(len(weights), dtype=np.bool_)
            order = np.argsort(terms[kept])
            yield VectorRow(document, terms[kept][order].astype(np.int64), weights[kept][order].astype(np.float32))
