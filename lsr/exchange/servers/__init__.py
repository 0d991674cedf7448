"""Reading collections of other search systems: Qdrant, OpenSearch, Elasticsearch, Milvus.

    qdrant:http://localhost:6333/books            scroll API
    qdrant:books.snapshot                         a snapshot file, by Qdrant's own code
    opensearch:https://search.example:9200/books  _search with a point in time
    elasticsearch:https://…/books                 the same
    milvus:http://localhost:19530/books           query iterator of pymilvus; milvus:FILE.db/books is a Milvus Lite file

`open_remote` returns a `RemoteCollection`: its vector fields and its documents page by page. Every page carries the
position after it, so that a copy that was stopped continues there.
"""

from lsr.exchange.servers.opening import KINDS, is_remote, open_remote
from lsr.exchange.servers.remote import Access, Page, RemoteCollection, RemoteRow, RemoteVectors

__all__ = [
    "KINDS",
    "Access",
    "Page",
    "RemoteCollection",
    "RemoteRow",
    "RemoteVectors",
    "is_remote",
    "open_remote",
]
