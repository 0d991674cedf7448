"""What `lsr encode` does: documents through an encoder into a file, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from encoders import load_encoder
from encoders.encoder import Encoder
from lsr.cli.encoder_options import stored_name
from lsr.cli.problem_log import ProblemLog, exit_code
from lsr.cli.progress import Progress, progress_bar
from lsr.cli.running import say
from lsr.corpora import Corpus
from lsr.documents import DEFAULT_VECTOR, Document
from lsr.errors import ExitCode
from lsr.exchange import VectorRow, VectorSource, write_vectors
from lsr.exchange.rows import in_batches

BATCH_DOCUMENTS = 256


def encode_corpus(
    corpus: Corpus,
    out: str,
    format_name: str,
    *,
    encoder: str,
    encoder_settings: Mapping[str, Any],
    device: str = "auto",
) -> ExitCode:
    """Encode `corpus` into the file `out`; tell the bad lines and how many documents were written on stderr.

    Raises what `load_encoder` and the corpus raise.
    """
    loaded = load_encoder(encoder, device=device, **encoder_settings)
    problems = ProblemLog(corpus.name)
    with progress_bar() as progress:
        if loaded.settings.get("average_length", 0.0) is None:
            loaded.measure(_texts(corpus, progress))  # type: ignore[attr-defined] # BM25 sees the whole corpus first
        note = {"encoder": stored_name(encoder), "settings": dict(loaded.settings), "fingerprint": loaded.fingerprint}
        rows = _rows(loaded, _documents(corpus, problems, progress))
        written = write_vectors(VectorSource(rows, loaded.vocabulary.tokens, DEFAULT_VECTOR, note), out, format_name)
    problems.close()
    say(f"{written:,} documents written to {'stdout' if out == '-' else out}")
    return exit_code(written, problems.count)


def _texts(corpus: Corpus, progress: Progress | None) -> Iterator[str]:
    for _, content in corpus:
        if isinstance(content, Document):
            yield content.full_text
        if progress is not None:
            progress("measuring", corpus.position, corpus.size)


def _documents(corpus: Corpus, problems: ProblemLog, progress: Progress | None) -> Iterator[Document]:
    for number, content in corpus:
        if isinstance(content, Document):
            yield content
        else:
            problems.add(number, content)
        if progress is not None:
            progress("encoding", corpus.position, corpus.size)


def _rows(encoder: Encoder, documents: Iterator[Document]) -> Iterator[VectorRow]:
    for batch in in_batches(documents, BATCH_DOCUMENTS):
        matrix = encoder.encode_documents([document.full_text for document in batch])
        for row, document in enumerate(batch):
            place = slice(matrix.indptr[row], matrix.indptr[row + 1])
            terms, weights = matrix.indices[place], matrix.data[place]
            # A blank text matches nothing, whatever a model makes of its own special tokens.
            kept = weights > 0 if document.full_text.strip() else np.zeros(len(weights), dtype=np.bool_)
            order = np.argsort(terms[kept])
            yield VectorRow(document, terms[kept][order].astype(np.int64), weights[kept][order].astype(np.float32))
