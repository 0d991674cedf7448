"""A router's metrics of each shard and replica, as a collector for the service's registry."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class ShardMetrics(Collector):
    """Counts requests from a router to replicas. Safe to use from many threads."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "lsr_shard_request_duration_seconds",
            "Requests to replicas, from sending to the answer.",
            ("shard", "replica"),
            buckets=_SECONDS,
            registry=own,
        )
        self._lost = Counter(
            "lsr_shard_replica_lost", "Replicas that did not answer a request.", ("shard", "replica"), registry=own
        )
        self._hedged = Counter(
            "lsr_shard_hedged", "Requests that were sent to a second replica too.", ("shard",), registry=own
        )
        self._won = Counter(
            "lsr_shard_hedge_won", "Hedged requests that were answered first.", ("shard",), registry=own
        )
        self._replicas = Gauge("lsr_shard_replicas", "Replicas that are known to be alive.", ("shard",), registry=own)

    def collect(self) -> Iterator[Metric]:
        """Return all of them."""
        yield from self._registry.collect()

    def answered(self, shard: str, replica: str, seconds: float, *, by_hedge: bool) -> None:
        """Add an answer."""
        self._seconds.labels(shard, replica).observe(seconds)
        if by_hedge:
            self._won.labels(shard).inc()

    def lost(self, shard: str, replica: str) -> None:
        """Add a replica that did not answer."""
        self._lost.labels(shard, replica).inc()

    def hedged(self, shard: str) -> None:
        """Add a hedged request."""
        self._hedged.labels(shard).inc()

    def replicas(self, shard: str, count: int) -> None:
        """Set the number of replicas of a shard."""
        self._replicas.labels(shard).set(count)
