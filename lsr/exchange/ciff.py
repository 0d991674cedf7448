"""Common Index File Format (Lin et al. 2020, arXiv:2003.08276): one inverted index in one file.

The file is a header, then the postings lists in the order of their terms, then a record for each document; each is a
protobuf message after its length. Weights become integers (weight × scale, rounded; those that round to 0 are dropped)
in the term frequency field, as is usual for learned sparse models.

CIFF is ordered by term and a collection by document, so all postings are in memory once: 16 bytes each.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from lsr.errors import QueryError
from lsr.exchange.rows import VectorSource

_MAX_IMPACT: Final = 2**31 - 1  # int32 in the format
_VARINT, _FIXED64, _BYTES = 0, 1, 2  # protobuf's wire types


def write_ciff(source: VectorSource, out: BinaryIO, scale: float, description: str) -> int:
    """Write the index; return the number of documents. Raises QueryError if `scale` makes a weight too large."""
    names: list[str] = []
    terms: list[NDArray[np.int64]] = []
    impacts: list[NDArray[np.int64]] = []
    for document, term_ids, weights in source.rows:
        scaled = np.rint(weights.astype(np.float64) * scale)
        if scaled.size and scaled.max() > _MAX_IMPACT:
            raise QueryError(f"a weight of {document.id!r} times {scale:g} does not fit in 31 bits", field="scale")
        kept = scaled > 0
        names.append(document.id)
        terms.append(term_ids[kept])
        impacts.append(scaled[kept].astype(np.int64))
    lengths = np.array([int(row.sum()) for row in impacts], dtype=np.int64)
    term_of, document_of, impact_of = _by_term(terms, impacts)
    present, starts = np.unique(term_of, return_index=True)
    ends = np.append(starts[1:], len(term_of))
    tokens = source.tokens(present)
    _put(out, _header(len(present), lengths, description))
    for at in sorted(range(len(tokens)), key=tokens.__getitem__):
        place = slice(int(starts[at]), int(ends[at]))
        _put(out, _postings_list(tokens[at], document_of[place], impact_of[place]))
    for number, name in enumerate(names):
        _put(out, _number(1, number) + _text(2, name) + _number(3, int(lengths[number])))
    return len(names)


def _by_term(
    terms: Sequence[NDArray[np.int64]], impacts: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Turn rows into (term, document, impact) of equal length, sorted by term and then document."""
    counts = [len(row) for row in terms]
    document_of = np.repeat(np.arange(len(terms), dtype=np.int32), counts)
    term_of = np.concatenate([np.empty(0, np.int64), *terms])
    impact_of = np.concatenate([np.empty(0, np.int64), *impacts]).astype(np.int32)
    order = np.argsort(term_of, kind="stable")  # stable: documents stay in ascending order within a term
    return term_of[order], document_of[order], impact_of[order]


def _header(terms: int, lengths: NDArray[np.int64], description: str) -> bytes:
    documents, total = len(lengths), int(lengths.sum())
    counts = (1, terms, documents, terms, documents, total)  # version, lists, documents, both totals, sum of lengths
    numbers = b"".join(_number(field, value) for field, value in enumerate(counts, start=1))
    average = struct.pack("<d", total / documents if documents else 0.0)
    return numbers + _tag(7, _FIXED64) + average + _text(8, description)


def _postings_list(term: str, documents: NDArray[np.int32], impacts: NDArray[np.int32]) -> bytes:
    gaps = np.diff(documents, prepend=0).tolist()
    message = bytearray(_text(1, term) + _number(2, len(documents)) + _number(3, int(impacts.sum(dtype=np.int64))))
    for gap, impact in zip(gaps, impacts.tolist(), strict=True):
        posting = _number(1, gap) + _number(2, impact)
        message += _tag(4, _BYTES) + _varint(len(posting)) + posting
    return bytes(message)


def _put(out: BinaryIO, message: bytes) -> None:
    out.write(_varint(len(message)) + message)


def _number(field: int, value: int) -> bytes:
    """Encode an integer field; proto3 omits zeros."""
    return _tag(field, _VARINT) + _varint(value) if value else b""


def _text(field: int, value: str) -> bytes:
    encoded = value.encode()
    return _tag(field, _BYTES) + _varint(len(encoded)) + encoded if encoded else b""


def _tag(field: int, wire_type: int) -> bytes:
    return bytes((field << 3 | wire_type,))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
