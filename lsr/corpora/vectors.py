"""Ready-made sparse vectors as JSON lines (`--format vectors`), in three common formats.

    {"id": "d1", "sparse": {"lobster": 2.1}}                            ours; {"indices": […], "values": […]} works too
    {"id": 0, "content": "…", "vector": {"lobster": 2.1}}               Seismic
    {"id": "d1", "contents": "…", "vector": {"lobster": 210}}           Anserini (weights quantised to integers)

An integer id becomes a decimal string. A line without a vector is an error here: nothing is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lsr.corpora.jsonl import JsonlCorpus
from lsr.documents import Document, parse_document
from lsr.errors import InvalidDocument

_OTHER_NAMES: Final = {"vector": "sparse", "content": "text", "contents": "text", "docid": "id"}


class VectorLinesCorpus(JsonlCorpus):
    """A file of JSON lines, each with a vector."""

    def parse(self, value: object, number: int) -> Document:  # noqa: ARG002
        """Return a line's value as a document; raises InvalidDocument."""
        return parse_vector_document(value)


def parse_vector_document(value: object) -> Document:
    """Check one decoded JSON value in any of the three formats and return it as a `Document`.

    Raises InvalidDocument, with the code `missing_vector` for a line without one.
    """
    if not isinstance(value, Mapping):
        return parse_document(value)
    fields: dict[str, object] = {}
    for key, member in value.items():
        name = _OTHER_NAMES.get(key, str(key))
        if name in fields:
            raise InvalidDocument("invalid_field", f"{key} means {name}, which is already given", field=key)
        fields[name] = member
    if isinstance(fields.get("id"), int) and not isinstance(fields["id"], bool):
        fields["id"] = str(fields["id"])
    document = parse_document(fields)
    if not document.vectors:
        raise InvalidDocument("missing_vector", "a line of ready-made vectors needs sparse, vector or vectors")
    return document
