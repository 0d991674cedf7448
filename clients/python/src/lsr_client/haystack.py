"""Haystack: a document store over a collection, and the retriever that goes with it.

Filters are Haystack's; the fields that they name must be in the collection's schema. A document's content, meta and id
are kept (`meta["title"]` is the document's title); embeddings are not, for the service encodes the texts itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
from haystack.errors import FilterError
from haystack.utils import Secret

from lsr_client import models
from lsr_client.client import Client
from lsr_client.errors import Invalid
from lsr_client.stores import delete_all, write_all

T = TypeVar("T")
TITLE = "title"
_NOTHING: dict[str, Any] = {"ids": []}
_ORDERED = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


class LsrDocumentStore:
    """The documents of a collection that exists. Safe to use from many threads."""

    def __init__(
        self,
        collection: str,
        url: str = "http://localhost:8080",
        api_key: Secret | None = Secret.from_env_var("LSR_API_KEY", strict=False),
    ) -> None:
        """`api_key` is needed where the service has keys; it is saved as the name of its variable, never its value."""
        self.collection = collection
        self.url = url
        self.api_key = api_key
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client of the service."""
        if self._client is None:
            self._client = Client(self.url, self.api_key.resolve_value() if self.api_key is not None else None)
        return self._client

    def to_dict(self) -> dict[str, Any]:
        """Return the store's settings."""
        settings: dict[str, Any] = default_to_dict(self, collection=self.collection, url=self.url, api_key=self.api_key)
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LsrDocumentStore:
        """Return the store of settings that `to_dict` returned."""
        store: LsrDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Return how many documents the collection holds."""
        return self.client.collection(self.collection).documents

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that match, by ascending id. Raises FilterError."""
        conditions = filter_of(filters)
        return _checked(
            lambda: [document_of(one) for one in self.client.documents(self.collection, filter=conditions or None)]
        )

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents and return how many; NONE is OVERWRITE. Whether an id exists is asked before the write, so
        SKIP and FAIL do not protect against another writer.

        Raises DuplicateDocumentError (nothing is written), ValueError for what is not a document or is refused.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("write_documents needs a list of Documents")
        if policy in (DuplicatePolicy.SKIP, DuplicatePolicy.FAIL):
            existing = self._existing([one.id for one in documents])
            if existing and policy == DuplicatePolicy.FAIL:
                raise DuplicateDocumentError(f"documents exist already: {', '.join(sorted(existing)[:5])}")
            documents = [one for one in documents if one.id not in existing]
        write_all(self.client, self.collection, [_written(one) for one in documents])
        return len(documents)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; ids that do not exist are left alone."""
        self.client.delete(self.collection, document_ids)

    def delete_all_documents(self) -> None:
        """Delete every document; the collection stays."""
        delete_all(self.client, self.collection)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match and return how many. Raises FilterError."""
        conditions = filter_of(filters)
        return _checked(lambda: self.client.delete(self.collection, filter=conditions).deleted)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return how many documents match. Raises FilterError."""
        conditions = filter_of(filters)
        found = _checked(lambda: self.client.delete(self.collection, filter=conditions, dry_run=True))
        return found.matched or 0

    def search(self, query: str, k: int, filters: dict[str, Any] | None, options: Mapping[str, Any]) -> list[Document]:
        """Return the best documents, with scores; `options` are further fields of a search. Raises FilterError."""
        conditions = filter_of(filters)
        asked = {**options, "filter": conditions} if conditions else options
        return _checked(
            lambda: [document_of(hit) for hit in self.client.search(self.collection, query, k=k, **asked).hits]
        )

    def _existing(self, ids: list[str]) -> set[str]:
        parts = (ids[first : first + 1000] for first in range(0, len(ids), 1000))
        return {one.id for part in parts for one in self.client.get_many(self.collection, part).documents}


@component
class LsrRetriever:
    """Finds the documents of a store for a query's text. `options` are further fields of a search.

    A saved pipeline is loaded with `Pipeline.loads(text, allowed_modules=["lsr_client.haystack"])`.
    """

    def __init__(
        self,
        document_store: LsrDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        options: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(document_store, LsrDocumentStore):
            raise TypeError("document_store must be an LsrDocumentStore")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = filter_policy
        self.options = options or {}

    def to_dict(self) -> dict[str, Any]:
        """Return the component's settings."""
        settings: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store,
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            options=self.options,
        )
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LsrRetriever:
        """Return the component of settings that `to_dict` returned."""
        settings = dict(data["init_parameters"])
        settings["filter_policy"] = FilterPolicy.from_str(settings["filter_policy"])
        retriever: LsrRetriever = default_from_dict(cls, {**data, "init_parameters": settings})
        return retriever

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """Return the best documents. Raises FilterError."""
        chosen = apply_filter_policy(self.filter_policy, self.filters, filters)
        return {"documents": self.document_store.search(query, top_k or self.top_k, chosen, self.options)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, Any]:
        """Return the best documents, in a thread. Raises FilterError."""
        return await asyncio.to_thread(self.run, query, filters, top_k)


def document_of(found: models.Hit | models.Document) -> Document:
    """Return a hit or a document of lsr as Haystack's."""
    meta = {**(found.metadata or {}), **({TITLE: found.title} if found.title else {})}
    score = found.score if isinstance(found, models.Hit) else None
    return Document(id=found.id, content=found.text or "", meta=meta, score=score)


def filter_of(filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return Haystack's filter as one of lsr. Raises FilterError for one that is malformed."""
    if not filters:
        return {}
    if "field" in filters:
        return _comparison(filters)
    for key in ("operator", "conditions"):
        if key not in filters:
            raise FilterError(f"the key {key!r} is missing in {dict(filters)}")
    parts = [filter_of(one) for one in filters["conditions"]]
    if filters["operator"] == "OR":
        return {"or": parts}
    if filters["operator"] in ("AND", "NOT"):
        return {"and": parts} if filters["operator"] == "AND" else {"not": {"and": parts}}
    raise FilterError(f"unknown operator {filters['operator']!r}; there are AND, OR and NOT")


def _comparison(condition: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("operator", "value"):
        if key not in condition:
            raise FilterError(f"the key {key!r} is missing in {dict(condition)}")
    field, operator, value = condition["field"].removeprefix("meta."), condition["operator"], condition["value"]
    if field == "id":
        field = "ids"
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"{operator!r} needs a list, not {type(value).__name__}")
        found = {"ids": value} if field == "ids" else {field: {"in": value}}
        return found if operator == "in" else {"not": found}
    if operator in _ORDERED:
        return _NOTHING if value is None else {field: {_ORDERED[operator]: value}}
    if operator not in ("==", "!="):
        raise FilterError(f"unknown operator {operator!r}; there are ==, !=, >, >=, <, <=, in and not in")
    if field == "ids":
        return {"ids": [value]} if operator == "==" else {"not": {"ids": [value]}}
    if value is None:
        return {field: {"exists": operator == "!="}}
    return {field: {"eq" if operator == "==" else "ne": value}}


def _checked(call: Callable[[], T]) -> T:
    """Return what a call returns; a filter that the service refuses becomes a FilterError with its words."""
    try:
        return call()
    except Invalid as problem:
        if problem.type == "unknown-field" or any(one["field"].startswith("filter") for one in problem.errors):
            raise FilterError(str(problem)) from problem
        raise


def _written(document: Document) -> dict[str, Any]:
    if document.blob is not None:
        raise ValueError(f"document {document.id!r} has a blob: lsr keeps texts only")
    meta = dict(document.meta)
    title = meta.pop(TITLE, "")
    if not isinstance(title, str):
        raise ValueError(f"document {document.id!r}: meta['title'] must be a string, not {type(title).__name__}")
    return {"id": document.id, "title": title, "text": document.content or "", "metadata": meta}
