"""Systems that rank documents for queries, and that can be evaluated.

`CollectionSystem` searches a collection, `RunSystem` returns the rankings of an existing run. A system receives its
queries in batches and yields one ranking at a time, so that the results of 6,980 queries with 1,000 documents each are
never in memory together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Protocol, Unpack

import numpy as np
from scipy.sparse import csr_array

from eval.errors import DatasetMismatch
from eval.ranking import Ranking
from eval.runs import Run
from eval.sources.queries import Query
from index import SearchOptions, SearchParameters, SparseIndex
from lsr.collection import Collection
from lsr.documents import SparseByIndex, SparseInput
from lsr.results import VectorInfo
from lsr.search.request import Feedback

Pipeline = Mapping[str, Any] | Literal["default"]

# The encoder that is evaluated if none is given, and that others are compared with.
BASELINE_ENCODER: Final = "bm25"


class System(Protocol):
    """A named way to rank documents."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that, with the code's version, determine the rankings."""
        ...

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Yield a ranking of at most `k` documents for each query, in order; empty if nothing is found."""
        ...


@dataclass(init=False)
class SearchSettings:
    """The named vector of a collection to search, or the pipeline, and the search parameters; exact by default."""

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
        """The given name, or the encoder's."""
        return self._name or self._collection.info().vectors[self._search.using].encoder or "vectors"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The encoder, its fingerprint, the precision that its model computed in, and the search settings."""
        vector = self._collection.info().vectors[self._search.using]
        search = {key: value for key, value in self._search.as_keywords().items() if value is not None}
        return {"encoder": vector.encoder, "fingerprint": vector.fingerprint, **precision(vector), **search}

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Search for a batch of queries."""
        inputs: list[str | SparseInput] = [
            query.sparse if query.sparse is not None else query.text for query in queries
        ]
        ranked = self._collection.rank(inputs, k=k, **self._search.as_keywords())
        for query, (doc_ids, scores) in zip(queries, ranked, strict=True):
            yield Ranking(query.id, doc_ids, scores)


def precision(vector: VectorInfo) -> dict[str, str]:
    """Return the precision that a vector's model computed in, for a system's settings.

    `dtype` is that of the documents, `query_dtype` that of queries if it is another; both are missing without a model.
    """
    documents = ", ".join(vector.dtypes) or vector.query_dtype
    stated = {"dtype": documents, "query_dtype": None if vector.query_dtype == documents else vector.query_dtype}
    return {name: dtype for name, dtype in stated.items() if dtype is not None}


class IndexSystem:
    """Searches a SparseIndex whose documents are numbered; `doc_ids[i]` is the external id of document i.

    Queries are ready-made vectors by term number. The index breaks ties by document number, also at depth k. So the
    documents must be numbered by ascending external id, which is the order of ties everywhere else.
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
        """Its name in tables."""
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
                raise DatasetMismatch(f"query {query.id!r} is not a vector by term number")
            pairs = sorted(zip(query.sparse.indices, query.sparse.values, strict=True))
            indices += [index for index, _ in pairs]
            values += [value for _, value in pairs]
            indptr.append(len(indices))
        shape = (len(queries), max(self._index.n_terms, max(indices, default=0) + 1))
        return csr_array(
            (np.asarray(values, np.float32), np.asarray(indices, np.int64), np.asarray(indptr)), shape=shape
        )


class RunSystem:
    """Returns the rankings of a run file."""

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
        """Yield the run's ranking of each query that it has."""
        for query in queries:
            ranking = self._run.rankings.get(query.id)
            if ranking is not None:
                yield Ranking(query.id, ranking.doc_ids[:k], ranking.scores[:k])

    def check_queries(self, queries: Mapping[str, Query]) -> None:
        """Raise DatasetMismatch if the run has no result for any of the data set's queries."""
        if not any(query_id in queries for query_id in self._run.rankings):
            raise DatasetMismatch(f"{self._path}: none of its queries belongs to the data set")
