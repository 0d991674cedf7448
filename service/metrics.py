"""The service's metrics, for Prometheus at `/metrics`.

Each application has its own registry, so that several can run in one process (tests do that). The numbers of documents
and segments are read from the collections when the metrics are requested, not updated by every write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lsr.results import CacheCounts, Timings

_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class CollectionSize(NamedTuple):
    """The size of one collection."""

    name: str
    documents: int
    segments: int
    damaged: int
    cache: CacheCounts
    sampled: Mapping[str, int]  # queries in the sample, by vector
    curves_measured: int  # on sampled queries


class ServiceMetrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make = self.registry
        self.requests = Counter("lsr_requests", "Answered requests.", ("route", "status"), registry=make)
        self.request_seconds = Histogram(
            "lsr_request_duration_seconds", "Whole requests.", ("route",), buckets=_SECONDS, registry=make
        )
        self.queue_seconds = self._histogram("queue", "Waiting for a thread.")
        self.encode_seconds = self._histogram("encode", "Encoding the query.")
        self.search_seconds = self._histogram("search", "Finding the best documents.")
        self.rescore_seconds = self._histogram("rescore", "Comparing the first candidates by a dense vector.")
        self.fetch_seconds = self._histogram("fetch", "Reading the hits' documents.")
        self.queue_size = Gauge("lsr_queue_size", "Waiting jobs, requests in flight.", ("queue",), registry=make)
        self.scrubbed_bytes = Counter("lsr_scrubbed_bytes", "Bytes compared with their checksum.", registry=make)
        self.scrub_passes = Counter("lsr_scrub_passes", "Finished scrubs of all collections.", registry=make)
        self.rejected = Counter("lsr_rejected", "Requests refused to protect the service.", ("reason",), registry=make)

    def watch_queue(self, queue: str, size: Callable[[], float]) -> None:
        """Report `size()` as the length of `queue` whenever the metrics are read."""
        self.queue_size.labels(queue).set_function(size)

    def watch_collections(self, sizes: Callable[[], Iterable[CollectionSize]]) -> None:
        """Report the result of `sizes()` whenever the metrics are read."""
        self.registry.register(_CollectionCollector(sizes))

    def observe_search(self, timings: Timings) -> None:
        """Add one search."""
        self.encode_seconds.observe(timings.encode / 1000.0)
        self.search_seconds.observe(timings.search / 1000.0)
        if timings.rescore:
            self.rescore_seconds.observe(timings.rescore / 1000.0)
        self.fetch_seconds.observe(timings.fetch / 1000.0)

    def count_refusal(self, status: int) -> None:
        """Add a request that the protocol refused before the application saw it."""
        self.requests.labels("none", str(status)).inc()
        if status in (429, 431):
            self.rejected.labels("headers" if status == 431 else "pipelined").inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _histogram(self, step: str, text: str) -> Histogram:
        return Histogram(f"lsr_{step}_duration_seconds", text, buckets=_SECONDS, registry=self.registry)


class _CollectionCollector(Collector):
    def __init__(self, sizes: Callable[[], Iterable[CollectionSize]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterator[Metric]:
        documents = GaugeMetricFamily("lsr_documents", "Live documents.", labels=["collection"])
        segments = GaugeMetricFamily("lsr_segments", "Sealed segments.", labels=["collection"])
        damaged = GaugeMetricFamily("lsr_damaged_files", "Files found damaged.", labels=["collection"])
        found = CounterMetricFamily(
            "lsr_cache", "Look-ups in a collection's caches.", labels=["collection", "cache", "category", "outcome"]
        )
        kept = GaugeMetricFamily("lsr_cache_bytes", "Bytes in a collection's caches.", labels=["collection", "cache"])
        sampled = GaugeMetricFamily(
            "lsr_sampled_queries", "Queries in the sample that a collection keeps.", labels=["collection", "vector"]
        )
        measured = CounterMetricFamily(
            "lsr_recall_curves_measured", "Recall curves measured on sampled queries.", labels=["collection"]
        )
        for size in self._sizes():
            for vector, queries in size.sampled.items():
                sampled.add_metric([size.name, vector], queries)
            measured.add_metric([size.name], size.curves_measured)
            for one in size.cache.lookups:
                found.add_metric([size.name, one.cache, one.category, "hit"], one.hits)
                found.add_metric([size.name, one.cache, one.category, "miss"], one.misses)
            for cache, count in size.cache.bytes.items():
                kept.add_metric([size.name, cache], count)
            documents.add_metric([size.name], size.documents)
            segments.add_metric([size.name], size.segments)
            damaged.add_metric([size.name], size.damaged)
        yield from (documents, segments, damaged, found, kept, sampled, measured)

    def describe(self) -> Iterable[Metric]:
        return []  # registration must not read the collections
