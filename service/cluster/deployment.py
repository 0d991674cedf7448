"""The deployments of Ray Serve: one for each shard, with R replicas, and what decides whether they are replaced.

A router starts when all replicas are ready, or a while after each shard has one: where a machine is missing, the others
answer. What it waits for is logged, since Serve itself waits for ever and says nothing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
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

_logger = logging.getLogger("lsr.cluster")
_ONGOING: Final = 64  # requests of one replica through Serve, which are health checks only
_POLL_SECONDS: Final = 0.5
_SAID_SECONDS: Final = 30.0  # from one message about what is waited for to the next
_LATE_SECONDS: Final = 60.0  # after each shard has a replica


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


def deploy(ray: Any, serve: Any, place: Place, publication: Publication, name: str, options: ServingOptions) -> None:
    """Start the replicas of all shards at the same time, and wait for them; see `wait_for_replicas`.

    Where there are enough machines, the replicas of a shard are on different ones.
    """
    cpus = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    targets = []
    for entry in publication.shards:
        application = application_name(name, publication.generation, entry.name, live=options.live is not None)
        writer = None if options.live is None else writer_name(name, publication.generation, entry.name)
        cache = str(options.cache.expanduser())
        deployment = serve.deployment(Replica).options(
            name=entry.name,
            version=code_version(place.uri, entry, cache, options.cache_bytes),
            num_replicas=options.replicas,
            max_replicas_per_node=1 if len(cpus) >= options.replicas > 1 else None,
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
        serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    except RuntimeError as error:
        raise _not_started(str(error), place, options) from error
    shards = {target.name: entry.name for target, entry in zip(targets, publication.shards, strict=True)}
    wait_for_replicas(serve, shards, place, options, sum(cpus))


def wait_for_replicas(
    serve: Any, shards: Mapping[str, str], place: Place, options: ServingOptions, cpus: float
) -> None:
    """Wait until all replicas are ready, or for some time after each shard has one.

    shards  the names of the shards by those of their applications
    cpus    of the cluster, for the message

    Raises ClusterUnavailable where Serve gives up.
    """
    said = time.monotonic()
    enough = None  # since when each shard has a replica
    while True:
        found = serve.status().applications
        applications = {name: found[name] for name in shards if name in found}
        for one in applications.values():
            if one.status == "DEPLOY_FAILED":
                raise _not_started(one.message, place, options)
        ready = {shard: _running(applications.get(name), shard) for name, shard in shards.items()}
        if len(applications) == len(shards) and all(one.status == "RUNNING" for one in applications.values()):
            return
        now = time.monotonic()
        enough = (enough or now) if all(ready.values()) else None
        late = enough is not None and now - enough >= _LATE_SECONDS
        if late or now - said >= _SAID_SECONDS:
            _logger.warning("%s", _waits_for(ready, options, cpus, late=late))
            said = now
        if late:
            return
        time.sleep(_POLL_SECONDS)


def _running(application: Any, shard: str) -> int:
    deployment = None if application is None else application.deployments.get(shard)
    return 0 if deployment is None else int(deployment.replica_states.get("RUNNING", 0))


def _waits_for(ready: Mapping[str, int], options: ServingOptions, cpus: float, *, late: bool) -> str:
    missing = ", ".join(f"{shard} has {count} of {options.replicas}" for shard, count in ready.items())
    needed = len(ready) * options.replicas * options.cpus
    if options.live is not None:
        needed += (len(ready) + 1) * options.live.cpus
    advice = f"they reserve {needed:g} CPUs together, and the cluster has {cpus:g}"
    if needed > cpus:
        advice += ": start more workers, or give fewer --replicas"
    return f"{'the router begins without all' if late else 'still waiting for'} replicas ({missing}); {advice}"


def _not_started(message: str, place: Place, options: ServingOptions) -> ClusterUnavailable:
    reason = (message.strip().splitlines() or [""])[-1]
    return ClusterUnavailable(
        f"the replicas do not start ({reason}): each reserves {options.cpus:g} CPUs and reads {place.uri}; start "
        "more workers, or give fewer --replicas"
    )
