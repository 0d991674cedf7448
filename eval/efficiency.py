"""Efficiency: sizes, counts that do not depend on the machine, and times that do.

* active terms: the mean number of non-zero weights of a query and of a document.
* FLOPS: the mean number of multiplications for one query and one document, as in SPLADE's papers: the sum over terms of
  (share of queries with the term) x (share of documents with it).
* bytes per document: all files of the collection on disk, including texts, divided by its documents; and the vectors
  and their index alone.
* encoding: documents per second of the encoder alone, in one call with 1,000 documents; indexing: including reading,
  storing and building the index.
* latency: one query at a time, on one thread, k = 10, after a warm-up. `search` is the index alone; `total` adds
  encoding the query and fetching the documents.
* approximate search: the share of the exact top 10 that it finds, and its nDCG@10 next to that of exact search.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from eval.dataset import Dataset
from eval.evaluation import BATCH_SIZE, measure_system
from eval.machine import describe_machine, peak_memory_bytes
from eval.measures import parse_measure
from eval.sources.queries import Query
from eval.systems import CollectionSystem, SearchSettings
from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.documents import Document, SparseInput

TIMED_QUERIES = 1_000
SAMPLED_DOCUMENTS = 1_000
_K = 10
_ROUNDS = 5
# From fast to thorough. query_cut: the number of query terms that select candidates; heap_factor: how readily blocks
# are skipped.
_CURVE: tuple[tuple[int, float], ...] = ((2, 1.0), (4, 1.0), (6, 0.9), (8, 0.9), (12, 0.8), (16, 0.7), (24, 0.5))


def measure_efficiency(
    collection: Collection, dataset: Dataset, search: SearchSettings, *, index_seconds: float | None = None
) -> dict[str, Any]:
    """Return the figures above as one JSON object; `index_seconds` is the time for the whole index, if known."""
    queries = list(dataset.judged_queries())
    info = collection.info()
    figures: dict[str, Any] = {
        "machine": describe_machine(),
        **active_terms(collection, queries, search.using),
        "bytes_per_document": _per_document(info.bytes, info.documents),
        "vector_bytes_per_document": _per_document(_vector_bytes(collection, search.using), info.documents),
        "latency": latency(collection, queries[:TIMED_QUERIES], search),
        "approximate": approximation(collection, dataset, search),
        "curve": recall_latency_curve(collection, queries[:TIMED_QUERIES], search),
        "peak_memory_mib": round(peak_memory_bytes() / 2**20),
    }
    if info.vectors[search.using].encoder is not None and dataset.corpus is not None:
        figures["encoded_documents_per_second"] = encoding_rate(collection, dataset.corpus, search.using)
    if index_seconds is not None:
        figures["index_seconds"] = round(index_seconds, 2)
        figures["indexed_documents_per_second"] = round(info.documents / index_seconds)
    return figures


def active_terms(collection: Collection, queries: Sequence[Query], using: str) -> dict[str, float]:
    """Return the mean number of active terms of queries and documents, and FLOPS."""
    statistics = collection.statistics(using)
    documents = max(1, statistics.document_count)
    terms = np.arange(collection.info().vectors[using].terms, dtype=np.int64)
    frequencies = statistics.document_frequencies(terms).astype(np.float64)
    query_terms = 0
    multiplications = 0.0
    for query in queries:
        found = collection.search(_input(query), using=using, k=1, exact=True).query_terms
        ids = np.array([term.term_id for term in found if term.weight > 0], dtype=np.int64)
        query_terms += len(ids)
        multiplications += float(frequencies[ids].sum()) / documents
    return {
        "query_terms": round(query_terms / max(1, len(queries)), 2),
        "document_terms": round(float(frequencies.sum()) / documents, 2),
        "flops": round(multiplications / max(1, len(queries)), 3),
    }


def latency(collection: Collection, queries: Sequence[Query], search: SearchSettings) -> dict[str, Any]:
    """Time queries individually on this thread, exact and approximate; milliseconds, and queries per second."""
    collection.warm()
    return {
        "queries": len(queries),
        "k": _K,
        "threads": 1,
        "rounds": _ROUNDS,
        "exact": _time(collection, queries, search.with_exact(True)),
        "approximate": _time(collection, queries, search.with_exact(False)),
    }


def approximation(collection: Collection, dataset: Dataset, search: SearchSettings) -> dict[str, float]:
    """Return recall@10 of approximate search relative to exact search, and nDCG@10 of both."""
    exact, approximate = search.with_exact(True), search.with_exact(False)
    queries = list(dataset.judged_queries())
    truth: list[list[str]] = []
    found: list[list[str]] = []
    for start in range(0, len(queries), BATCH_SIZE):
        inputs = [_input(query) for query in queries[start : start + BATCH_SIZE]]
        truth += [ids for ids, _ in collection.rank(inputs, k=_K, **exact.as_keywords())]
        found += [ids for ids, _ in collection.rank(inputs, k=_K, **approximate.as_keywords())]
    ndcg = parse_measure("nDCG@10")
    values = {
        name: measure_system(CollectionSystem(collection, settings), dataset, [ndcg], depth=_K).means[str(ndcg)]
        for name, settings in (("exact", exact), ("approximate", approximate))
    }
    return {
        "recall@10_of_exact": _recall(truth, found),
        "nDCG@10_exact": values["exact"],
        "nDCG@10_approximate": values["approximate"],
    }


def recall_latency_curve(
    collection: Collection, queries: Sequence[Query], search: SearchSettings
) -> list[dict[str, float]]:
    """Return recall@10 relative to exact search, and search p50/p99, for settings from fast to thorough; exact last."""
    inputs = [_input(query) for query in queries]
    truth = [ids for ids, _ in collection.rank(inputs, k=_K, **search.with_exact(True).as_keywords())]
    points: list[dict[str, float]] = []
    for query_cut, heap_factor in _CURVE:
        settings = SearchSettings(search.using, exact=False, query_cut=query_cut, heap_factor=heap_factor)
        found = [ids for ids, _ in collection.rank(inputs, k=_K, **settings.as_keywords())]
        points.append(
            {"query_cut": query_cut, "heap_factor": heap_factor}
            | {"recall": _recall(truth, found), **_time(collection, queries, settings)}
        )
    points.append({"recall": 1.0, "exact": 1, **_time(collection, queries, search.with_exact(True))})
    return points


def encoding_rate(collection: Collection, corpus: str, using: str) -> float:
    """Return the documents per second that the collection's encoder encodes, from the first 1,000 of the corpus."""
    lines = islice(open_corpus(corpus), SAMPLED_DOCUMENTS)
    texts = [line.content.full_text for line in lines if isinstance(line.content, Document)]
    encoder = collection.encoder(using)
    encoder.encode_documents(texts[:8])  # the first call loads and compiles
    started = time.perf_counter()
    encoder.encode_documents(texts)
    return round(len(texts) / (time.perf_counter() - started), 1)


def _time(collection: Collection, queries: Sequence[Query], search: SearchSettings) -> dict[str, float]:
    """Time every query in several rounds and use its median, which ignores short disturbances of the machine."""
    keywords = search.as_keywords()
    for query in queries[:20]:
        collection.search(_input(query), k=_K, cache=False, **keywords)
    rounds = [
        [collection.search(_input(query), k=_K, cache=False, **keywords).timings for query in queries]
        for _ in range(_ROUNDS)
    ]
    searching = np.median([[timings.search for timings in one] for one in rounds], axis=0)
    total = np.median([[timings.total for timings in one] for one in rounds], axis=0)
    return {
        "search_p50_ms": round(float(np.percentile(searching, 50)), 3),
        "search_p99_ms": round(float(np.percentile(searching, 99)), 3),
        "total_p50_ms": round(float(np.percentile(total, 50)), 3),
        "total_p99_ms": round(float(np.percentile(total, 99)), 3),
        "queries_per_second": round(1000 / float(total.mean()), 1),
    }


def _recall(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    """Return the mean share of the true results that were found, over queries with results."""
    shares = [
        len(set(got).intersection(wanted)) / len(wanted) for wanted, got in zip(truth, found, strict=True) if wanted
    ]
    return round(float(np.mean(shares)), 4) if shares else 1.0


def _input(query: Query) -> str | SparseInput:
    return query.sparse if query.sparse is not None else query.text


def _vector_bytes(collection: Collection, using: str) -> int:
    folders = collection.path.glob(f"segments/*/vectors/{using}")
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())


def _per_document(size: int, documents: int) -> float:
    return round(size / max(1, documents), 1)


def flat(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures for tables and plots, by short names, without those that were not measured."""
    latency_figures = figures.get("latency", {})
    approximate = figures.get("approximate", {})
    found = {
        "query_terms": figures.get("query_terms"),
        "document_terms": figures.get("document_terms"),
        "flops": figures.get("flops"),
        "bytes_per_document": figures.get("bytes_per_document"),
        "exact_p50_ms": latency_figures.get("exact", {}).get("search_p50_ms"),
        "exact_p99_ms": latency_figures.get("exact", {}).get("search_p99_ms"),
        "approximate_p50_ms": latency_figures.get("approximate", {}).get("search_p50_ms"),
        "approximate_p99_ms": latency_figures.get("approximate", {}).get("search_p99_ms"),
        "approximate_recall": approximate.get("recall@10_of_exact"),
        "encoded_documents_per_second": figures.get("encoded_documents_per_second"),
        "indexed_documents_per_second": figures.get("indexed_documents_per_second"),
    }
    return {name: float(value) for name, value in found.items() if value is not None}
