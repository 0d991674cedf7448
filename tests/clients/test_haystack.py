"""Haystack's own tests of a document store, and a pipeline, against a service (see serving.py)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # no request to another host

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    DeleteAllTest,
    DeleteByFilterTest,
    DocumentStoreBaseTests,
)
from haystack.utils import Secret
from lsr_client import Client
from lsr_client.haystack import LsrDocumentStore, LsrRetriever

pytest_plugins = ["serving"]
# The fields that Haystack's tests filter by.
SCHEMA = {
    "name": "keyword", "page": "keyword", "chapter": "keyword", "number": "int", "date": "date", "category": "keyword",
    "status": "keyword", "year": "int", "priority": "int", "test_id": "keyword",
}  # fmt: skip


@pytest.fixture
def document_store(url: str, new_collection: Callable[..., str]) -> Iterator[LsrDocumentStore]:
    store = LsrDocumentStore(new_collection(schema=SCHEMA), url)
    yield store
    store.client.close()


class TestDocumentStore(DocumentStoreBaseTests, DeleteAllTest, DeleteByFilterTest, CountDocumentsByFilterTest):
    """Haystack's suite. The store lists by id and keeps no embedding, so documents are compared without both."""

    @pytest.fixture
    def document_store(self, document_store: LsrDocumentStore) -> LsrDocumentStore:
        return document_store

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        def comparable(documents: list[Document]) -> list[Document]:
            return sorted((replace(one, embedding=None) for one in documents), key=lambda one: one.id)

        assert comparable(received) == comparable(expected)

    def test_write_documents(self, document_store: LsrDocumentStore) -> None:
        """Without a policy, a document replaces the one with its id."""
        assert document_store.write_documents([Document(id="1", content="first")]) == 1
        assert document_store.write_documents([Document(id="1", content="second")]) == 1
        assert [one.content for one in document_store.filter_documents()] == ["second"]


def test_titles_ids_and_refusals(document_store: LsrDocumentStore) -> None:
    cakes = Document(id="1", content="Crab cakes", meta={"title": "Cakes", "year": 2020})
    document_store.write_documents([cakes, Document(id="2", content="Soup")])
    assert document_store.filter_documents({"field": "id", "operator": "==", "value": "1"}) == [cakes]
    assert document_store.client.get(document_store.collection, "1").title == "Cakes"
    assert [one.id for one in document_store.filter_documents({"field": "id", "operator": "!=", "value": "1"})] == ["2"]
    for bad, words in (
        (Document(content="x", meta={"year": "not a number"}), "invalid_metadata"),
        (Document(blob=ByteStream(b"x")), "has a blob"),
        (Document(content="x", meta={"title": 1}), "must be a string"),
    ):
        with pytest.raises(ValueError, match=words):
            document_store.write_documents([bad])
    with pytest.raises(FilterError, match="no field 'unknown'"):
        document_store.filter_documents({"field": "meta.unknown", "operator": "==", "value": 1})
    with pytest.raises(FilterError, match="unknown operator 'like'"):
        document_store.filter_documents({"field": "meta.name", "operator": "like", "value": "x"})


def test_a_pipeline_retrieves_and_is_saved_without_the_key(
    document_store: LsrDocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [
        Document(
            id=f"{year}", content=f"crab {'cake ' * (year - 2018)}", meta={"year": year, "status": f"{year % 2 == 0}"}
        )
        for year in (2018, 2019, 2020, 2021)
    ]
    document_store.write_documents(documents, policy=DuplicatePolicy.OVERWRITE)
    monkeypatch.setenv("A_KEY", "the key's value")
    keyed = LsrDocumentStore(document_store.collection, document_store.url, Secret.from_env_var("A_KEY"))
    even: dict[str, Any] = {"field": "meta.status", "operator": "==", "value": "True"}
    late: dict[str, Any] = {"field": "meta.year", "operator": ">", "value": 2019}
    pipeline = Pipeline()
    pipeline.add_component("retriever", LsrRetriever(keyed, even, top_k=5, filter_policy=FilterPolicy.MERGE))
    saved = pipeline.dumps()
    assert "the key's value" not in saved
    for one in (pipeline, Pipeline.loads(saved, allowed_modules=["lsr_client.haystack"])):
        found = one.run({"retriever": {"query": "crab", "filters": late}})["retriever"]["documents"]
        assert [document.id for document in found] == ["2020"]
        assert found[0].score > 0
    retriever = LsrRetriever(document_store, even, top_k=1, options={"using": "default"})
    assert [one.id for one in retriever.run("cake", filters=late, top_k=2)["documents"]] == ["2021", "2020"]
    assert len(asyncio.run(retriever.run_async("crab"))["documents"]) == 1
    with pytest.raises(FilterError):
        retriever.run("crab", filters={"field": "meta.year", "operator": ">", "value": "x"})


def test_the_store_needs_a_collection_that_exists(client: Client, url: str) -> None:
    with pytest.raises(Exception, match="404 collection-not-found"):
        LsrDocumentStore("none", url).count_documents()
