"""What is evaluated: anything that ranks documents for queries.

`CollectionSystem` searches a collection, `RunSystem` hands on a run that somebody made before. A system gets its
queries in batches and yields rankings one by one, so that 6,980 queries of 1,000 documents each never stand in memory
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, Unpack

import numpy as np
from scipy.sparse import csr_array

from eval.errors import DatasetMismatch
from eval.ranking import Ranking
from eval.runs import Run
from eval.sources.queries import Query
from index import SearchOptions, SearchParameters, SparseIndex
from lsr.collection import Collection
from lsr.documents import SparseByIndex, SparseInput
from lsr.search.request import Feedback

Pipeline = Mapping[str, Any] | Literal["default"]


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


@dataclass(init=False)
class SearchSettings:
    """Which of a collection's vectors is searched, or which pipeline ranks, and how; exact if not said otherwise."""

    using: str
    parameters: SearchParameters
    pipeline: Pipeline | None = None  # in place of `using`: "default", or search defaults as JSON
    feedback: Feedback | None = None

    def __init__(
        self,
        using: str = "default",
        *,
        pipeline: Pipeline | None = None,
        feedback: Feedback | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        self.using = using
        self.pipeline = pipeline
        self.feedback = feedback
        options.setdefault("exact", True)
        self.parameters = SearchParameters(**options)

    @property
    def is_plain(self) -> bool:
        """Whether one vector ranks, without feedback."""
        return self.pipeline is None and self.feedback is None

    def with_exact(self, exact: bool) -> SearchSettings:
        """Return the same settings for exact or for approximate search."""
        parameters = self.parameters._replace(exact=exact)._asdict()
        return SearchSettings(self.using, pipeline=self.pipeline, feedback=self.feedback, **parameters)

    def as_keywords(self) -> dict[str, Any]:
        """Return the keywords of `Collection.search` and `Collection.rank` by one vector."""
        return {"using": self.using, **self.parameters._asdict()}

    def rank_keywords(self) -> dict[str, Any]:
        """Return the keywords of `Collection.rank`; those that are not needed are left out."""
        ranked_by = {"using": self.using} if self.pipeline is None else {"pipeline": self.pipeline}
        return {**ranked_by, **({} if self.feedback is None else {"prf": self.feedback}), **self.parameters._asdict()}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values; those that are not set are left out."""
        return {
            key: asdict(value) if isinstance(value, Feedback) else value
            for key, value in self.rank_keywords().items()
            if value is not None
        }


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
        """Encoder, its settings and fingerprint, and how the collection is searched."""
        vector = self._collection.info().vectors[self._search.using]
        search = {key: value for key, value in self._search.as_keywords().items() if value is not None}
        return {"encoder": vector.encoder, "fingerprint": vector.fingerprint, **search}

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
