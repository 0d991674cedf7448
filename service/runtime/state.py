"""The shared state of all routes: `request.app.state.service`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from lsr.errors import EXPECTED_ERRORS
from lsr.store import CollectionStore
from service.metrics import CollectionSize, ServiceMetrics
from service.runtime.jobs import Jobs
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

    store: CollectionStore
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
        return service

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
            found.append(CollectionSize(name, info.documents, info.segments, len(info.damage), counts))
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
    return service
