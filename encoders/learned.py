"""An encoder of two sides: one for documents and one for queries, over one fixed vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import CorpusStatistics
from encoders.errors import SettingError
from encoders.settings import Family
from encoders.sides.combined_calls import CombinedCalls
from encoders.sides.deferred import DeferredSide
from encoders.sides.side import DenseSide, Side
from encoders.sides.static import StaticSide
from encoders.text.checks import batches, check_texts
from encoders.text.words import Word
from encoders.vocabulary import FixedVocabulary

_WINDOW = 1024  # texts that are sorted by length together; sets the memory of encode_document_batches


class LearnedEncoder:
    """A learned sparse encoder. Safe to call from many threads."""

    def __init__(
        self,
        name: str,
        *,
        documents: Side | DeferredSide,
        queries: Side,
        vocabulary: FixedVocabulary,
        fingerprint: str,
        settings: Mapping[str, Any],
    ) -> None:
        self._name = name
        self._documents = documents
        self._queries = queries
        # For models only: a lookup is finished before a batch could form.
        self._encode_queries: CombinedCalls[csr_array] = CombinedCalls(queries.encode)
        self._encode_dense_queries: CombinedCalls[NDArray[np.float32]] = CombinedCalls(self._encode_dense)
        # The latents of an autoencoder have numbers like tokens, but are not tokens.
        self._terms_are_tokens = documents.settings.family is not Family.AUTOENCODER
        self._vocabulary = vocabulary
        self._fingerprint = fingerprint
        self._settings = dict(settings)

    @property
    def name(self) -> str:
        """The name or path it was loaded by."""
        return self._name

    @property
    def vocabulary(self) -> FixedVocabulary:
        """The model's tokens."""
        return self._vocabulary

    @property
    def fingerprint(self) -> str:
        """A hash of the files and settings that decide the vectors; it does not cover device and precision."""
        return self._fingerprint

    @property
    def settings(self) -> dict[str, Any]:
        """What was set in place of the checkpoint's own values, as JSON values; dtype too, where it was set."""
        return dict(self._settings)

    @property
    def looks_queries_up(self) -> bool:
        """Whether the query side is a table of weights."""
        return self._queries.settings.family is Family.STATIC

    @property
    def dtype(self) -> str | None:
        """The precision that its model computes in, such as "bfloat16"; None where no model has been read yet."""
        return self._documents.dtype or self._queries.dtype

    @property
    def documents(self) -> Side:
        """The document side, with its model; raises what `prepare_documents` raises."""
        return self._documents.built() if isinstance(self._documents, DeferredSide) else self._documents

    @property
    def queries(self) -> Side:
        """The query side."""
        return self._queries

    def prepare_documents(self) -> None:
        """Read the model that encodes documents now, not at the first document.

        Raises CheckpointError, ModelsMissing.
        """
        _ = self.documents

    def encode_documents(self, texts: Sequence[str]) -> csr_array:
        """Return float32 csr_array [len(texts), len(vocabulary)]. The model decides the weights of an empty text."""
        return self._documents.encode(check_texts(texts))

    def encode_queries(self, texts: Sequence[str], statistics: CorpusStatistics | None = None) -> csr_array:
        """Return float32 csr_array [len(texts), len(vocabulary)].

        A table of weights may depend on the idf of the collection that `statistics` are of; nothing else reads them.
        """
        if isinstance(self._queries, StaticSide):
            return self._queries.encode(check_texts(texts), statistics)
        return self._encode_queries(check_texts(texts))

    @property
    def dense_size(self) -> int | None:
        """Numbers in the dense vector that the document pass also computes; None where it computes none."""
        if self._documents.settings.family is not Family.POOLED:
            return None
        known = self._documents.dense_size if isinstance(self._documents, DeferredSide) else None
        return self._dense_side().dense_size if known is None else known

    def encode_documents_with_dense(self, texts: Sequence[str]) -> tuple[csr_array, NDArray[np.float32]]:
        """Return `encode_documents` and `encode_dense_documents` of the texts, from one pass of the model.

        Raises SettingError where the document pass computes no dense vector.
        """
        return self._dense_side().encode_with_dense(check_texts(texts))

    def encode_dense_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1, zeros for a blank text.

        Raises SettingError where the document pass computes no dense vector.
        """
        return self._encode_dense(check_texts(texts))

    def encode_dense_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the same as `encode_dense_documents`: queries and documents have one model.

        Calls that arrive at the same time are computed together.
        """
        return self._encode_dense_queries(check_texts(texts))

    def encode_document_batches(self, texts: Iterable[str]) -> Iterator[csr_array]:
        """Yield the matrices of consecutive batches, in order; memory does not grow with the number of texts."""
        for window in batches(texts, _WINDOW):
            yield self._documents.encode(window)

    def input_term_ids(self, text: str) -> NDArray[np.int64]:
        """Return the distinct terms of the query's own tokens, ascending, without special tokens."""
        tokenization = self._queries.tokenization
        checked = check_texts([text])
        ids = tokenization.ids(checked, special_tokens=False)[0] if self._terms_are_tokens else []
        return np.array(sorted(set(tokenization.terms(ids)) - tokenization.special_ids), dtype=np.int64)

    def words(self, text: str, term_ids: Collection[int] | None = None) -> list[Word]:
        """Return the words of `text` with their positions and word pieces, also those beyond the model's length.

        With `term_ids`, only the words that contain one of these terms.
        """
        checked = check_texts([text])[0]
        if not self._terms_are_tokens:
            bare = self._documents.tokenization.words(checked) if term_ids is None else []
            return [Word(word.start, word.end, ()) for word in bare]
        return self._documents.tokenization.words(checked, term_ids)

    def _encode_dense(self, texts: list[str]) -> NDArray[np.float32]:
        return self._dense_side().encode_dense(texts)

    def _dense_side(self) -> DenseSide:
        side = self.documents
        if not isinstance(side, DenseSide):
            raise SettingError(f"{self._name} has no dense vectors: its document side is not a pooled one")
        return side
