"""What is evaluated: anything that ranks documents for queries.

`CollectionSystem` searches a collection, `RunSystem` hands on a run that somebody made before. A system gets its
queries in batches and yields rankings one by one, so that 6,980 queries of 1,000 documents each never stand in memory
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from eval.errors import DatasetMismatch
from eval.ranking import Ranking
from eval.runs import Run
from eval.sources.queries import Query
from index import SparseIndex
from lsr.collection import Collection
from lsr.documents import SparseByIndex, SparseInput


class System(Protocol):
    """A named way to rank documents."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that, with the code's version, decide the rankings."""
        ...

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Yield a ranking of at most `k` documents for each query, in order; empty where nothing is found."""
        ...


@dataclass(frozen=True)
class SearchSettings:
    """How a collection is searched; exact by default, and then the other parameters have nothing to say."""

    using: str = "default"
    exact: bool = True
    recall: float | None = None
    query_cut: int | None = None
    heap_factor: float | None = None

    def as_keywords(self) -> dict[str, Any]:
        """Return the keywords of `Collection.search` and `Collection.rank`."""
        return dict(self.__dict__)


class CollectionSystem:
    """Searches a collection; a query with a ready-made vector is not encoded."""

    def __init__(self, collection: Collection, settings: SearchSettings, *, name: str | None = None) -> None:
        self._collection = collection
        self._search = settings
        self._name = name

    @property
    def name(self) -> str:
        """The encoder's name, unless another was given."""
        return self._name or self._collection.info().vectors[self._search.using].encoder or "vectors"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Encoder, its fingerprint, the precision that its model really ran in, and how the collection is searched.

        `dtype` is that of the documents, `query_dtype` that of queries where it is another; neither is there without a
        model.
        """
        vector = self._collection.info().vectors[self._search.using]
        dtype = ", ".join(vector.dtypes) or vector.query_dtype
        ran = {"dtype": dtype, "query_dtype": None if vector.query_dtype == dtype else vector.query_dtype}
        stated = {key: value for key, value in (ran | self._search.as_keywords()).items() if value is not None}
        return {"encoder": vector.encoder, "fingerprint": vector.fingerprint, **stated}

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Search for a batch of queries."""
        inputs: list[str | SparseInput] = [
            query.sparse if query.sparse is not None else query.text for query in queries
        ]
        ranked = self._collection.rank(inputs, k=k, **self._search.as_keywords())
        for query, (doc_ids, scores) in zip(queries, ranked, strict=True):
            yield Ranking(query.id, doc_ids, scores)


class IndexSystem:
    """Searches a SparseIndex whose documents are numbered; `doc_ids[i]` is the external id of document i.

    Queries are ready-made vectors by term number. To break ties by rising external id, as everywhere, the documents
    must have been numbered in that order: the index breaks them by its own numbers, and a tie at depth k is cut by
    them.
    """

    def __init__(
        self, index: SparseIndex, doc_ids: Sequence[str], *, name: str, threads: int = 1, **search: Any
    ) -> None:
        self._index = index
        self._doc_ids = doc_ids
        self._name = name
        self._threads = threads
        self._search = search

    @property
    def name(self) -> str:
        """What tables call it."""
        return self._name

    @property
    def settings(self) -> Mapping[str, Any]:
        """The search parameters."""
        return dict(self._search)

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Search for a batch of queries as one matrix."""
        found = self._index.search(self._matrix(queries), k, threads=self._threads, **self._search)
        for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
            n = int(np.count_nonzero(ids >= 0))
            yield Ranking(query.id, [self._doc_ids[i] for i in ids[:n].tolist()], scores[:n])

    def _matrix(self, queries: Sequence[Query]) -> csr_array:
        indptr, indices, values = [0], list[int](), list[float]()
        for query in queries:
            if not isinstance(query.sparse, SparseByIndex):
                raise DatasetMismatch(f"query {query.id!r} is no vector by term number")
            pairs = sorted(zip(query.sparse.indices, query.sparse.values, strict=True))
            indices += [index for index, _ in pairs]
            values += [value for _, value in pairs]
            indptr.append(len(indices))
        shape = (len(queries), max(self._index.n_terms, max(indices, default=0) + 1))
        return csr_array(
            (np.asarray(values, np.float32), np.asarray(indices, np.int32), np.asarray(indptr)), shape=shape
        )


class RunSystem:
    """Hands on the rankings of a run file."""

    def __init__(self, run: Run, *, path: str) -> None:
        self._run = run
        self._path = path

    @property
    def name(self) -> str:
        """The run's tag."""
        return self._run.tag

    @property
    def settings(self) -> Mapping[str, Any]:
        """The file's name."""
        return {"run": self._path}

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Hand on what the run has for each query."""
        for query in queries:
            ranking = self._run.rankings.get(query.id)
            if ranking is not None:
                yield Ranking(query.id, ranking.doc_ids[:k], ranking.scores[:k])

    def check_queries(self, queries: Mapping[str, Query]) -> None:
        """Raise DatasetMismatch when the run has no result at all for the dataset's queries."""
        if not any(query_id in queries for query_id in self._run.rankings):
            raise DatasetMismatch(f"{self._path}: none of its queries belongs to the dataset")
