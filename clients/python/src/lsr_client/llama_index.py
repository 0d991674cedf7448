"""LlamaIndex: a retriever over a collection, and a vector store that adds, deletes and queries its documents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from lsr_client.client import Client
from lsr_client.errors import Invalid
from lsr_client.models import Document, Hit
from lsr_client.stores import delete_all, write_all

SOURCE = "ref_doc_id"  # the metadata field that names the document from which a node was cut
_NODE, _TYPE, TITLE = "_node_content", "_node_type", "title"
_ORDERED = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}


class LsrRetriever(BaseRetriever):
    """Nodes of a collection for a query, best first.

    `options` are further fields of a search, such as {"filter": …, "rescore": False}.
    """

    def __init__(
        self, client: Client, collection: str, *, k: int = 10, options: Mapping[str, Any] | None = None, **base: Any
    ) -> None:
        """`base` are the arguments of LlamaIndex's BaseRetriever."""
        super().__init__(**base)
        self._client = client
        self._collection = collection
        self._k = k
        self._options = dict(options or {})

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._client.search(self._collection, query_bundle.query_str, k=self._k, **self._options).hits
        return [NodeWithScore(node=node_of(hit), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class LsrVectorStore(BasePydanticVectorStore):
    """A collection as a vector store that reads texts: the service encodes them, so no embedding is needed.

    `delete` needs the field `ref_doc_id` in the collection's schema; create it with `{"schema": {**SCHEMA, …}}`.
    """

    SCHEMA: ClassVar[dict[str, str]] = {SOURCE: "keyword"}
    stores_text: bool = True
    is_embedding_query: bool = False
    _client: Client = PrivateAttr()
    _collection: str = PrivateAttr()

    def __init__(self, client: Client, collection: str) -> None:
        super().__init__()
        self._client = client
        self._collection = collection

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows the class."""
        return "LsrVectorStore"

    @property
    def client(self) -> Client:
        """The client of the service."""
        return self._client

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Write nodes and return their ids. Raises ValueError for a refused one."""
        write_all(self._client, self._collection, [_written(node) for node in nodes])
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes of a document. Raises ValueError where the schema lacks `ref_doc_id`."""
        try:
            self._client.delete(self._collection, filter={SOURCE: ref_doc_id})
        except Invalid as problem:
            if problem.type != "unknown-field":
                raise
            raise ValueError(
                f"the collection {self._collection!r} has no field {SOURCE!r}, which names a node's document; add it: "
                f"client.change({self._collection!r}, {{'schema': {self.SCHEMA}}})"
            ) from problem

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any) -> None:
        """Delete nodes by id, by filters, or those that satisfy both."""
        self._client.delete(self._collection, filter=_chosen(node_ids, filters))

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes by id, by filters, or those that satisfy both, by ascending id."""
        found = self._client.documents(self._collection, filter=_chosen(node_ids, filters) or None)
        return [node_of(document) for document in found]

    def clear(self) -> None:
        """Delete all nodes; the collection stays."""
        delete_all(self._client, self._collection)

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Return the best nodes for a query's text; `options` are further fields of a search. Raises ValueError."""
        if query.query_str is None:
            raise ValueError("a query needs query_str: the service encodes texts, not embeddings")
        conditions = _chosen(query.node_ids or None, query.filters)  # LlamaIndex's index passes [] for "any node"
        if query.doc_ids:
            conditions[SOURCE] = {"in": query.doc_ids}
        if conditions:
            options["filter"] = conditions
        hits = self._client.search(self._collection, query.query_str, k=query.similarity_top_k, **options).hits
        return VectorStoreQueryResult(
            nodes=[node_of(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )


def node_of(found: Hit | Document) -> BaseNode:
    """Return a hit or a document as a node; one that LlamaIndex wrote gets its relationships back."""
    metadata = dict(found.metadata or {})
    text = found.text or ""
    if _NODE in metadata:
        return metadata_dict_to_node(metadata, text=text)
    return TextNode(id_=found.id, text=text, metadata={**metadata, **({TITLE: found.title} if found.title else {})})


def filter_of(filters: MetadataFilters | None) -> dict[str, Any]:
    """Return LlamaIndex's filters as a filter of lsr. Raises ValueError for an operator that lsr does not have."""
    if filters is None or not filters.filters:
        return {}
    parts = [filter_of(one) if isinstance(one, MetadataFilters) else _condition(one) for one in filters.filters]
    if filters.condition == FilterCondition.OR:
        return {"or": parts}
    return {"not": {"or": parts}} if filters.condition == FilterCondition.NOT else {"and": parts}


def _condition(one: MetadataFilter) -> dict[str, Any]:
    key, value, operator = one.key, one.value, one.operator
    if operator in (FilterOperator.EQ, FilterOperator.CONTAINS):
        return {key: {"eq": value}}
    if operator in _ORDERED:
        return {key: {_ORDERED[operator]: value}}
    if operator == FilterOperator.NE:
        return {key: {"ne": value}}
    if operator in (FilterOperator.IN, FilterOperator.ANY):
        return {key: {"in": value}}
    if operator == FilterOperator.NIN:
        return {"not": {key: {"in": value}}}
    if operator == FilterOperator.ALL and isinstance(value, list) and value:
        return {"and": [{key: {"eq": item}} for item in value]}
    if operator == FilterOperator.IS_EMPTY:
        return {key: {"exists": False}}
    raise ValueError(f"lsr has no filter for {key!r} {operator.value} {value!r}")


def _chosen(node_ids: list[str] | None, filters: MetadataFilters | None) -> dict[str, Any]:
    conditions = filter_of(filters)
    if node_ids is None:
        return conditions
    return {"and": [{"ids": node_ids}, conditions]} if conditions else {"ids": node_ids}


def _written(node: BaseNode) -> dict[str, Any]:
    """Return a node as a document: its metadata is kept for filters, and the whole node to be read back."""
    whole = node_to_metadata_dict(node, remove_text=True)
    metadata = {**node.metadata, _NODE: whole[_NODE], _TYPE: whole[_TYPE]}
    if node.ref_doc_id is not None:
        metadata[SOURCE] = node.ref_doc_id
    title = node.metadata.get(TITLE)
    return {
        "id": node.node_id,
        "title": title if isinstance(title, str) else "",
        "text": node.get_content(MetadataMode.NONE),
        "metadata": metadata,
    }
