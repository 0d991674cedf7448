"""What `lsr bench` can measure: a file of vectors in a fresh index, a collection as it is, and Seismic as a peer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.vocabulary import GrowingVocabulary
from index import SparseIndex
from lsr.cli.bench_sweep import Settings, Target
from lsr.collection import Collection
from lsr.corpora import Corpus, holds_vectors, open_corpus
from lsr.documents import Document, SparseByToken
from lsr.errors import CorpusUnreadable, QueryError
from lsr.storage.layout import is_collection

PEERS: Final = ("seismic",)

_DEFAULT_AND_EXACT: Final[tuple[Settings, ...]] = ({}, {"exact": True})
_TIES: Final = 50  # how far past k ties are looked for in a collection


@contextmanager
def open_targets(target: str, queries: str, *, limit: int, using: str, peers: Sequence[str]) -> Iterator[list[Target]]:
    """Yield what is to be measured. Raises CorpusUnreadable, QueryError, and what a collection raises."""
    for peer in peers:
        if peer not in PEERS:
            raise QueryError(f"there is no peer {peer!r}; there is {', '.join(PEERS)}", field="peers")
    if is_collection(Path(target)):
        if peers:
            raise QueryError(
                "peers are measured on a file of vectors: lsr export DIR --to jsonl makes one", field="peers"
            )
        with Collection.open(Path(target)) as collection:
            yield [_CollectionTarget(collection, using, _collection_queries(collection, using, queries, limit))]
        return
    vocabulary = GrowingVocabulary()
    rows = _read_vectors(open_corpus(target, "vectors"), vocabulary)
    asked_rows = _read_vectors(open_corpus(queries, "vectors"), vocabulary, limit)
    documents, asked = (_matrix(one, len(vocabulary)) for one in (rows, asked_rows))
    truth = _Truth(documents, asked)
    with tempfile.TemporaryDirectory(prefix="lsr-bench-") as folder:
        targets: list[Target] = [_IndexTarget(documents, asked, truth, Path(folder) / "index")]
        if "seismic" in peers:
            from lsr.cli.bench_seismic import SeismicTarget

            targets.append(SeismicTarget(documents, asked, truth, Path(folder)))
        yield targets


class _Truth:
    """Brute force in float64 over the vectors that went in."""

    def __init__(self, documents: csr_array, queries: csr_array) -> None:
        self._documents = documents.astype(np.float64)
        self._queries = queries.astype(np.float64)

    def relevant(self, query: int, k: int) -> frozenset[object]:
        scores = self._documents @ self._queries[[query]].toarray()[0]
        matching = int((scores > 0).sum())
        if not matching:
            return frozenset()
        threshold = np.partition(scores, len(scores) - min(k, matching))[len(scores) - min(k, matching)]
        return frozenset(np.flatnonzero(scores >= threshold).tolist())


class _IndexTarget:
    """A SparseIndex built for the occasion with default parameters."""

    name = "lsr"
    extra_settings = _DEFAULT_AND_EXACT

    def __init__(self, documents: csr_array, queries: csr_array, truth: _Truth, folder: Path) -> None:
        started = perf_counter()
        self._index = SparseIndex.build(documents, path=folder)
        self._queries = queries
        self.query_count = queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": documents.shape[0],
            "queries": queries.shape[0],
            "terms_a_document": round(documents.nnz / max(documents.shape[0], 1), 1),
            "build_seconds": round(perf_counter() - started, 2),
            "bytes": self._index.bytes,
            "recall_against": "brute force over the vectors as given",
        }
        self._index.warm()

    def searcher(self, query: int, k: int, settings: Settings) -> Callable[[], Sequence[object]]:
        terms, weights = row_of(self._queries, query)
        index = self._index
        return lambda: index.search_one(terms, weights, k, **settings)[0].tolist()


class _CollectionTarget:
    """A collection, searched as the service searches it but without fetching documents."""

    extra_settings = _DEFAULT_AND_EXACT

    def __init__(self, collection: Collection, using: str, queries: csr_array) -> None:
        info = collection.info()
        self.name = info.name
        self._collection = collection
        self._using = using
        self._queries = queries
        self.query_count = queries.shape[0]
        self.description: Mapping[str, Any] = {
            "documents": info.documents,
            "queries": queries.shape[0],
            "segments": info.segments,
            "bytes": info.bytes,
            "recall_against": "the collection's exact search",
        }
        collection.warm()

    def searcher(self, query: int, k: int, settings: Settings) -> Callable[[], Sequence[object]]:
        row = self._queries[[query]]
        exact = bool(settings.get("exact", False))
        others = {name: value for name, value in settings.items() if name != "exact"}
        rank = self._collection.rank
        return lambda: rank(row, using=self._using, k=k, exact=exact, **others)[0][0]

    def relevant(self, query: int, k: int) -> frozenset[object]:
        ids, scores = self._collection.rank(self._queries[[query]], using=self._using, k=k + _TIES, exact=True)[0]
        if not len(scores):
            return frozenset()
        threshold = scores[min(k, len(scores)) - 1]
        return frozenset(name for name, score in zip(ids, scores, strict=True) if score >= threshold)


def row_of(matrix: csr_array, row: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return a row's term numbers and weights."""
    place = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[place].astype(np.int64), matrix.data[place]


def _collection_queries(collection: Collection, using: str, queries: str, limit: int) -> csr_array:
    """Return the queries in the collection's term numbers, from vectors or from texts."""
    encoder_name = collection.info().vectors[using].encoder if using in collection.info().vectors else None
    if encoder_name is None or holds_vectors(queries):
        vocabulary = GrowingVocabulary(collection.tokens(range(collection.info().vectors[using].terms), using))
        return _matrix(_read_vectors(open_corpus(queries, "vectors"), vocabulary, limit), len(vocabulary))
    path = Path(queries) / "queries.jsonl" if Path(queries).is_dir() else Path(queries)
    texts = [line.content.full_text for line in open_corpus(str(path), "jsonl") if isinstance(line.content, Document)]
    return collection.encoder(using).encode_queries(texts[:limit], collection.statistics(using))


class _Rows(NamedTuple):
    """Vectors one after the other: columns int64, weights float32, and where each row starts (and the last ends)."""

    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]


def _read_vectors(corpus: Corpus, vocabulary: GrowingVocabulary, limit: int | None = None) -> _Rows:
    """Read ready-made vectors. Raises CorpusUnreadable for a bad line: a benchmark leaves nothing out."""
    tokens: list[str] = []
    weights: list[float] = []
    starts = [0]
    for number, content in corpus:
        if not isinstance(content, Document):
            raise CorpusUnreadable(f"{corpus.name}:{number}: {content}")
        if not content.vectors:
            raise CorpusUnreadable(f"{corpus.name}:{number}: no vector; lsr encode makes vectors of texts")
        for vector in content.vectors.values():
            if isinstance(vector, SparseByToken):
                tokens.extend(vector.weights)
                weights.extend(vector.weights.values())
            else:
                tokens.extend(map(str, vector.indices))
                weights.extend(vector.values)
        starts.append(len(tokens))
        if limit is not None and len(starts) > limit:
            break
    if len(starts) == 1:
        raise CorpusUnreadable(f"{corpus.name}: there is nothing in it")
    return _Rows(vocabulary.add(tokens), np.array(weights, dtype=np.float32), np.array(starts))


def _matrix(rows: _Rows, terms: int) -> csr_array:
    matrix = csr_array((rows.weights, rows.columns, rows.starts), shape=(len(rows.starts) - 1, terms))
    matrix.sort_indices()
    return matrix
