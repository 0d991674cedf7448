"""`lsr serve --ray …`: one Ray Serve deployment for each shard with R replicas, and this process as the router.

The router is the ordinary service (service/server.py) over a store of collections in shards, so its HTTP API is the
same. Several routers can serve one publication; a cursor belongs to the router that gave it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lsr.errors import ClusterUnavailable
from lsr.sharding.cache import DEFAULT_BYTES, ShardCache
from lsr.sharding.collection import ShardedCollection
from lsr.sharding.manifest import Publication
from lsr.sharding.places import Place, place_of
from lsr.sharding.publishing import published
from lsr.sharding.splitting import read_frequencies
from lsr.sharding.store import ShardedStore
from service.cluster.replicas import Replica
from service.cluster.router import ReplicatedShard

_ONGOING: Final = 64  # requests of one replica; further ones wait at the router
_NAME: Final = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """How the shards are served.

    replicas     of each shard
    cache        folder for shards that come from an object store, on every machine
    cpus         that one replica reserves
    """

    replicas: int = 1
    cache: Path = Path("~/.cache/lsr/shards")
    cache_bytes: int = DEFAULT_BYTES
    cpus: float = 0.5


def collection_name(uri: str) -> str:
    """Return the name of the collection that is published at a place: the last part of its path."""
    path = uri.split("?", 1)[0].rstrip("/")
    return _NAME.sub("-", path.rsplit("/", 1)[-1].lower()).strip("-_") or "collection"


@contextlib.contextmanager
def deployed(uri: str, options: ServingOptions) -> Iterator[ShardedStore]:
    """Start the replicas of all shards; yields the store of a router, and ends the replicas with the block.

    Raises CollectionNotFound where nothing is published, ObjectStoreError, ShardMismatch, ClusterUnavailable where the
    replicas do not start.
    """
    from ray import serve

    place = place_of(uri)
    publication = published(place)
    name = collection_name(place.uri)
    serve.start(proxy_location="Disabled")
    try:
        handles = _deploy(serve, place, publication, name, options)
        shards = [
            ReplicatedShard(entry.name, handle) for entry, handle in zip(publication.shards, handles, strict=True)
        ]
        cache = ShardCache(options.cache.expanduser(), options.cache_bytes)
        common = cache.open(place, publication.common)
        statistics = cache.open(place, publication.statistics)
        frequencies = read_frequencies(statistics.path, publication.statistics)
        collection = ShardedCollection(common.path, publication, shards, frequencies, name)
        store = ShardedStore({name: collection})
        with store:
            yield store
    finally:
        for entry in publication.shards:
            with contextlib.suppress(Exception):  # the cluster may be gone
                serve.delete(application_name(name, publication.generation, entry.name), _blocking=False)


def application_name(name: str, generation: int, shard: str) -> str:
    """Return the name of the Serve application of one shard."""
    return f"lsr-{name}-{generation}-{shard}"


def _deploy(serve: Any, place: Place, publication: Publication, name: str, options: ServingOptions) -> list[Any]:
    """Start the replicas of all shards at the same time, and return a handle for each shard when all are ready."""
    targets = []
    for entry in publication.shards:
        deployment = serve.deployment(Replica).options(
            name=entry.name,
            num_replicas=options.replicas,
            max_ongoing_requests=_ONGOING,
            ray_actor_options={"num_cpus": options.cpus},
            health_check_period_s=5,
            graceful_shutdown_timeout_s=10,
        )
        bound = deployment.bind(place.uri, entry, str(options.cache.expanduser()), options.cache_bytes)
        application = application_name(name, publication.generation, entry.name)
        targets.append(serve.RunTarget(bound, name=application, route_prefix=None))
    try:
        handles: list[Any] = serve.run_many(targets)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise ClusterUnavailable(
            f"the replicas do not start ({reason}): each reserves {options.cpus:g} CPUs and reads {place.uri}; start "
            "more workers, or give fewer --replicas"
        ) from error
    return handles
