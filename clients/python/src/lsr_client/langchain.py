"""LangChain: a retriever over a collection, and a store that adds and deletes its documents."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from lsr_client.client import Client
from lsr_client.models import Hit
from lsr_client.stores import write_all

ID, SCORE, TITLE = "id", "score", "title"  # keys that a found document's metadata has besides its own


class LsrRetriever(BaseRetriever):
    """Documents of a collection for a query, best first.

    `options` are further fields of a search, such as {"filter": …, "rescore": False}.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: Client
    collection: str
    k: int = 10
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002
        return [document_of(hit) for hit in self.client.search(self.collection, query, k=self.k, **self.options).hits]


class LsrStore:
    """Adds, deletes and searches a collection's documents under the names that LangChain's vector stores use.

    It has no embedding: the service's own encoder reads the texts.
    """

    def __init__(self, client: Client, collection: str) -> None:
        self._client = client
        self._collection = collection

    def add_documents(self, documents: Iterable[Document], ids: Sequence[str] | None = None) -> list[str]:
        """Write documents and return their ids: `ids`, their own, or new ones. Raises ValueError for a refused one."""
        found = list(documents)
        if ids is not None and len(ids) != len(found):
            raise ValueError(f"{len(ids)} ids for {len(found)} documents")
        names = list(ids) if ids is not None else [one.id or uuid.uuid4().hex for one in found]
        lines = [_written(name, one) for name, one in zip(names, found, strict=True)]
        write_all(self._client, self._collection, lines)
        return names

    def add_texts(
        self, texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None = None, ids: Sequence[str] | None = None
    ) -> list[str]:
        """Write texts, with their metadata."""
        found = list(texts)
        metadata = list(metadatas) if metadatas is not None else [{} for _ in found]
        documents = [Document(text, metadata=own) for text, own in zip(found, metadata, strict=True)]
        return self.add_documents(documents, ids)

    def delete(self, ids: Sequence[str]) -> bool:
        """Delete documents; returns whether all of them existed."""
        return self._client.delete(self._collection, list(ids)).deleted == len(set(ids))

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """Return the best documents."""
        return [document_of(hit) for hit in self._client.search(self._collection, query, k=k, **options).hits]

    def similarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> list[tuple[Document, float]]:
        """Return the best documents with their scores."""
        hits = self._client.search(self._collection, query, k=k, **options).hits
        return [(document_of(hit), hit.score) for hit in hits]

    def as_retriever(self, k: int = 10, **options: Any) -> LsrRetriever:
        """Return a retriever of this collection."""
        return LsrRetriever(client=self._client, collection=self._collection, k=k, options=options)


def document_of(hit: Hit) -> Document:
    """Return a hit as LangChain's document: its text, its metadata, and id, score and title."""
    own = {ID: hit.id, SCORE: hit.score, **({TITLE: hit.title} if hit.title else {})}
    return Document(hit.text or "", id=hit.id, metadata={**(hit.metadata or {}), **own})


def _written(id: str, document: Document) -> dict[str, Any]:
    metadata = {key: value for key, value in document.metadata.items() if key not in (ID, SCORE, TITLE)}
    return {"id": id, "title": document.metadata.get(TITLE, ""), "text": document.page_content, "metadata": metadata}
