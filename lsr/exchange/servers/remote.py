"""What every kind of server gives: vector fields, documents page by page, and the position after each page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ROWS_A_PAGE = 256


@dataclass(frozen=True)
class Access:
    """How to reach a server. `key`: an API key, or user:password; `ca_file`: its certificate authority, as PEM."""

    key: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    rows: int = ROWS_A_PAGE


@dataclass(frozen=True)
class RemoteVectors:
    """The names of a collection's sparse vectors, and of its dense ones with their dimensions."""

    sparse: tuple[str, ...] = ()
    dense: Mapping[str, int] = field(default_factory=dict)


class RemoteRow(NamedTuple):
    """One document: `fields` without the vectors; a sparse vector is {token: weight} or {"indices": …, "values": …}."""

    id: str
    fields: Mapping[str, Any]
    sparse: Mapping[str, Any]
    dense: Mapping[str, Any]


class Page(NamedTuple):
    """Consecutive documents, and the position after them as a JSON value; None after the last."""

    rows: list[RemoteRow]
    position: Any


class RemoteCollection(Protocol):
    """A collection on a server. Every method raises SourceFailed, which names the server."""

    name: str  # for messages, such as `qdrant:http://localhost:6333/books`
    vectors: RemoteVectors
    count: int | None  # of the documents, where the server says it

    def pages(self, position: Any, wanted: Sequence[str]) -> Iterator[Page]:
        """Yield the pages after `position` (None: from the start) with the vectors `wanted`.

        Raises PositionExpired if the server does not know the position any longer.
        """
        ...

    def close(self) -> None:
        """Release the connection."""
        ...
