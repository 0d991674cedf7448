"""Sample queries for measuring a new segment's recall targets: real ones, or short texts of its documents as queries.

`search(recall=0.98)` uses a curve that is measured when a segment is built. The measurement needs queries similar to
those of users. A collection may keep a sample of real ones (query_sample.py). Otherwise the best substitute that every
collection has are its titles, or the first words of its texts. Whole
documents would mislead: they are far longer than queries. Ready-made vectors have no text to encode, and BM25
collections need no curve: they are searched exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from lsr.documents import Document
from lsr.storage.generation import Generation, SegmentView
from lsr.vectors import NamedVector

REAL_QUERIES: Final = "sampled queries of users"
SHORT_TEXTS: Final = "titles or first words of documents"
AT_LEAST = 20_000  # documents; a smaller segment is always searched exactly

_SAMPLE = 400
_WORDS = 8


class SampleQueries(NamedTuple):
    """Queries of one vector, float32 csr_array [queries, terms], and where they come from."""

    queries: csr_array
    source: str


class SampledTexts:
    """A few hundred short texts, evenly spaced over all documents added, for any number of documents."""

    def __init__(self) -> None:
        self.seen = 0
        self._step = 1
        self._texts: list[str] = []

    def add(self, documents: Iterable[Document]) -> None:
        """Add documents to sample from."""
        for document in documents:
            if self.seen % self._step == 0:
                self._texts.append(short_text(document))
                if len(self._texts) >= 2 * _SAMPLE:
                    del self._texts[1::2]
                    self._step *= 2
            self.seen += 1

    def encode(self, vectors: Mapping[str, NamedVector]) -> dict[str, SampleQueries]:
        """Return the texts as queries for each vector that has a model.

        Empty if there are too few documents. Raises EncoderError.
        """
        texts = [text for text in self._texts if text]
        if self.seen < AT_LEAST or not texts:
            return {}
        return {
            name: SampleQueries(vector.encoder.encode_queries(texts), SHORT_TEXTS)
            for name, vector in vectors.items()
            if vector.config.encoder is not None and not vector.vocabulary.grows
        }


def short_text(document: Document) -> str:
    """Return the title, or the first words of the text."""
    return document.title or " ".join(document.text.split(maxsplit=_WORDS)[:_WORDS])


def spaced_texts(generation: Generation, count: int) -> list[str]:
    """Return short texts of about `count` live documents, evenly spaced; without blank and repeated ones."""
    step = max(1, generation.document_count // count)
    found: dict[str, None] = {}
    number = 0
    for view in generation.segments:
        live = np.arange(len(view.segment)) if view.live is None else np.flatnonzero(view.live)
        for at in live[-number % step :: step].tolist():
            found[short_text(view.segment.documents.document(at)).strip()] = None
        number += len(live)
    for chunk in generation.pending.chunks:
        live = np.flatnonzero(chunk.live)
        for at in live[-number % step :: step].tolist():
            found[short_text(chunk.content.documents[at]).strip()] = None
        number += len(live)
    found.pop("", None)
    return list(found)[:count]


def sample_segments(views: Iterable[SegmentView]) -> SampledTexts:
    """Return sampled texts of the segments' live documents; reads only the sampled documents."""
    sampled = SampledTexts()
    total = sum(view.live_count for view in views)
    step = max(1, total // _SAMPLE)
    for view in views:
        for at in range(0, len(view.segment), step):
            if view.live is None or view.live[at]:
                sampled.add([view.segment.documents.document(at)])
    sampled.seen = total
    return sampled
