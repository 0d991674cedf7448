"""What a request to a replica and back costs, by the way it takes: the same request and answer, without a search.

    python benchmarks/shard_hop.py [--requests 500]

A request of two lists with 24 terms each, an answer of two lists of 100 hits (3 kB). Ways: an open connection
(service/cluster/channel.py), a call of a Ray actor, a call through a Ray Serve handle; to one replica, and to four at
the same time. Prints JSON lines with milliseconds at p50 and p99, and this process's processor time per request.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from index import SearchParameters
from lsr.search.query_vectors import QueryVector
from lsr.sharding.selection import Everything
from lsr.sharding.shard import Found, Wanted
from service.cluster.channel import Connections, Listener
from service.cluster.connection import connected

TERMS = np.arange(24, dtype=np.int64)
QUERY = QueryVector(TERMS, np.ones(24, dtype=np.float32))
REQUEST = ("search", ((Wanted("a", QUERY, 100), Wanted("b", QUERY, 100)), SearchParameters(), Everything()))
FOUND = Found(np.arange(100), np.ones(100, dtype=np.float32), [f"d{number}" for number in range(100)], False, None)
ANSWER = [FOUND, FOUND]


class Echo:
    """An actor that answers the same, by a connection or by a call."""

    def __init__(self) -> None:
        self._listener = Listener("127.0.0.1", lambda _: ANSWER)
        self._listener.start()

    def address(self) -> Any:
        """Where it listens."""
        return self._listener.address

    def run(self, _: Any) -> Any:
        """Return the answer."""
        return ANSWER


class ServedEcho:
    """The same behind Ray Serve."""

    async def run(self, _: Any) -> Any:
        """Return the answer."""
        return ANSWER


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    given = parser.parse_args()
    with connected("local", cpus=8) as ray:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        actors = [ray.remote(Echo).options(num_cpus=0).remote() for _ in range(4)]
        connections = [Connections(ray.get(actor.address.remote())) for actor in actors]
        serve.start(proxy_location="Disabled")
        handles = [
            serve.run(
                serve.deployment(ServedEcho).options(ray_actor_options={"num_cpus": 0}).bind(),
                name=f"echo-{number}",
                route_prefix=None,
            )
            for number in range(4)
        ]

        def by_connection(count: int) -> None:
            calls = [one.send(REQUEST) for one in connections[:count]]
            for call in calls:
                call.receive()

        def by_actor(count: int) -> None:
            ray.get([actor.run.remote(REQUEST) for actor in actors[:count]])

        def by_serve(count: int) -> None:
            for response in [handle.run.remote(REQUEST) for handle in handles[:count]]:
                response.result()

        ways: dict[str, Callable[[int], None]] = {
            "open connection": by_connection, "Ray actor": by_actor, "Ray Serve handle": by_serve,
        }  # fmt: skip
        for count in (1, 4):
            took: dict[str, list[float]] = {way: [] for way in ways}
            used = dict.fromkeys(ways, 0.0)
            for number in range(given.requests + 20):
                for way, ask in ways.items():  # alternately, so that other work on the machine concerns all of them
                    began, processor = time.perf_counter(), time.process_time()
                    ask(count)
                    if number >= 20:
                        took[way].append((time.perf_counter() - began) * 1e3)
                        used[way] += (time.process_time() - processor) * 1e3
            for way in ways:
                p50, p99 = np.percentile(took[way], [50, 99])
                figures = {
                    "way": way,
                    "replicas": count,
                    "p50_ms": round(float(p50), 3),
                    "p99_ms": round(float(p99), 3),
                }
                print(json.dumps({**figures, "cpu_ms": round(used[way] / given.requests, 3)}), flush=True)


if __name__ == "__main__":
    main()
