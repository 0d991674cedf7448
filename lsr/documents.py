"""Documents as users write them: an id, text or ready-made sparse vectors, and metadata.

Every corpus reader yields `Document`s and every write accepts them. `parse_document` checks a document once; later
code relies on that. A document's fields in JSON:

    {"id": "d1", "title": "…", "text": "…", "parent": "book1", "metadata": {"year": 2020}}
    {"id": "d2", "sparse": {"lobster": 2.1}}              the only vector, or the one named "default"
    {"id": "d3", "vectors": {"splade": {"sparse": {…}}}}  by name; {"indices": […], "values": […]} works too
    {"id": "d4", "vectors": {"meaning": {"dense": [0.1, …]}}}  a dense vector, which only rescores

BEIR's `_id` is read as `id`. An unknown field is an error, so that a typo does not lose data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index import MAX_TERMS, MAX_WEIGHT
from lsr.errors import InvalidDocument

MAX_ID_BYTES = 512
MAX_DIMENSIONS = 65_536
MAX_TERM = MAX_TERMS - 1  # the largest term number, 2**32 - 2: 32-bit hashed terms fit
DEFAULT_VECTOR = "default"

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_STRINGS = frozenset({str})
_FLOATS = frozenset({float})
_NUMBERS = frozenset({float, int})
_FIELDS = frozenset({"id", "_id", "title", "text", "parent", "metadata", "sparse", "vectors"})


@dataclass(frozen=True, slots=True)
class SparseByToken:
    """A sparse vector by token: `weights` maps a vocabulary entry to a finite weight >= 0."""

    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SparseByIndex:
    """A sparse vector by term number: `indices` are distinct and >= 0, `values` finite and >= 0, of one length."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


SparseInput = SparseByToken | SparseByIndex


@dataclass(frozen=True, slots=True)
class DenseInput:
    """A dense vector: finite numbers, not all 0. A collection keeps its direction: it is brought to length 1."""

    values: tuple[float, ...]


VectorInput = SparseInput | DenseInput


@dataclass(frozen=True, slots=True)
class Document:
    """One document. If `vectors[name]` is missing, the collection's encoder of that name encodes `full_text`."""

    id: str
    title: str = ""
    text: str = ""
    parent: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, VectorInput] = field(default_factory=dict)

    @property
    def full_text(self) -> str:
        """Title and text joined by a space, as in BEIR: the text to encode."""
        return f"{self.title} {self.text}".strip() if self.title else self.text


def parse_document(value: object) -> Document:
    """Check one decoded JSON value and return it as a `Document`.

    Raises InvalidDocument with a code (`not_an_object`, `missing_id`, `invalid_id`, `unknown_field`,
    `invalid_field`, `invalid_sparse`, `invalid_dense`) and the field.
    """
    if not isinstance(value, Mapping):
        raise InvalidDocument("not_an_object", f"a document is a JSON object, not {_kind(value)}")
    unknown = sorted(str(key) for key in value if key not in _FIELDS)
    if unknown:
        raise InvalidDocument(
            "unknown_field",
            f"unknown field {unknown[0]!r}; a document has id, title, text, parent, metadata, sparse, vectors "
            "(anything else goes into metadata)",
            field=unknown[0],
        )
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidDocument("invalid_field", f"metadata is an object, not {_kind(metadata)}", field="metadata")
    return Document(
        id=_parse_id(value),
        title=_parse_text(value, "title") or "",
        text=_parse_text(value, "text") or "",
        parent=_parse_text(value, "parent"),
        metadata=dict(metadata or {}),
        vectors=_parse_vectors(value),
    )


def check_built(document: Document) -> None:
    """Check what `parse_document` checks in a document that was built in Python; raises InvalidDocument.

    Weights are checked with the vector's own precision, see writing/document_vectors.py.
    """
    _check_id(document.id, "id")
    for key, text in (("title", document.title), ("text", document.text), ("parent", document.parent)):
        if text is None and key == "parent":
            continue
        if not isinstance(text, str):
            raise InvalidDocument("invalid_field", f"{key} is a string, not {_kind(text)}", field=key)
        _check_characters(text, key, code="invalid_field")
    for name, vector in document.vectors.items():
        if not isinstance(vector, DenseInput):
            check_terms(vector, f"vectors.{name}.sparse")


def check_terms(vector: SparseInput, field_name: str) -> None:
    """Check the terms of a sparse vector that was built in Python; raises InvalidDocument.

    A token is a non-empty Unicode string; a term number is from 0 to MAX_TERM, and occurs once.
    """
    if isinstance(vector, SparseByToken):
        _check_tokens(vector.weights, field_name)
        return
    indices, count = vector.indices, len(vector.values)
    if len(indices) != count:
        detail = f"{field_name}: indices and values are lists of one length, not {len(indices)} and {count}"
        raise InvalidDocument("invalid_sparse", detail, field=f"{field_name}.values")
    if indices and (min(indices) < 0 or max(indices) > MAX_TERM or len(set(indices)) < len(indices)):
        _check_indices(indices, field_name)


def parse_sparse(value: object, field_name: str) -> SparseInput:
    """Check a sparse vector given as {token: weight} or {"indices": […], "values": […]}.

    Raises InvalidDocument with the code `invalid_sparse`; `field_name` is the path named in the message.
    """
    if not isinstance(value, Mapping):
        raise InvalidDocument("invalid_sparse", f"{field_name} is an object, not {_kind(value)}", field=field_name)
    if set(value) == {"indices", "values"} and isinstance(value["indices"], list):
        return _parse_by_index(value["indices"], value["values"], field_name)
    if _is_plain(value):
        _check_tokens(value, field_name)
        floats = _FLOATS.issuperset(map(type, value.values()))
        return SparseByToken(dict(value) if floats else {token: float(weight) for token, weight in value.items()})
    _check_tokens(value, field_name)
    return SparseByToken({token: _parse_weight(weight, f"{field_name}.{token}") for token, weight in value.items()})


def parse_dense(value: object, field_name: str) -> DenseInput:
    """Check a dense vector given as a list of numbers.

    Raises InvalidDocument with the code `invalid_dense`; `field_name` is the path named in the message.
    """
    if not isinstance(value, list) or not 0 < len(value) <= MAX_DIMENSIONS:
        found = f"one of {len(value)}" if isinstance(value, list) else _kind(value)
        raise InvalidDocument(
            "invalid_dense", f"{field_name} is a list of 1 to {MAX_DIMENSIONS} numbers, not {found}", field=field_name
        )
    for position, number in enumerate(value):
        name = f"{field_name}[{position}]"
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise InvalidDocument("invalid_dense", f"{name}: {_kind(number)} is not a number", field=name)
        if not -_FLOAT32_MAX <= number <= _FLOAT32_MAX:  # a NaN is not, either
            raise InvalidDocument("invalid_dense", f"{name}: {number!r:.80} is not a finite float32", field=name)
    if not any(value):
        raise InvalidDocument(
            "invalid_dense", f"{field_name}: all numbers are 0, so the vector has no direction", field=field_name
        )
    return DenseInput(tuple(map(float, value)))


def _is_plain(weights: Mapping[Any, Any]) -> bool:
    """Whether a fast check with built-ins (a few µs for hundreds of terms) passes; if not, a loop finds the error."""
    if not weights or not _STRINGS.issuperset(map(type, weights)):
        return False
    values = weights.values()
    if not _NUMBERS.issuperset(map(type, values)) or min(values) < 0 or max(values) > MAX_WEIGHT:
        return False
    return math.isfinite(sum(values))  # any NaN makes the sum NaN


def _parse_by_index(indices: list[object], values: object, field_name: str) -> SparseByIndex:
    if not isinstance(values, list) or len(values) != len(indices):
        found = len(values) if isinstance(values, list) else _kind(values)
        raise InvalidDocument(
            "invalid_sparse",
            f"{field_name}: indices and values are lists of one length, not {len(indices)} and {found}",
            field=f"{field_name}.values",
        )
    weights = (_parse_weight(weight, f"{field_name}.values[{position}]") for position, weight in enumerate(values))
    return SparseByIndex(_check_indices(indices, field_name), tuple(weights))


def _check_indices(indices: Sequence[object], field_name: str) -> tuple[int, ...]:
    numbers: list[int] = []
    seen: set[int] = set()
    for position, index in enumerate(indices):
        name = f"{field_name}.indices[{position}]"
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= MAX_TERM:
            detail = f"{name}: {index!r:.80} is not a term number from 0 to {MAX_TERM}"
            raise InvalidDocument("invalid_sparse", detail, field=name)
        if index in seen:
            raise InvalidDocument("invalid_sparse", f"{name}: the index {index} occurs twice", field=name)
        seen.add(index)
        numbers.append(index)
    return tuple(numbers)


def _check_tokens(tokens: Mapping[Any, Any], field_name: str) -> None:
    """Raise InvalidDocument unless all keys are non-empty strings that can be written as UTF-8."""
    try:
        if "" not in tokens:
            "".join(tokens).encode()
            return
    except (TypeError, UnicodeEncodeError):
        pass
    for token in tokens:
        if not isinstance(token, str) or not token:
            raise InvalidDocument("invalid_sparse", f"{field_name}: a token is a non-empty string", field=field_name)
        _check_characters(token, f"{field_name}: the token {token!r:.80}", code="invalid_sparse", field=field_name)


def _parse_weight(weight: object, name: str) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise InvalidDocument("invalid_sparse", f"{name}: {_kind(weight)} is not a number", field=name)
    # Integers are compared before conversion: a huge one would overflow a float.
    if (isinstance(weight, float) and math.isnan(weight)) or weight < 0 or weight > MAX_WEIGHT:
        raise InvalidDocument(
            "invalid_sparse", f"{name}: a weight is a number from 0 to {MAX_WEIGHT:g}, not {weight!r:.80}", field=name
        )
    return float(weight)


def _parse_vectors(value: Mapping[str, Any]) -> dict[str, VectorInput]:
    vectors: dict[str, VectorInput] = {}
    if value.get("sparse") is not None:
        vectors[DEFAULT_VECTOR] = parse_sparse(value["sparse"], "sparse")
    named = value.get("vectors")
    if named is None:
        return vectors
    if not isinstance(named, Mapping):
        raise InvalidDocument("invalid_field", f"vectors is an object, not {_kind(named)}", field="vectors")
    for name, vector in named.items():
        path = f"vectors.{name}"
        if vector is None:
            continue
        if name in vectors:
            raise InvalidDocument("invalid_field", f"{path} and sparse are both given", field=path)
        if isinstance(vector, Mapping):
            vector = {kind: one for kind, one in vector.items() if one is not None}
        if isinstance(vector, Mapping) and set(vector) == {"dense"}:
            vectors[str(name)] = parse_dense(vector["dense"], f"{path}.dense")
        elif isinstance(vector, Mapping) and set(vector) == {"sparse"}:
            vectors[str(name)] = parse_sparse(vector["sparse"], f"{path}.sparse")
        else:
            raise InvalidDocument(
                "invalid_sparse", f'{path} is an object {{"sparse": …}} or {{"dense": […]}}', field=path
            )
    return vectors


def _parse_id(value: Mapping[str, Any]) -> str:
    key = "id" if "id" in value else "_id"
    if key not in value:
        raise InvalidDocument("missing_id", "a document needs an id", field="id")
    return _check_id(value[key], key)


def _check_id(identifier: object, key: str) -> str:
    if not isinstance(identifier, str) or not identifier:
        raise InvalidDocument("invalid_id", f"{key} is a non-empty string, not {identifier!r:.80}", field=key)
    _check_characters(identifier, key, code="invalid_id")
    if len(identifier.encode()) > MAX_ID_BYTES:
        raise InvalidDocument("invalid_id", f"{key} is longer than {MAX_ID_BYTES} bytes", field=key)
    return identifier


def _parse_text(value: Mapping[str, Any], key: str) -> str | None:
    text = value.get(key)
    if text is None:
        return None
    if not isinstance(text, str):
        raise InvalidDocument("invalid_field", f"{key} is a string, not {_kind(text)}", field=key)
    _check_characters(text, key, code="invalid_field")
    return text


def _check_characters(text: str, key: str, *, code: str, field: str | None = None) -> None:
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        detail = f"{key} has a lone surrogate, which is not valid Unicode"
        raise InvalidDocument(code, detail, field=field or key) from None
    if code == "invalid_id" and "\0" in text:
        raise InvalidDocument(code, f"{key} has a NUL character", field=key)


def _kind(value: object) -> str:
    """Return the JSON name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, Mapping) else type(value).__name__


def weights_of(vectors: Sequence[SparseInput], count: int) -> NDArray[np.float32]:
    """Return the weights of ready-made vectors, concatenated: float32[count], where `count` is their total number."""
    values = chain.from_iterable(
        vector.weights.values() if isinstance(vector, SparseByToken) else vector.values for vector in vectors
    )
    return np.fromiter(values, dtype=np.float32, count=count)
