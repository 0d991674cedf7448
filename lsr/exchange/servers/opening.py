"""Opens a source such as `qdrant:http://localhost:6333/books`."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from lsr.errors import CorpusUnreadable
from lsr.exchange.servers.remote import Access, RemoteCollection

KINDS: Final = ("qdrant", "opensearch", "elasticsearch", "milvus")


def is_remote(source: str) -> bool:
    """Return whether a source is a collection on a server, not a file."""
    return source.partition(":")[0] in KINDS


def open_remote(source: str, access: Access) -> RemoteCollection:
    """Return the collection that `source` names; it has been reached.

    Raises CorpusUnreadable for a source that is not KIND:URL/NAME or qdrant:FILE, SourceFailed for a server that cannot
    be reached, refuses, or has no such collection.
    """
    if source.startswith("qdrant:") and is_snapshot(source):
        from lsr.exchange.servers.qdrant_snapshot import QdrantSnapshot

        return QdrantSnapshot(source, Path(source.removeprefix("qdrant:")), access)
    kind, server, name = parse_source(source)
    if kind == "milvus":
        from lsr.exchange.servers.milvus import MilvusCollection

        return MilvusCollection(source, server, name, access)
    if kind == "qdrant":
        from lsr.exchange.servers.qdrant import QdrantCollection

        return QdrantCollection(source, server, name, access)
    from lsr.exchange.servers.search_engine import SearchEngineIndex

    return SearchEngineIndex(source, server, name, access)


def is_snapshot(source: str) -> bool:
    """Return whether a source of Qdrant is a snapshot file, not a server."""
    return "://" not in source


def parse_source(source: str) -> tuple[str, str, str]:
    """Return (kind, server, collection) of KIND:URL/NAME; raises CorpusUnreadable."""
    kind, _, rest = source.partition(":")
    server, _, name = rest.rstrip("/").rpartition("/")
    if kind not in KINDS or not server or not name:
        raise CorpusUnreadable(f"{source}: a source is KIND:URL/NAME with KIND one of {', '.join(KINDS)}")
    if kind != "milvus" or server.startswith(("http://", "https://")):
        _check_url(source, server)
    return kind, server, unquote(name)


def _check_url(source: str, server: str) -> None:
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CorpusUnreadable(f"{source}: the server is given as http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        # Not shown again: it holds the password.
        raise CorpusUnreadable(
            "a password in the URL is visible to everyone on this machine: give it with --key-file or LSR_SOURCE_KEY"
        )
