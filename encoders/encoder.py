"""The interface of every encoder, and the vocabulary that numbers its vectors.

An encoder turns texts into a `scipy.sparse.csr_array` of float32: one row per text, one column per term of its
`vocabulary`. No dense array of batch x length x vocabulary ever exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.text.words import Word


class Vocabulary(Protocol):
    """Terms and their numbers. The number of a term never changes; a growing vocabulary only appends."""

    def __len__(self) -> int: ...

    @property
    def grows(self) -> bool:
        """Whether unknown tokens are added (BM25, ready-made vectors) or refused (a model's word pieces)."""
        ...

    def ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return each token's number, int64[len(tokens)]; -1 for an unknown one. Never adds."""
        ...

    def add(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return each token's number, adding the unknown ones at the end; raises TypeError if it does not grow."""
        ...

    def tokens(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """Return the tokens with these numbers; raises IndexError for an unknown number."""
        ...


class CorpusStatistics(Protocol):
    """Statistics of the searched collection that a query side may need: BM25 computes its idf from them."""

    @property
    def document_count(self) -> int:
        """Live documents."""
        ...

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents that contain each term, int64[len(term_ids)]."""
        ...


@runtime_checkable
class DenseEncoder(Protocol):
    """Text to dense vectors of length 1, for rescoring. Safe to call from many threads.

    A blank text has no dense vector: its row is zeros, as it has no term either.
    """

    @property
    def name(self) -> str:
        """The name or path it was loaded by."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of model files and settings: equal hashes mean equal vectors, up to device and precision."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that rebuild this encoder, passed to `load_dense_encoder` with its name."""
        ...

    @property
    def dense_size(self) -> int | None:
        """Numbers in a vector; None for an encoder without dense vectors, whose other methods raise."""
        ...

    @property
    def dtype(self) -> str | None:
        """The precision that its model computes in; None where no model has been read yet. Not in the fingerprint."""
        ...

    def encode_dense_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1, or zeros for a blank text."""
        ...

    def encode_dense_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1, or zeros for a blank text."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Text to sparse vectors. Safe to call from many threads."""

    @property
    def name(self) -> str:
        """The name or path it was loaded by."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The terms of the columns."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of model files and settings: equal hashes mean equal vectors, up to device and precision."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that rebuild this encoder, passed to `load_encoder` with its name."""
        ...

    @property
    def looks_queries_up(self) -> bool:
        """Whether a query's weights are looked up in a table, not computed by a model: well below 1 ms per query."""
        ...

    @property
    def dtype(self) -> str | None:
        """The precision that its model computes in, such as "bfloat16".

        None where there is no model, or none has been read yet. It is not part of the fingerprint.
        """
        ...

    def prepare_documents(self) -> None:
        """Load what encoding documents needs now, not at the first document.

        Raises CheckpointError, ModelsMissing.
        """
        ...

    def encode_documents(self, texts: Sequence[str]) -> csr_array:
        """Return float32 csr_array [len(texts), len(vocabulary)].

        An empty text is an empty row in BM25; a model may give it weights, as the code of its authors does.
        """
        ...

    def encode_queries(self, texts: Sequence[str], statistics: CorpusStatistics | None = None) -> csr_array:
        """Return float32 csr_array [len(texts), len(vocabulary)]; BM25 needs `statistics`, models do not."""
        ...

    def encode_document_batches(self, texts: Iterable[str]) -> Iterator[csr_array]:
        """Yield the matrices of consecutive batches of `texts`, in order, at constant memory."""
        ...

    def input_term_ids(self, text: str) -> NDArray[np.int64]:
        """Return the numbers of the terms that the text itself contains (a query's other terms are expansion)."""
        ...

    def words(self, text: str, term_ids: Collection[int] | None = None) -> list[Word]:
        """Return the words of the whole text, in order, each with its position and its terms.

        With `term_ids`, return only the words that have one of these terms: enough for highlighting, and cheaper.
        """
        ...


@runtime_checkable
class SparseAndDenseEncoder(Encoder, DenseEncoder, Protocol):
    """An encoder that can make both vectors of a document; only where `dense_size` is not None."""

    def encode_documents_with_dense(self, texts: Sequence[str]) -> tuple[csr_array, NDArray[np.float32]]:
        """Return `encode_documents` and `encode_dense_documents` of the texts, from one pass of the model."""
        ...
