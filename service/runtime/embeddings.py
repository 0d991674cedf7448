"""Encoding without searching: chooses the request's encoder and returns vectors as term numbers with weights."""

from __future__ import annotations

from typing import Any, NamedTuple

from lsr.collection import Collection
from lsr.default_pipeline import BM25
from lsr.errors import EXPECTED_ERRORS
from lsr.part import Part
from service.messages.requests import EmbedRequest
from service.problems import FieldProblem
from service.runtime.bound_store import Store


class _Source(NamedTuple):
    """A collection's named vector that has an encoder."""

    collection: Collection | Part
    using: str
    encoder: str


def embed(store: Store, request: EmbedRequest) -> list[list[dict[str, Any]]]:
    """Return a list of {index, value} for each text, by descending value.

    Raises FieldProblem for an unknown model, and for a model whose term numbers differ between several collections.
    """
    source = _choose(_sources(store), request.model)
    encoder = source.collection.encoder(source.using)
    if isinstance(source.collection, Part) and encoder.vocabulary.grows:
        raise FieldProblem(
            "model", "its term numbers come from all documents of the collection, and your key sees a part"
        )
    texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    if request.prompt_name == "query":
        matrix = encoder.encode_queries(texts, source.collection.statistics(source.using))
    else:
        matrix = encoder.encode_documents(texts)
    rows = []
    for start, stop in zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True):
        pairs = zip(matrix.indices[start:stop].tolist(), matrix.data[start:stop].tolist(), strict=True)
        rows.append([{"index": index, "value": value} for index, value in sorted(pairs, key=lambda pair: -pair[1])])
    return rows


def known_encoders(store: Store) -> tuple[set[str], str | None]:
    """Return the ids of the encoders that a request can name, and the one of a request without `model`, if any."""
    found = {source.encoder for source in _sources(store)}
    meant = _meant(found)
    return found, next(iter(meant)) if len(meant) == 1 else None


def _meant(encoders: set[str]) -> set[str]:
    """Return which encoders a request without `model` can mean.

    Clients of text-embeddings-inference cannot name one, and a collection with the default pipeline has two. Those with
    a vocabulary of their own go before BM25, whose term numbers belong to a collection.
    """
    return encoders - {BM25} or encoders


def _sources(store: Store) -> list[_Source]:
    found = []
    for name in store.names():
        try:
            collection = store.get(name)
            vectors = {name: one for name, one in collection.info().vectors.items() if one.kind == "sparse"}
        except EXPECTED_ERRORS:
            continue
        found += [_Source(collection, using, one.encoder) for using, one in vectors.items() if one.encoder is not None]
    return found


def _choose(sources: list[_Source], model: str | None) -> _Source:
    named = [
        source
        for source in sources
        if model in (None, source.encoder, source.collection.name, f"{source.collection.name}/{source.using}")
    ]
    if not named:
        known = ", ".join(sorted({source.encoder for source in sources})) or "none"
        raise FieldProblem("model", f"no collection has the encoder {model!r:.200}; the encoders are: {known}")
    if model is None:
        meant = _meant({source.encoder for source in named})
        named = [source for source in named if source.encoder in meant]
    if len({source.encoder for source in named}) > 1:
        choices = ", ".join(sorted({source.encoder for source in named}))
        raise FieldProblem("model", f"there are several encoders; choose one of {choices}")
    first = named[0]
    if len(named) > 1 and first.collection.encoder(first.using).vocabulary.grows:
        choices = ", ".join(f"{source.collection.name}/{source.using}" for source in named)
        raise FieldProblem(
            "model", f"the term numbers of {first.encoder} depend on the collection; choose one of {choices}"
        )
    return first
