"""LlamaIndex with the real package, against a service (see serving.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import Document, NodeRelationship, QueryBundle, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from lsr_client import Client
from lsr_client.llama_index import LsrRetriever, LsrVectorStore

pytest_plugins = ["serving"]
SCHEMA = {**LsrVectorStore.SCHEMA, "year": "int", "tags": "keyword[]"}


def node(node_id: str, text: str, source: str, **metadata: object) -> TextNode:
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=node_id, text=text, metadata=metadata, relationships=related)


NODES = [
    node("a1", "Crab cakes from Maine", "a", year=2019, tags=["crab", "cake"], title="Cakes"),
    node("a2", "Crab salad", "a", year=2021, tags=["crab"]),
    node("b1", "Lobster soup", "b", year=2022, tags=["lobster"]),
    node("b2", "Soup of the day", "b"),
]


def test_the_retriever_finds_nodes_of_any_collection(client: Client) -> None:
    retriever = LsrRetriever(client, "dishes", k=5, options={"filter": {"year": {"lt": 2020}}})
    (found,) = retriever.retrieve("lobster")
    assert (found.node.node_id, found.node.get_content(), found.node.metadata) == (
        "d1", "A lobster roll.", {"year": 2019, "title": "Roll"},
    )  # fmt: skip
    scores = {hit.id: hit.score for hit in client.search("dishes", "lobster", k=5).hits}
    assert found.score == scores["d1"]
    assert [one.node.node_id for one in asyncio.run(retriever.aretrieve(QueryBundle("roll")))] == ["d1"]


def test_nodes_are_added_found_and_read_back_whole(client: Client, new_collection: Callable[..., str]) -> None:
    store = LsrVectorStore(client, new_collection(schema=SCHEMA))
    assert store.add(NODES) == ["a1", "a2", "b1", "b2"]
    result = store.query(VectorStoreQuery(query_str="crab", similarity_top_k=10))
    assert set(result.ids or ()) == {"a1", "a2"}
    assert list(result.similarities or ()) == sorted(result.similarities or (), reverse=True)
    again = {one.node_id: one for one in store.get_nodes()}
    assert [again[one.node_id] for one in NODES] == NODES  # texts, metadata and relationships
    with pytest.raises(ValueError, match="query_str"):
        store.query(VectorStoreQuery(query_embedding=[1.0]))
    with pytest.raises(ValueError, match="'x' was refused: invalid_metadata"):
        store.add([node("x", "text", "c", year="not a number")])


@pytest.mark.parametrize(
    ("operator", "key", "value", "expected"),
    [
        (FilterOperator.EQ, "year", 2021, ["a2"]),
        (FilterOperator.NE, "year", 2021, ["a1", "b1", "b2"]),
        (FilterOperator.GT, "year", 2021, ["b1"]),
        (FilterOperator.GTE, "year", 2021, ["a2", "b1"]),
        (FilterOperator.LT, "year", 2021, ["a1"]),
        (FilterOperator.LTE, "year", 2021, ["a1", "a2"]),
        (FilterOperator.IN, "year", [2019, 2022], ["a1", "b1"]),
        (FilterOperator.NIN, "year", [2019, 2022], ["a2", "b2"]),
        (FilterOperator.CONTAINS, "tags", "cake", ["a1"]),
        (FilterOperator.ANY, "tags", ["cake", "lobster"], ["a1", "b1"]),
        (FilterOperator.ALL, "tags", ["cake", "crab"], ["a1"]),
        (FilterOperator.IS_EMPTY, "tags", None, ["b2"]),
    ],
)
def test_each_filter_of_llama_index_chooses_what_it_says(
    client: Client,
    new_collection: Callable[..., str],
    operator: FilterOperator,
    key: str,
    value: object,
    expected: list[str],
) -> None:
    store = LsrVectorStore(client, new_collection(schema=SCHEMA))
    store.add(NODES)
    one = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    assert [found.node_id for found in store.get_nodes(filters=one)] == expected
    negated = MetadataFilters(filters=one.filters, condition=FilterCondition.NOT)
    assert [found.node_id for found in store.get_nodes(filters=negated)] == [
        found.node_id for found in NODES if found.node_id not in expected
    ]


def test_filters_are_nested_and_unknown_ones_are_named(client: Client, new_collection: Callable[..., str]) -> None:
    store = LsrVectorStore(client, new_collection(schema=SCHEMA))
    store.add(NODES)
    early = MetadataFilter(key="year", value=2020, operator=FilterOperator.LT)
    lobster = MetadataFilter(key="tags", value="lobster", operator=FilterOperator.CONTAINS)
    either = MetadataFilters(filters=[early, lobster], condition=FilterCondition.OR)
    both = MetadataFilters(filters=[either, MetadataFilter(key="tags", value="crab")])
    assert [one.node_id for one in store.get_nodes(filters=either)] == ["a1", "b1"]
    assert [one.node_id for one in store.get_nodes(filters=both)] == ["a1"]
    assert [one.node_id for one in store.get_nodes(["a1", "a2"], either)] == ["a1"]
    found = store.query(VectorStoreQuery(query_str="soup", similarity_top_k=5, doc_ids=["b"], filters=either))
    assert found.ids == ["b1"]
    match = MetadataFilter(key="tags", value="crab", operator=FilterOperator.TEXT_MATCH)
    with pytest.raises(ValueError, match="no filter for 'tags' text_match"):
        store.get_nodes(filters=MetadataFilters(filters=[match]))


def test_nodes_are_deleted_by_document_id_and_filter(client: Client, new_collection: Callable[..., str]) -> None:
    name = new_collection(schema=SCHEMA)
    store = LsrVectorStore(client, name)
    store.add(NODES)
    store.delete("a")
    assert [one.node_id for one in store.get_nodes()] == ["b1", "b2"]
    store.delete_nodes(["b2", "none"])
    assert [one.node_id for one in store.get_nodes()] == ["b1"]
    store.clear()
    assert client.collection(name).documents == 0
    without = LsrVectorStore(client, new_collection())
    without.add(NODES)
    with pytest.raises(ValueError, match=r"client\.change\(.*ref_doc_id"):
        without.delete("a")


def test_an_index_of_llama_index_runs_on_the_store(client: Client, new_collection: Callable[..., str]) -> None:
    store = LsrVectorStore(client, new_collection(schema=SCHEMA))
    documents = [Document(text="Crab cakes from Maine", id_="doc1"), Document(text="Lobster soup", id_="doc2")]
    context = StorageContext.from_defaults(vector_store=store)
    unused = MockEmbedding(embed_dim=1)  # LlamaIndex wants one when it writes; the service encodes the texts
    index = VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=unused)
    (source,) = index.as_retriever(similarity_top_k=1).retrieve("crab")
    assert (source.node.ref_doc_id, source.node.get_content()) == ("doc1", "Crab cakes from Maine")
    index.delete_ref_doc("doc1")
    assert [one.ref_doc_id for one in store.get_nodes()] == ["doc2"]
