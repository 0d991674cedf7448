"""PyTerrier: a collection as a retriever in pipelines and experiments, and as an indexer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
import pyterrier as pt

from lsr_client import runs
from lsr_client.bulk_writes import BulkResult
from lsr_client.client import Client


class LsrRetriever(pt.Transformer):
    """Adds the documents that are found for each query: `docno`, `score`, `rank`, and `title` and `text` if asked for.

    Scores descend strictly (see runs.py). `options` are further fields of a search, such as `using="bm25"`; a search is
    exact unless `params` say otherwise.
    """

    def __init__(self, client: Client, collection: str, k: int = runs.MOST, *, text: bool = False, **options: Any):
        super().__init__()
        self._client = client
        self._collection = collection
        self._options = {"k": k, "include": ["title", "text"] if text else [], **options}
        self._shown = ["title", "text"] if text else []

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the documents of the queries in `inp`, which has `qid` and `query`."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        queries = inp.to_dict("records")
        found = runs.answers(self._client, self._collection, [one["query"] for one in queries], self._options)
        rows = [
            {**query, "docno": hit.id, "score": score, "rank": at, **{name: getattr(hit, name) for name in self._shown}}
            for query, answer in zip(queries, found, strict=True)
            for at, (hit, score) in enumerate(runs.descending(answer.hits), pt.model.FIRST_RANK)
        ]
        new = [one for one in ("docno", "score", "rank", *self._shown) if one not in inp.columns]
        return pd.DataFrame(rows, columns=[*inp.columns, *new])


class LsrIndexer(pt.Indexer):
    """Writes documents to a collection that exists. `docno`, `title` and `text` are kept, other columns as metadata."""

    def __init__(self, client: Client, collection: str) -> None:
        super().__init__()
        self._client = client
        self._collection = collection
        self.result: BulkResult | None = None

    def index_inputs(self) -> list[list[str]]:
        """The columns that `index` needs."""
        return [["docno", "text"]]

    def index(self, iter: Iterable[Mapping[str, Any]], **_: Any) -> LsrRetriever:
        """Write documents as they are read and return the collection's retriever.

        Refused ones are in `result.refused`; raises ValueError if all are refused.
        """
        self.result = self._client.bulk(self._collection, _documents(iter))
        if self.result.refused and not self.result.accepted:
            error = self.result.refused[0][1]
            raise ValueError(f"all {self.result.sent} documents were refused: {error.code}: {error.detail}")
        return LsrRetriever(self._client, self._collection)


def _documents(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        metadata = {key: value for key, value in row.items() if key not in ("docno", "title", "text")}
        yield {
            "id": row["docno"],
            "title": row.get("title") or "",
            "text": row.get("text") or "",
            **({"metadata": metadata} if metadata else {}),
        }
