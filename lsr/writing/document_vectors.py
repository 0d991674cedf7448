"""Documents on their way in: checked against the collection, then turned into sparse and dense rows.

A sparse and a dense vector with one encoder are made by one pass of its model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import SparseAndDenseEncoder
from index.canonical_weights import canonical
from lsr.dense_vectors import DenseSource, DenseVector, Quantised, unit_rows
from lsr.documents import (
    DEFAULT_VECTOR,
    DenseInput,
    Document,
    SparseByIndex,
    SparseByToken,
    SparseInput,
    VectorInput,
    check_built,
    weights_of,
)
from lsr.errors import InvalidDocument
from lsr.metadata import MetadataSchema
from lsr.vectors import NamedVector

_PIECE = 64  # documents
_SAFE_WEIGHT = 65_000.0  # below the largest float16


class NewVectors(NamedTuple):
    """The vectors of some documents by name: sparse ones as csr_array [n, terms], dense ones as they are kept."""

    sparse: dict[str, csr_array]
    dense: dict[str, Quantised]


def settle_vectors(
    document: Document, vectors: Mapping[str, NamedVector], dense: Mapping[str, DenseVector]
) -> Document:
    """Return the document with its vector `sparse` under the only sparse vector's name, where none is named default."""
    if DEFAULT_VECTOR not in document.vectors or len(vectors) != 1 or DEFAULT_VECTOR in (*vectors, *dense):
        return document
    (only,) = vectors
    if only in document.vectors:
        raise InvalidDocument("invalid_field", f"vectors.{only} and sparse are both given", field=f"vectors.{only}")
    settled = {only if name == DEFAULT_VECTOR else name: vector for name, vector in document.vectors.items()}
    return replace(document, vectors=settled)


def check_document(
    document: Document,
    schema: MetadataSchema,
    vectors: Mapping[str, NamedVector],
    dense: Mapping[str, DenseVector],
) -> None:
    """Raise InvalidDocument unless a settled document is sound, and its metadata and vectors fit the collection."""
    check_built(document)
    schema.check(document.metadata)
    for name, given in document.vectors.items():
        if name in vectors:
            if isinstance(given, DenseInput):
                raise InvalidDocument(
                    "invalid_sparse", f'vectors.{name} is a sparse vector: {{"sparse": …}}', field=f"vectors.{name}"
                )
            _check_vector(vectors[name], given)
        elif name in dense:
            _check_dense(dense[name], given)
        else:
            raise InvalidDocument(
                "unknown_vector",
                f"the collection has no vector {name!r}; it has {', '.join(sorted((*vectors, *dense)))}",
                field=f"vectors.{name}",
            )


def document_vectors(
    vectors: Mapping[str, NamedVector], dense: Mapping[str, DenseVector], documents: Sequence[Document]
) -> NewVectors:
    """Return the documents' vectors, a row for each.

    A document with a vector of a name keeps it, a dense one brought to length 1; the others are encoded, each text once
    by each encoder. Without an encoder, or a text, a document has no vector of that name. `check_document` has passed
    every document. Raises EncoderError, EncoderMismatch.
    """
    encoded: dict[str, _Encoded] = {}
    by_source: dict[int, _EncodedDense] = {}
    for source in {id(vector.source): vector.source for vector in dense.values()}.values():
        if source is None:
            continue
        wanted: set[int] = set()
        for vector in dense.values():
            if vector.source is source and (rows := _rows_to_encode(vector, documents)):
                _ = vector.encoder  # checked to be the one that made the stored vectors
                wanted.update(rows)
        if wanted:
            by_source[id(source)] = _encode_both(source, sorted(wanted), documents, encoded)
            for vector in dense.values():
                if vector.source is source:
                    vector.note_dtype()
    return NewVectors(
        {name: _sparse_rows(vector, documents, encoded.get(name)) for name, vector in vectors.items()},
        {name: _dense_rows(vector, documents, by_source.get(id(vector.source))) for name, vector in dense.items()},
    )


class _Encoded(NamedTuple):
    """Encoded documents: `rows` are their numbers, `matrix` has a row for each."""

    rows: list[int]
    matrix: csr_array


class _EncodedDense(NamedTuple):
    """Encoded documents: `rows` are their numbers, `vectors` float32 has a row for each."""

    rows: list[int]
    vectors: NDArray[np.float32]


def _rows_to_encode(vector: NamedVector | DenseVector, documents: Sequence[Document]) -> list[int]:
    """Return the numbers of the documents with a text and without a vector of this name.

    A model gives weights even to an empty text; here an empty text has no terms and no direction.
    """
    return [
        row
        for row, document in enumerate(documents)
        if vector.name not in document.vectors and document.full_text.strip()
    ]


def _encode_both(
    source: DenseSource, wanted: list[int], documents: Sequence[Document], encoded: dict[str, _Encoded]
) -> _EncodedDense:
    """Return the dense vectors of the documents `wanted`; where the same pass makes a sparse vector that is needed, put
    that into `encoded`."""
    sparse = source.sparse
    own = _rows_to_encode(sparse, documents) if sparse is not None else []
    encoder = source.encoder
    if sparse is None or not own or not isinstance(encoder, SparseAndDenseEncoder):
        return _EncodedDense(wanted, encoder.encode_dense_documents([documents[row].full_text for row in wanted]))
    rows = sorted({*own, *wanted})
    matrix, vectors = encoder.encode_documents_with_dense([documents[row].full_text for row in rows])
    sparse.note_dtype()
    kept = np.searchsorted(rows, own)
    encoded[sparse.name] = _Encoded(own, matrix if len(kept) == len(rows) else matrix[kept])
    return _EncodedDense(rows, vectors)


def _dense_rows(vector: DenseVector, documents: Sequence[Document], encoded: _EncodedDense | None) -> Quantised:
    values = np.zeros((len(documents), vector.dims), dtype=np.float64)
    if encoded is not None:
        wanted = _rows_to_encode(vector, documents)
        values[wanted] = vector.cut(encoded.vectors[np.searchsorted(encoded.rows, wanted)])
    for row, document in enumerate(documents):
        given = document.vectors.get(vector.name)
        if isinstance(given, DenseInput):
            values[row] = given.values
    return unit_rows(values)


def _sparse_rows(vector: NamedVector, documents: Sequence[Document], encoded: _Encoded | None) -> csr_array:
    """Return the documents' vectors, csr_array float32 [n, terms], term numbers ascending in each row, no zeros.

    `encoded` are those documents that another vector's pass has encoded for this one.
    """
    ready = [row for row, document in enumerate(documents) if vector.name in document.vectors]
    rows: list[NDArray[np.int64]] = []
    term_ids: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float32]] = []
    if encoded is None and vector.config.encoder is not None:
        texts = _rows_to_encode(vector, documents)
        if texts:
            encoded = _Encoded(texts, vector.encode_documents([documents[row].full_text for row in texts]))
    if encoded is not None:
        entries = encoded.matrix.tocoo()
        rows.append(np.array(encoded.rows, dtype=np.int64)[entries.row])
        term_ids.append(entries.col.astype(np.int64))
        weights.append(entries.data.astype(np.float32))
    # In pieces: reading a dictionary into an array holds the interpreter's lock, and searches wait for that.
    for piece in (ready[first : first + _PIECE] for first in range(0, len(ready), _PIECE)):
        given = [_sparse_input(documents[row], vector.name) for row in piece]
        lengths = [len(one.weights) if isinstance(one, SparseByToken) else len(one.indices) for one in given]
        rows.append(np.repeat(np.array(piece, dtype=np.int64), lengths))
        term_ids.append(_numbers(vector, given))
        weights.append(weights_of(given, sum(lengths)))
    return _matrix(vector, len(documents), rows, term_ids, weights)


def _sparse_input(document: Document, name: str) -> SparseInput:
    given = document.vectors[name]
    if isinstance(given, DenseInput):
        raise TypeError(f"{name} is given as a dense vector, and was not checked")
    return given


def _check_dense(vector: DenseVector, given: VectorInput) -> None:
    """Raise InvalidDocument unless a ready-made vector is a dense one of the right length."""
    field = f"vectors.{vector.name}"
    if not isinstance(given, DenseInput):
        raise InvalidDocument("invalid_dense", f'{field} is a dense vector: {{"dense": […]}}', field=field)
    values = given.values
    if len(values) != vector.dims:
        raise InvalidDocument(
            "invalid_dense", f"{field}.dense has {len(values)} numbers instead of {vector.dims}", field=f"{field}.dense"
        )
    if not math.isfinite(math.fsum(map(abs, values))) or not any(values):
        raise InvalidDocument(
            "invalid_dense", f"{field}.dense: finite numbers are needed, and one that is not 0", field=f"{field}.dense"
        )


def _check_vector(vector: NamedVector, given: SparseInput) -> None:
    """Raise InvalidDocument if a ready-made vector has an unknown term or an invalid weight."""
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
    # A fast check with built-ins, a few µs (any NaN makes the sum NaN); if it fails, `canonical` gives the message.
    if not values or (min(values) >= 0 and max(values) <= _SAFE_WEIGHT and math.isfinite(sum(values))):
        return
    try:
        # Of float64: a number that no float32 can hold becomes infinite in `canonical`, which says so.
        canonical(np.fromiter(values, dtype=np.float64, count=len(values)), vector.config.index.impact_dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidDocument(
            "invalid_sparse", f"vectors.{vector.name}: {error}", field=f"vectors.{vector.name}.sparse"
        ) from None


def _numbers(vector: NamedVector, given: Sequence[SparseInput]) -> NDArray[np.int64]:
    """Return the term numbers of many ready-made vectors, concatenated; unknown tokens are added."""
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
    # A weight that rounds to 0 is not a term of the document: neither for a match nor for a document frequency.
    kept = np.flatnonzero(weight > 0)
    # Row and term in one integer, distinct for each entry: NumPy sorts it many times faster than two keys.
    order = kept[np.argsort((row[kept] << 32) | column[kept])]
    indptr = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(row[kept], minlength=count), out=indptr[1:])
    shape = (count, len(vector.vocabulary))
    return csr_array((weight[order], column[order], indptr), shape=shape)
