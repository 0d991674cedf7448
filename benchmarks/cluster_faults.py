"""A cluster under load while its machines are killed: wrong answers, lost writes and failed requests are counted.

    python benchmarks/cluster_faults.py [--seconds 300] [--every 10] [--documents 2000] [--nodes 6] [--one-at-a-time]

Several Ray nodes run as processes on this machine; the head is not killed. Documents are in 2 shards with 2 replicas
each, and are searched by two clients and written by a third one through a router. Every `--every` seconds the oldest
node is killed, without warning, and a new one is added; with --one-at-a-time not before every shard has two replicas
again, however long a busy machine needs to start them. Ray notices a dead node after 3 seconds, as in
docker-compose.cluster.yml; its default is 15. Prints one JSON line:

    searches, wrong           answers, and those of them that are not what one machine answers, to the last bit
    written, lost             acknowledged documents, and those of them that are not found at the end
    failed, failed_writes     requests not answered with 200 (or, for a write, a job that succeeded), by status
    slowest_ms                the slowest search, and the slowest write
    why                       the reasons of searches that failed
    seconds_by_replicas       seconds in which the router knew 0, 1, 2 replicas, summed over the shards
    slowest_replacement_s     the longest time until the router knew two replicas of a shard again
    slow_starts               new nodes that did not start in three minutes, and were started again
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from lsr.collection import Collection
from lsr.documents import Document
from lsr.sharding.places import place_of
from lsr.sharding.publishing import publish
from lsr.sharding.splitting import split_collection
from lsr.vectors import VectorConfig
from service.cluster.connection import import_ray
from service.cluster.deployment import ServingOptions
from service.cluster.serving import ClusterStore, deployed
from service.cluster.writers import LiveOptions
from service.server import running

NOTICED_SOON = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
WORDS = ("lobster", "roll", "heart", "attack", "sparse", "vector", "river", "stone", "light", "seven")
PATH = "/v1/collections/papers"
_SLOW_STARTS = 3
_REST_SECONDS = 0.05  # of a client after each request: clients, nodes and replicas that start share two cores


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--one-at-a-time", action="store_true")
    given = parser.parse_args()
    logging.getLogger("lsr").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        expected = make(root, given.documents)
        options = ServingOptions(replicas=2, cache=root / "cache", cpus=0.2, live=LiveOptions(root / "live", 0.1))
        with (
            nodes(given.nodes) as cluster,
            deployed(str(root / "papers"), options) as store,
            running(store) as url,
            httpx.Client(base_url=url, timeout=120) as client,
        ):
            load = Load(client, expected)
            replicas = ReplicaCounts(store)
            ready = replicas.are_complete if given.one_at_a_time else None
            killed = load.run(given.seconds, given.every, cluster, ready)
            replicas.stop()
            figures = {**load.figures(), **replicas.figures(), "slow_starts": cluster.slow_starts}
        print(json.dumps({"seconds": given.seconds, "killed": killed, **figures}), flush=True)


def make(root: Path, count: int) -> dict[str, list[Any]]:
    """Publish a collection in two shards, and return what one machine answers to each query."""
    rng = np.random.default_rng(5)
    with Collection.create(root / "c", vectors={"default": VectorConfig("bm25")}) as collection:
        texts = (" ".join(rng.choice(WORDS, rng.integers(2, 9))) for _ in range(count))
        collection.write([Document(f"d{number:06}", text=text) for number, text in enumerate(texts)])
        collection.seal()
        queries = [" ".join(rng.choice(WORDS, 3, replace=False)) for _ in range(20)]
        hits = {query: collection.search(query, k=20, exact=True).hits for query in queries}
    publication = split_collection(root / "c", root / "papers", 2)
    publish(place_of(str(root / "papers")), publication, root / "papers")
    return {query: [[hit.id, hit.score] for hit in found] for query, found in hits.items()}


@contextlib.contextmanager
def nodes(count: int, cpus: int = 2) -> Iterator[Nodes]:
    """A Ray cluster of a head without CPUs and some nodes with `cpus` each, on this machine."""
    os.environ.update(NOTICED_SOON)
    ray = import_ray()
    from ray.cluster_utils import Cluster

    memory = 100 << 20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    found = Nodes(cluster, memory, cpus)
    for _ in range(count):
        found.add()
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield found
    finally:
        ray.shutdown()
        cluster.shutdown()


class Nodes:
    """The nodes that can be killed, oldest first."""

    def __init__(self, cluster: Any, memory: int, cpus: int) -> None:
        self._cluster = cluster
        self._memory = memory
        self._cpus = cpus
        self._alive: deque[Any] = deque()
        self.slow_starts = 0

    @property
    def address(self) -> str:
        """Where the cluster answers."""
        return str(self._cluster.address)

    def add(self) -> None:
        """Add a node."""
        while True:
            try:
                self._alive.append(self._cluster.add_node(num_cpus=self._cpus, object_store_memory=self._memory))
            except Exception as error:  # Ray raises plain ones where a node is slow to start: on a busy machine
                self.slow_starts += 1
                if self.slow_starts > _SLOW_STARTS:
                    raise SystemExit(f"nodes do not start on this machine: {error}") from error
            else:
                return

    def kill(self) -> None:
        """Kill the oldest node without warning: all of its processes, as when a machine fails."""
        node = self._alive.popleft()
        (raylet,) = node.all_processes["raylet"]
        processes = [raylet.process.pid, *descendants(raylet.process.pid)]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)


def descendants(process: int) -> Iterator[int]:
    """The processes that a process and its children have started."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    waiting = [process]
    while waiting:
        children = parents.get(waiting.pop(), [])
        yield from children
        waiting += children


class Load:
    """Clients of a router, and what they saw."""

    def __init__(self, client: httpx.Client, expected: dict[str, list[Any]]) -> None:
        self._client = client
        self._expected = expected
        self._stop = threading.Event()
        self._searches: Counter[str] = Counter()
        self._writes: Counter[str] = Counter()
        self._why: Counter[str] = Counter()
        self._written: list[str] = []
        self._slowest = {"search": 0.0, "write": 0.0}

    def run(self, seconds: float, every: float, cluster: Nodes, ready: Callable[[], bool] | None = None) -> int:
        """Search and write for some seconds while nodes are killed; return how many were.

        ready  whether the next one may be killed
        """
        threads = [threading.Thread(target=one) for one in (self._search, self._search, self._write)]
        for thread in threads:
            thread.start()
        began, killed = time.monotonic(), 0
        while time.monotonic() + every <= began + seconds:
            time.sleep(max(began + (killed + 1) * every - time.monotonic(), 0))  # starting a node takes seconds, too
            while ready is not None and not ready() and time.monotonic() < began + seconds:
                time.sleep(0.2)
            if ready is not None and not ready():
                break
            cluster.kill()
            cluster.add()
            killed += 1
        time.sleep(max(began + seconds - time.monotonic(), 0))
        self._stop.set()
        for thread in threads:
            thread.join()
        return killed

    def figures(self) -> dict[str, Any]:
        """Return the counts; whether acknowledged documents are found is asked now."""
        lost = 0
        for first in range(0, len(self._written), 500):
            part = self._written[first : first + 500]
            answer = self._client.post(f"{PATH}/documents:get", json={"ids": part})
            lost += len(answer.json()["missing"]) if answer.status_code == 200 else len(part)
        return {
            "searches": self._searches.total(),
            "wrong": self._searches.pop("wrong", 0),
            "written": len(self._written),
            "lost": lost,
            "failed": {key: count for key, count in self._searches.items() if key != "200"},
            "failed_writes": {key: count for key, count in self._writes.items() if key != "200"},
            "why": dict(self._why),
            "slowest_ms": {name: round(seconds * 1e3) for name, seconds in self._slowest.items()},
        }

    def _search(self) -> None:
        while not self._stop.is_set():
            for query, expected in self._expected.items():
                body = {"query": {"text": query}, "k": 20, "params": {"exact": True}, "cache": False}
                began = time.monotonic()
                answer = self._client.post(f"{PATH}/search", json={**body, "timeout_ms": 30_000})
                self._took("search", began)
                status = str(answer.status_code)
                if status != "200":
                    self._why[answer.json()["detail"]] += 1
                if status == "200" and [[hit["id"], hit["score"]] for hit in answer.json()["hits"]] != expected:
                    status = "wrong"
                self._searches[status] += 1
                time.sleep(_REST_SECONDS)

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            ids = [f"w{number}-{part}" for part in range(4)]
            number += 1
            began = time.monotonic()
            answer = self._client.post(
                f"{PATH}/documents", json={"documents": [{"id": one, "text": f"quokka word{number}"} for one in ids]}
            )
            status = self._status_of(answer)
            self._took("write", began)
            self._writes[status] += 1
            if status == "200":
                self._written += ids
            time.sleep(_REST_SECONDS)

    def _status_of(self, answer: httpx.Response) -> str:
        """The status of a write, or of the job that it became."""
        while answer.status_code == 202:
            time.sleep(0.2)
            job = self._client.get(answer.headers["Location"])
            if job.status_code != 200 or job.json()["status"] in ("done", "failed"):
                return "200" if job.status_code == 200 and job.json()["status"] == "done" else "job failed"
        return str(answer.status_code)

    def _took(self, what: str, began: float) -> None:
        self._slowest[what] = max(self._slowest[what], time.monotonic() - began)


class ReplicaCounts:
    """How many replicas of each shard the router knows, five times per second."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._seconds: Counter[int] = Counter()
        self._since: dict[str, float] = {}  # when a shard had two replicas last
        self._slowest = 0.0
        self._thread = threading.Thread(target=self._look_on)
        self._thread.start()

    def stop(self) -> None:
        """Count no longer."""
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, Any]:
        """Return the times."""
        seconds = {str(count): round(value / 5) for count, value in sorted(self._seconds.items())}
        return {"seconds_by_replicas": seconds, "slowest_replacement_s": round(self._slowest, 1)}

    def are_complete(self) -> bool:
        """Whether the router knows two replicas of every shard."""
        return all(len(shard.replicas) >= 2 for shard in self._store._shards)

    def _look_on(self) -> None:
        while not self._stop.wait(0.2):
            now = time.monotonic()
            for shard in self._store._shards:
                count = len(shard.replicas)
                self._seconds[count] += 1
                if count < 2:
                    self._slowest = max(self._slowest, now - self._since.setdefault(shard.name, now))
                else:
                    self._since.pop(shard.name, None)


if __name__ == "__main__":
    main()
