"""Documents on their way in: checked against the collection, then turned into sparse rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index.canonical import canonical
from lsr.documents import DEFAULT_VECTOR, Document, SparseByIndex, SparseByToken, SparseInput, weights_of
from lsr.errors import InvalidDocument
from lsr.metadata import MetadataSchema
from lsr.vectors import NamedVector

_PIECE = 64  # documents
_SURELY_HELD = 65_000.0  # below the largest float16


def settle_vectors(document: Document, vectors: Mapping[str, NamedVector]) -> Document:
    """Return the document with its vector `sparse` under the only vector's name, where none is named default."""
    if DEFAULT_VECTOR not in document.vectors or DEFAULT_VECTOR in vectors or len(vectors) != 1:
        return document
    (only,) = vectors
    if only in document.vectors:
        raise InvalidDocument("invalid_field", f"vectors.{only} and sparse are both given", field=f"vectors.{only}")
    settled = {only if name == DEFAULT_VECTOR else name: vector for name, vector in document.vectors.items()}
    return replace(document, vectors=settled)


def check_document(document: Document, schema: MetadataSchema, vectors: Mapping[str, NamedVector]) -> None:
    """Raise InvalidDocument unless metadata and ready-made vectors of a settled document fit the collection."""
    schema.check(document.metadata)
    for name in document.vectors:
        if name not in vectors:
            raise InvalidDocument(
                "unknown_vector",
                f"the collection has no vector {name!r}; it has {', '.join(sorted(vectors))}",
                field=f"vectors.{name}",
            )
        _check_vector(vectors[name], document)


def document_rows(vector: NamedVector, documents: Sequence[Document]) -> csr_array:
    """Return the documents' vectors, csr_array float32 [n, terms], term numbers rising in each row, no zeros.

    A document with a vector of this name keeps it; the others are encoded, or stay empty where there is no encoder.
    `check` has passed every document. Raises EncoderError.
    """
    ready = [row for row, document in enumerate(documents) if vector.name in document.vectors]
    rows: list[NDArray[np.int64]] = []
    term_ids: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float32]] = []
    if vector.config.encoder is not None:
        # A model gives weights even to an empty text; here no text is no term.
        texts = [
            row
            for row, document in enumerate(documents)
            if vector.name not in document.vectors and document.full_text.strip()
        ]
        if texts:
            encoded = vector.encode_documents([documents[row].full_text for row in texts]).tocoo()
            rows.append(np.array(texts, dtype=np.int64)[encoded.row])
            term_ids.append(encoded.col.astype(np.int64))
            weights.append(encoded.data.astype(np.float32))
    # In pieces: reading a dictionary into an array holds the interpreter's lock, and searches wait for that.
    for piece in (ready[first : first + _PIECE] for first in range(0, len(ready), _PIECE)):
        given = [documents[row].vectors[vector.name] for row in piece]
        lengths = [len(one.weights) if isinstance(one, SparseByToken) else len(one.indices) for one in given]
        rows.append(np.repeat(np.array(piece, dtype=np.int64), lengths))
        term_ids.append(_numbers(vector, given))
        weights.append(weights_of(given, sum(lengths)))
    return _matrix(vector, len(documents), rows, term_ids, weights)


def _check_vector(vector: NamedVector, document: Document) -> None:
    """Raise InvalidDocument if the document's ready-made vector names a term that cannot be taken."""
    given = document.vectors.get(vector.name)
    if given is None:
        return
    if isinstance(given, SparseByToken):
        if not vector.vocabulary.grows:
            tokens = list(given.weights)
            unknown = np.flatnonzero(vector.vocabulary.ids(tokens) < 0)
            if unknown.size:
                token = tokens[int(unknown[0])]
                raise InvalidDocument(
                    "unknown_token",
                    f"{token!r} is not in the vocabulary of {vector.config.encoder!r}",
                    field=f"vectors.{vector.name}.sparse.{token}",
                )
    elif vector.config.encoder is not None and given.indices and max(given.indices) >= len(vector.vocabulary):
        raise InvalidDocument(
            "unknown_token",
            f"term {max(given.indices)} is not in a vocabulary of {len(vector.vocabulary)} terms",
            field=f"vectors.{vector.name}.sparse.indices",
        )
    values = given.weights.values() if isinstance(given, SparseByToken) else given.values
    # Built-ins see in a few µs that all is well (a NaN shows in the sum); who is not gets a message from `canonical`.
    if not values or (min(values) >= 0 and max(values) <= _SURELY_HELD and math.isfinite(sum(values))):
        return
    try:
        canonical(np.fromiter(values, dtype=np.float32, count=len(values)), vector.config.index.impact_dtype)
    except ValueError as error:
        raise InvalidDocument(
            "invalid_sparse", f"vectors.{vector.name}: {error}", field=f"vectors.{vector.name}.sparse"
        ) from None


def _numbers(vector: NamedVector, given: Sequence[SparseInput]) -> NDArray[np.int64]:
    """Number the terms of many ready-made vectors, one after the other; unknown tokens are added."""
    if all(isinstance(one, SparseByIndex) for one in given) and vector.config.encoder is not None:
        indices = [index for one in given if isinstance(one, SparseByIndex) for index in one.indices]
        return np.array(indices, dtype=np.int64)
    tokens: list[str] = []
    for one in given:
        tokens.extend(vector.tokens_of(one))
    vocabulary = vector.vocabulary
    return vocabulary.add(tokens) if vocabulary.grows else vocabulary.ids(tokens)


def _matrix(
    vector: NamedVector,
    count: int,
    rows: list[NDArray[np.int64]],
    term_ids: list[NDArray[np.int64]],
    weights: list[NDArray[np.float32]],
) -> csr_array:
    row = np.concatenate(rows) if rows else np.empty(0, np.int64)
    column = np.concatenate(term_ids) if term_ids else np.empty(0, np.int64)
    weight = np.concatenate(weights) if weights else np.empty(0, np.float32)
    weight = canonical(weight, vector.config.index.impact_dtype)
    # A weight that rounds to 0 is no term of the document: not for a match, not for a document frequency.
    kept = np.flatnonzero(weight > 0)
    # Row and term in one integer, distinct for each entry: NumPy sorts that many times faster than two keys.
    order = kept[np.argsort((row[kept] << 32) | column[kept])]
    indptr = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(row[kept], minlength=count), out=indptr[1:])
    shape = (count, len(vector.vocabulary))
    return csr_array((weight[order], column[order], indptr), shape=shape)
