"""The input of every format: documents with one sparse vector each, and the meaning of the term numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lsr.documents import DenseInput, Document

T = TypeVar("T")


class VectorRow(NamedTuple):
    """A document and its vector: term numbers int64, ascending, and for each a weight float32 above 0."""

    document: Document
    term_ids: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class DenseNote:
    """How many numbers a dense vector has, and what made it, if known: encoder, settings and fingerprint."""

    dimensions: int
    encoder: Mapping[str, Any] | None = None


def same_numbers(term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers themselves."""
    return term_ids


@dataclass(frozen=True)
class VectorSource:
    """Rows to read once. `tokens` maps term numbers to tokens; `encoder` describes the vectors' encoder, if known.

    `numbers` maps them to the numbers that systems without tokens get (see `numbers_of`).
    """

    rows: Iterable[VectorRow]
    tokens: Callable[[NDArray[np.int64]], list[str]]
    vector_name: str
    encoder: Mapping[str, Any] | None = None
    dense: Mapping[str, DenseNote] = field(default_factory=dict)
    numbers: Callable[[NDArray[np.int64]], NDArray[np.int64]] = same_numbers

    def by_token(self) -> Iterator[tuple[Document, dict[str, float]]]:
        """Yield each document with its vector by token."""
        for document, term_ids, weights in self.rows:
            yield document, dict(zip(self.tokens(term_ids), weights.tolist(), strict=True))


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` consecutive items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def fields_of(document: Document) -> dict[str, Any]:
    """Return a document's fields, without the empty ones."""
    fields: dict[str, Any] = {}
    if document.title:
        fields["title"] = document.title
    if document.text:
        fields["text"] = document.text
    if document.parent is not None:
        fields["parent"] = document.parent
    if document.metadata:
        fields["metadata"] = dict(document.metadata)
    return fields


def dense_of(document: Document) -> dict[str, NDArray[np.float32]]:
    """Return a document's dense vectors by name, float32[dims]."""
    return {
        name: np.array(vector.values, dtype=np.float32)
        for name, vector in document.vectors.items()
        if isinstance(vector, DenseInput)
    }
