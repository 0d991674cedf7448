"""What the stores of the frameworks share: to write documents or say which was refused, and to delete them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from lsr_client.client import Client

_IDS = 10_000  # per deletion


def write_all(client: Client, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Write documents, each with an `id`. Raises ValueError for the first that is refused; the others are written."""
    result = client.bulk(collection, documents)
    if result.refused:
        at, error = result.refused[0]
        others = f" (and {len(result.refused) - 1} others)" if len(result.refused) > 1 else ""
        raise ValueError(f"document {documents[at]['id']!r} was refused{others}: {error.code}: {error.detail}")


def delete_all(client: Client, collection: str) -> int:
    """Delete every document and return how many there were; the collection stays."""
    deleted = 0
    while ids := [document.id for document in islice(client.documents(collection, size=1000), _IDS)]:
        deleted += client.delete(collection, ids).deleted
    return deleted
