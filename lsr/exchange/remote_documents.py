"""A document of another system as one of ours: its id, its fields (corpora/fields.py), its vectors under our names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from lsr.corpora.arrow_rows import as_json
from lsr.corpora.fields import Fields, document_of
from lsr.documents import Document, SparseByIndex, SparseByToken, SparseInput, VectorInput, parse_dense, parse_sparse
from lsr.errors import InvalidDocument
from lsr.exchange.servers import RemoteRow

Terms = Callable[[int], str | None]  # a term number's token

_ID: Final = "@id"  # the id of the server, next to the document's own fields


def remote_document(row: RemoteRow, fields: Fields, names: Mapping[str, str], terms: Terms | None = None) -> Document:
    """Return the document of a row; raises InvalidDocument, which names the field.

    fields  which fields make a document; without a choice title and text by their names, and all others are metadata
    names   the server's name of each wanted vector -> ours
    terms   turns the term numbers of sparse vectors into tokens
    """
    values = {name: as_json(name, value) for name, value in row.fields.items()}
    if fields.id is None:
        values, fields = {**values, _ID: row.id}, replace(fields, id=_ID)
    vectors: dict[str, VectorInput] = {}
    for name, given in row.sparse.items():
        vectors[names[name]] = _named(parse_sparse(given, name), name, terms)
    for name, given in row.dense.items():
        vectors[names[name]] = parse_dense(given, name)
    if names:  # the vectors are given: a document needs no text
        values = {**dict.fromkeys(fields.text or ("text",)), **values}
    return replace(document_of(values, fields, 0, table=True), vectors=vectors)


def document_line(document: Document) -> dict[str, Any]:
    """Return a document as the JSON value that `parse_document` reads."""
    line: dict[str, Any] = {"id": document.id, "title": document.title, "text": document.text}
    if document.parent is not None:
        line["parent"] = document.parent
    if document.metadata:
        line["metadata"] = dict(document.metadata)
    line["vectors"] = {name: _vector(vector) for name, vector in document.vectors.items()}
    return line


def _vector(vector: VectorInput) -> dict[str, Any]:
    if isinstance(vector, SparseByToken):
        return {"sparse": dict(vector.weights)}
    if isinstance(vector, SparseByIndex):
        return {"sparse": {"indices": list(vector.indices), "values": list(vector.values)}}
    return {"dense": list(vector.values)}


def _named(vector: SparseInput, field: str, terms: Terms | None) -> SparseInput:
    if terms is None or isinstance(vector, SparseByToken):
        return vector
    tokens = [terms(number) for number in vector.indices]
    if None in tokens:
        number = vector.indices[tokens.index(None)]
        raise InvalidDocument("unknown_token", f"{field}: term {number} is not in the table of --terms", field=field)
    return SparseByToken(dict(zip(map(str, tokens), vector.values, strict=True)))
