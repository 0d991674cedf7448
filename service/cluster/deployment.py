"""The deployments of Ray Serve: one for each shard, with R replicas, and what decides whether they are replaced."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lsr import __version__
from lsr.errors import ClusterUnavailable
from lsr.sharding.cache import DEFAULT_BYTES
from lsr.sharding.manifest import Publication
from lsr.sharding.places import Place
from service.cluster.replicas import Replica
from service.cluster.writers import LiveOptions, writer_name

_ONGOING: Final = 64  # requests of one replica through Serve, which are health checks only


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """How the shards are served.

    replicas       of each shard
    cache          folder for shards that come from an object store, on every machine
    cpus           that one replica reserves
    drain_seconds  how long the replicas of a former generation stay after the router has changed over
    published_seconds  from one look for a new generation to the next
    live           where documents are written; None: the shards are not written
    """

    replicas: int = 1
    cache: Path = Path("~/.cache/lsr/shards")
    cache_bytes: int = DEFAULT_BYTES
    cpus: float = 0.5
    drain_seconds: float = 60.0
    published_seconds: float = 5.0
    live: LiveOptions | None = None


def application_name(name: str, generation: int, shard: str, *, live: bool = False) -> str:
    """Return the name of the Serve application of one shard.

    Routers with and without --live have replicas of their own: only those of a live one follow the shard's writer.
    """
    return f"lsr-{name}-{generation}-{'live-' if live else ''}{shard}"


def code_version(*settings: object) -> str:
    """Return what Serve compares: replicas of another version are replaced, one after the other.

    Without it every start of a further router would replace all replicas.
    """
    return hashlib.sha256(repr((__version__, *settings)).encode()).hexdigest()[:16]


def deploy(serve: Any, place: Place, publication: Publication, name: str, options: ServingOptions, nodes: int) -> None:
    """Start the replicas of all shards at the same time, and return when all are ready; raises ClusterUnavailable.

    Where there are enough machines, the replicas of a shard are on different ones.
    """
    targets = []
    for entry in publication.shards:
        application = application_name(name, publication.generation, entry.name, live=options.live is not None)
        writer = None if options.live is None else writer_name(name, publication.generation, entry.name)
        cache = str(options.cache.expanduser())
        deployment = serve.deployment(Replica).options(
            name=entry.name,
            version=code_version(place.uri, entry, cache, options.cache_bytes),
            num_replicas=options.replicas,
            max_replicas_per_node=1 if nodes >= options.replicas > 1 else None,
            max_surge_percent=100 if options.replicas == 1 else 0,
            max_ongoing_requests=_ONGOING,
            ray_actor_options={"num_cpus": options.cpus},
            health_check_period_s=5,
            graceful_shutdown_timeout_s=10,
            _internal=True,  # Ray 2.60 does not let others name the version
        )
        bound = deployment.bind(application, place.uri, entry, cache, options.cache_bytes, writer)
        targets.append(serve.RunTarget(bound, name=application, route_prefix=None))
    try:
        serve.run_many(targets)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise ClusterUnavailable(
            f"the replicas do not start ({reason}): each reserves {options.cpus:g} CPUs and reads {place.uri}; start "
            "more workers, or give fewer --replicas"
        ) from error
