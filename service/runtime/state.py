"""The shared state of all routes: `request.app.state.service`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fastapi import Request

from lsr.collection import Collection
from lsr.errors import EXPECTED_ERRORS
from lsr.part import Part
from lsr.store import CollectionStore
from service.auth import KEY_OF, ApiKey
from service.metrics import CollectionSize, ServiceMetrics
from service.problems import ProblemError
from service.runtime.bound_store import BoundStore, Store
from service.runtime.jobs import Jobs, OwnJobs
from service.runtime.readiness import Readiness
from service.runtime.scrubber import Scrubber
from service.runtime.search_turns import SearchTurns
from service.runtime.slow_searches import SlowSearches
from service.runtime.store_watcher import StoreWatcher
from service.runtime.work_pool import WorkPool
from service.runtime.write_queue import WriteQueue
from service.settings import ServiceSettings


@dataclass(frozen=True)
class Service:
    """The collections, settings, thread pools and metrics of one application."""

    store: Store
    settings: ServiceSettings
    metrics: ServiceMetrics
    readiness: Readiness
    searches: WorkPool
    search_turns: SearchTurns
    encodings: WorkPool
    writes: WriteQueue
    jobs: Jobs
    chores: WorkPool  # creating, showing and dropping collections, reading metrics
    scrubber: Scrubber
    watcher: StoreWatcher
    slow: SlowSearches = field(default_factory=SlowSearches)
    bound: dict[bytes, Service] = field(default_factory=dict)  # by a bound key's digest: what its holder sees

    @classmethod
    def start(cls, store: CollectionStore, settings: ServiceSettings) -> Service:
        """Create the parts and connect them to the metrics."""
        metrics = ServiceMetrics()
        searches = WorkPool(
            "searches", settings.search_threads, settings.search_queue, on_wait=metrics.queue_seconds.observe
        )
        writes = WriteQueue(settings.write_queue, settings.write_queue_bytes)
        chores = WorkPool("chores", 1, settings.write_queue)
        encodings = WorkPool("encodings", 1, settings.search_queue)
        scrubber = Scrubber(store, settings.scrub_hours * 3600.0, settings.scrub_bytes_per_second, metrics)
        service = cls(
            store=store,
            settings=settings,
            metrics=metrics,
            readiness=Readiness(),
            searches=searches,
            search_turns=SearchTurns(searches, settings.quick_search_ms),
            encodings=encodings,
            writes=writes,
            jobs=Jobs(),
            chores=chores,
            scrubber=scrubber,
            watcher=StoreWatcher(store),
        )
        metrics.watch_queue("searches", lambda: service.searches.waiting)
        metrics.watch_queue("encodings", lambda: service.encodings.waiting)
        metrics.watch_queue("writes", lambda: service.writes.waiting)
        metrics.watch_collections(service.sizes)
        if store.shard_metrics is not None:
            metrics.registry.register(store.shard_metrics)
        return service

    def of(self, request: Request) -> Service:
        """Return the service as the holder of the request's API key sees it."""
        key: ApiKey | None = request.scope.get(KEY_OF)
        if key is None or not key.is_bound or not isinstance(self.store, CollectionStore):
            return self
        found = self.bound.get(key.digest)
        if found is None:
            found = replace(self, store=BoundStore(self.store, key), jobs=OwnJobs(self.jobs))
            self.bound[key.digest] = found
        return found

    @property
    def is_bound(self) -> bool:
        """Whether this is the service as the holder of a bound key sees it."""
        return isinstance(self.store, BoundStore)

    def whole(self, name: str) -> Collection:
        """Return an open collection with all its documents; raises as `store.get`, a 403 problem for a bound key."""
        found = self.store.get(name)
        if isinstance(found, Part):
            raise ProblemError(403, "forbidden", "Key is bound", "this API key sees a part of the collection only")
        return found

    def sizes(self) -> list[CollectionSize]:
        """Return the size of every usable collection."""
        found = []
        for name in self.store.names():
            try:
                collection = self.store.get(name)
                info = collection.info()
            except EXPECTED_ERRORS:
                continue
            counts = collection.cache_counts()
            sampled = {} if info.query_sample is None else info.query_sample.queries
            measured = 0 if isinstance(collection, Part) else collection.curves_measured
            damaged = len(info.damage)
            found.append(CollectionSize(name, info.documents, info.segments, damaged, counts, sampled, measured))
        return found

    def close(self) -> None:
        """Stop, after the running jobs have ended."""
        self.readiness.stop()
        self.watcher.stop()
        self.scrubber.stop()
        self.searches.close()
        self.encodings.close()
        self.writes.close()
        self.chores.close()


async def service_of(request: Request) -> Service:
    """Return the application's `Service`; a dependency of the routes (async: FastAPI runs others in a thread)."""
    service: Service = request.app.state.service
    return service.of(request)
