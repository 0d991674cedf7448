"""beir: a collection as a retriever that `EvaluateRetrieval` runs and measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from beir.retrieval.search.base import BaseSearch

from lsr_client import runs
from lsr_client.client import Client
from lsr_client.stores import write_all

_WRITTEN = 10_000  # documents at a time


class LsrSearch(BaseSearch):
    """Writes beir's corpus to a collection that exists, and searches it.

    write     False: the collection holds the corpus already, and beir's is not read
    options   further fields of a search, such as `using="bm25"`; a search is exact unless `params` say otherwise

    Scores descend strictly (see runs.py); `score_function`, which beir passes, has no meaning here.
    """

    def __init__(self, client: Client, collection: str, *, write: bool = True, **options: Any) -> None:
        self._client = client
        self._collection = collection
        self._write = write
        self._options = options

    def search(
        self,
        corpus: Mapping[str, Mapping[str, str]],
        queries: Mapping[str, str],
        top_k: int,
        *_: Any,
        **__: Any,
    ) -> dict[str, dict[str, float]]:
        """Return {query id: {document id: score}}, one document more than `top_k` where the service allows it: beir
        leaves out the document that has the query's id. Raises ValueError for a document that is refused.
        """
        if self._write:
            for part in _parts(corpus):
                write_all(self._client, self._collection, part)
        options = {"k": min(top_k + 1, runs.MOST), "include": [], **self._options}
        found = runs.answers(self._client, self._collection, list(queries.values()), options)
        return {
            qid: {hit.id: score for hit, score in runs.descending(answer.hits)}
            for qid, answer in zip(queries, found, strict=True)
        }

    def encode(self, *_: Any, **__: Any) -> None:
        """Raise NotImplementedError: vectors stay in the service."""
        raise NotImplementedError("the service encodes and keeps the vectors; use EvaluateRetrieval.retrieve")

    def search_from_files(self, *_: Any, **__: Any) -> dict[str, dict[str, float]]:
        """Raise NotImplementedError: vectors stay in the service."""
        raise NotImplementedError("the service encodes and keeps the vectors; use EvaluateRetrieval.retrieve")


def _parts(corpus: Mapping[str, Mapping[str, str]]) -> Iterator[list[dict[str, str]]]:
    part: list[dict[str, str]] = []
    for id, document in corpus.items():
        part.append({"id": id, "title": document.get("title") or "", "text": document.get("text") or ""})
        if len(part) == _WRITTEN:
            yield part
            part = []
    if part:
        yield part
