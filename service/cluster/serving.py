"""`lsr serve --ray …`: one Ray Serve deployment for each shard with R replicas, and this process as the router.

The router is the ordinary service (service/server.py) over a store of collections in shards, so its HTTP API is the
same. Several routers can serve one publication; a cursor belongs to the router that gave it. When a new generation is
published, its replicas are started beside those of the former one; then the router changes over, and the former ones
end when no search reads them any longer.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lsr.errors import EXPECTED_ERRORS, ShardMismatch, ShardUnavailable
from lsr.sharding.cache import ShardCache, check_published
from lsr.sharding.collection import ShardedCollection
from lsr.sharding.live_collection import LiveCollection
from lsr.sharding.manifest import Publication
from lsr.sharding.places import Place, collection_name, place_of
from lsr.sharding.publishing import published
from lsr.sharding.splitting import read_frequencies
from lsr.sharding.store import ShardedStore
from lsr.store import Followed
from service.cluster.deployment import ServingOptions, application_name, deploy
from service.cluster.directory import directory
from service.cluster.router import ReplicatedShard
from service.cluster.shard_metrics import ShardMetrics
from service.cluster.writers import ActorRegistry, ActorWriter, start_writers

_logger = logging.getLogger("lsr.cluster")
_LOOK_SECONDS: Final = 1.0  # from one look for replicas to the next
_END_SECONDS: Final = 20.0  # for the cluster, when the router ends
_ATTEMPTS: Final = 3  # to ask whether another router uses the replicas


@contextlib.contextmanager
def deployed(uri: str, options: ServingOptions) -> Iterator[ClusterStore]:
    """Start the replicas of all shards; yields the store of a router, and ends the replicas with the block.

    Raises CollectionNotFound where nothing is published, ObjectStoreError, ShardMismatch, ClusterUnavailable where the
    replicas do not start.
    """
    import ray
    from ray import serve

    place = place_of(uri)
    publication = published(place)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled")
    with contextlib.ExitStack() as stack:
        store = ClusterStore(ray, serve, place, options)
        stack.callback(store.end)
        store.begin(publication)
        yield store


class ClusterStore(ShardedStore):
    """The published collection as a router serves it, on replicas of this cluster."""

    def __init__(self, ray: Any, serve: Any, place: Place, options: ServingOptions) -> None:
        super().__init__({})
        self.shard_metrics = ShardMetrics()
        self._serve = serve
        self._place = place
        self._options = options
        self._name = collection_name(place.uri)
        self._directory = directory(ray)
        self._router = uuid.uuid4().hex
        self._ray = ray
        self._cache = ShardCache(options.cache.expanduser(), options.cache_bytes)
        self._shards: tuple[ReplicatedShard, ...] = ()
        self._former: list[tuple[float, ShardedCollection]] = []
        self._ended = threading.Event()
        self._next_look = 0.0
        self._refused = 0  # a generation that could not be served
        self._refreshing: threading.Thread | None = None
        self._writers: tuple[ActorRegistry, list[ActorWriter]] | None = None

    def begin(self, publication: Publication) -> None:
        """Serve a generation, and begin to follow which replicas there are. Raises as `deployed`."""
        self._change_to(publication)
        self._refreshing = threading.Thread(target=self._refresh_on, name="lsr-replicas", daemon=True)
        self._refreshing.start()

    def end(self) -> None:
        """Close the collection; end replicas and writers, unless another router uses them.

        A cluster that is gone is waited for briefly: Ray itself would wait for a minute, then end the process.
        """
        self._ended.set()
        self.close()
        ending = threading.Thread(target=self._end_actors, name="lsr-end", daemon=True)
        ending.start()
        ending.join(_END_SECONDS)
        if ending.is_alive():
            _logger.warning(
                "the cluster has not answered for %g s: replicas and writers end with it, or with the next router",
                _END_SECONDS,
            )

    def _end_actors(self) -> None:
        if self._refreshing is not None:
            self._refreshing.join()  # a look for replicas would enter this router again
        current = self._collections.values()
        last = [self._delete(one.publication) for one in [*(former for _, former in self._former), *current]]
        if self._writers is not None and all(last):
            for actor in (*self._writers[1], self._writers[0]):
                actor.stop()

    def follow(self) -> Followed:
        """Serve a generation that was published since; the former one stays where that fails."""
        now = time.monotonic()
        followed = Followed()
        self._end_former(now)
        current = self._current
        if isinstance(current, LiveCollection):
            with contextlib.suppress(ShardUnavailable):  # a search says so
                current.follow()
        if now < self._next_look:
            return followed
        try:
            found = published(self._place)
            if current is None or found.generation <= max(current.publication.generation, self._refused):
                return followed
            try:
                if self._writers is not None:
                    raise ShardMismatch(
                        f"generation {found.generation} was published while documents are written to generation "
                        f"{current.publication.generation}: start the router again to serve it"
                    )
                self._change_to(found)
            except EXPECTED_ERRORS:
                self._refused = found.generation
                raise
            self._former.append((time.monotonic() + self._options.drain_seconds, current))
            _logger.info("%s: generation %d is served", self._name, found.generation)
        except EXPECTED_ERRORS as error:
            _logger.error("%s: a new generation is not served, the former one is: %s", self._name, error)
        finally:
            self._next_look = time.monotonic() + self._options.published_seconds
        return followed

    @property
    def _current(self) -> ShardedCollection | None:
        return self._collections.get(self._name)

    def _change_to(self, publication: Publication) -> None:
        """Start a generation's replicas, open and warm it, and put it in place of the former one."""
        check_published(self._place, publication)
        _logger.info(
            "%s: waiting for replicas (%d shards, %d of each); the first start on a machine compiles the search "
            "kernels, which can take some minutes",
            self._name,
            len(publication.shards),
            self._options.replicas,
        )
        shards: tuple[ReplicatedShard, ...] = ()
        try:
            self._start_writers(publication)
            deploy(self._ray, self._serve, self._place, publication, self._name, self._options)
            shards = tuple(self._shard(publication, entry.name) for entry in publication.shards)
            common = self._cache.open(self._place, publication.common)
            statistics = self._cache.open(self._place, publication.statistics)
            frequencies = read_frequencies(statistics.path, publication.statistics)
            collection = self._collection_of(publication, shards, common.path, frequencies)
            if self._collections:
                collection.warm()
        except BaseException:
            for shard in shards:
                shard.close()
            if not self._delete(publication):
                self._writers = None  # another router uses them
            raise
        self._shards = (*self._shards, *shards)
        self._collections[self._name] = collection

    def _collection_of(
        self, publication: Publication, shards: tuple[ReplicatedShard, ...], common: Path, frequencies: Any
    ) -> ShardedCollection:
        if self._writers is None:
            return ShardedCollection(common, publication, shards, frequencies, self._name)
        registry, writers = self._writers
        return LiveCollection(
            common, publication, shards, frequencies, self._name, writers=writers, extend=registry.extend
        )

    def _start_writers(self, publication: Publication) -> None:
        options = self._options
        if options.live is not None:
            cache, size = str(options.cache.expanduser()), options.cache_bytes
            self._writers = start_writers(
                self._ray, self._place.uri, publication, self._name, options.live, cache, size
            )
            for writer in self._writers[1]:
                writer.wait_until_started()

    def _shard(self, publication: Publication, name: str) -> ReplicatedShard:
        application = self._application(publication, name)

        def find() -> Any:
            try:
                return self._ray.get(self._directory.replicas.remote(application, self._router), timeout=5)
            except Exception as error:  # it is restarted; what is known stays in use
                _logger.warning("the directory of replicas does not answer: %r", error)
                with contextlib.suppress(Exception):  # it is asked for again with the next look
                    self._directory = directory(self._ray)
                return None

        return ReplicatedShard(name, find, self.shard_metrics)

    def _application(self, publication: Publication, shard: str) -> str:
        return application_name(self._name, publication.generation, shard, live=self._options.live is not None)

    def _refresh_on(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            for shard in self._shards:
                try:
                    shard.refresh()
                except Exception:
                    _logger.exception("looking for the replicas of %s", shard.name)

    def _end_former(self, now: float) -> None:
        for end, former in list(self._former):
            if now >= end:
                self._former.remove((end, former))
                former.close()
                self._delete(former.publication)
                closed = set(former.shards)
                self._shards = tuple(shard for shard in self._shards if shard not in closed)

    def _delete(self, publication: Publication) -> bool:
        """End a generation's replicas; False where another router uses them, or may use them."""
        applications = [self._application(publication, entry.name) for entry in publication.shards]
        try:
            if self._others_use(applications):
                return False
        except Exception as error:  # the cluster is slow, or gone
            _logger.warning("the replicas of generation %d are not ended: %r", publication.generation, error)
            return False
        for application in applications:
            with contextlib.suppress(Exception):
                self._serve.delete(application, _blocking=False)
        return True

    def _others_use(self, applications: Sequence[str]) -> bool:
        """Whether another router looks for replicas again; one that was killed a moment ago does not."""
        first = last = self._last_look(applications)
        while first is not None and last is not None and last <= first:
            time.sleep(_LOOK_SECONDS / 4)
            last = self._last_look(applications)
        return last is not None

    def _last_look(self, applications: Sequence[str]) -> float | None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                asked = [self._directory.last_look.remote(one, self._router) for one in applications]
                return max((look for look in self._ray.get(asked, timeout=5) if look is not None), default=None)
            except Exception:
                if attempt == _ATTEMPTS:
                    raise
        return None
