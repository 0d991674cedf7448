"""What a router costs: HTTP searches of one service, and of routers over 1 and 4 shards, from one client and sixteen.

    python benchmarks/router_overhead.py COLLECTION [--shards 1 4] [--clients 1 16] [--seconds 10] [--work DIR]

Queries are titles of the collection; exact searches of one list, and the collection's default pipeline. The clients are
a process of their own; service, replicas (one per shard) and clients share this machine. Prints JSON lines: requests
per second, milliseconds at p50 and p99, and answers by status.

`model` is what docs/scale.md predicts for one client and one list, from measurements in which no router takes part:
the search of each shard alone, and the rest of a request of the service, which a router has too; and from the hop, a
request to all shards that does nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from lsr.collection import Collection
from lsr.sharding.places import place_of
from lsr.sharding.publishing import find_published, publish, published
from lsr.sharding.splitting import split_collection
from lsr.store import CollectionStore
from service.cluster.connection import connected
from service.cluster.deployment import ServingOptions
from service.cluster.serving import deployed
from service.server import running

CORES = os.cpu_count() or 1
ROUNDS = 2  # of a search of one list: the list, and the documents


def main() -> None:
    """Run the benchmark, or its clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        print(json.dumps(load(json.loads(given.load))))
        return
    logging.getLogger("lsr").setLevel(logging.ERROR)
    with Collection.open(given.collection) as collection:
        texts = [" ".join(text.split()[:8]) for text in collection.sample_texts(200)]
        first = next(iter(collection.info().vectors))
    forms: dict[str, dict[str, Any]] = {
        "one list": {"using": first, "params": {"exact": True}},
        "default pipeline": {"params": {"exact": True}},
    }
    with contextlib.ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ray = stack.enter_context(connected("local", cpus=8))
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        texts_of = [(text, forms["one list"]["using"]) for text in texts[:100]]
        searched = alone(given.collection, texts_of)
        rest = 0.0
        for count in (0, *given.shards):
            with served(given.collection, work, count) as (url, name, hop):
                way = "one service" if not count else f"router, {count} shards"
                for form, options in forms.items():
                    for clients in given.clients:
                        target = f"{url}/v1/collections/{name}/search"
                        p50 = measure(way, form, options, target, texts, clients, given)
                        if (form, clients) != ("one list", 1):
                            continue
                        if not count:
                            rest = p50 - searched
                            continue
                        root = work / f"papers{count}"
                        shards = [alone(root / one.folder, texts_of) for one in published(place_of(str(root))).shards]
                        parts = {"rest": rest, "shards": sum(shards) / min(count, CORES), "hops": ROUNDS * hop}
                        rounded = {key: round(value, 2) for key, value in parts.items()}
                        show(
                            "model", way=way, **rounded, model_p50_ms=round(sum(parts.values()), 2), measured_p50_ms=p50
                        )
        del ray


def alone(folder: Path, queries: list[tuple[str, str]]) -> float:
    """Return the median milliseconds of an exact search of one collection in this process."""
    took = []
    with Collection.open(folder) as collection:
        for number in range(2):
            for text, using in queries:
                began = time.perf_counter()
                collection.search(text, using=using, k=10, exact=True, cache=False)
                if number:
                    took.append((time.perf_counter() - began) * 1e3)
    return float(np.median(took))


def hop_of(collection: Any) -> float:
    """Return the median milliseconds of a request to all shards that does next to nothing."""
    took = []
    for _ in range(200):
        began = time.perf_counter()
        collection._ask_all("ids", np.empty(0, dtype=np.int64))
        took.append((time.perf_counter() - began) * 1e3)
    return float(np.median(took))


def show(what: str, **values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps({"what": what, **values}), flush=True)


@contextlib.contextmanager
def served(collection: Path, work: Path, shards: int) -> Iterator[tuple[str, str, float]]:
    """Serve the collection, as it is (0 shards) or by a router; yields the URL, the collection's name and the hop."""
    if not shards:
        with CollectionStore(collection, "r") as store, running(store) as url:
            yield url, store.names()[0], 0.0
        return
    root = work / f"papers{shards}"
    if find_published(place_of(str(root))) is None:
        publish(place_of(str(root)), split_collection(collection, root, shards), root)
    options = ServingOptions(cpus=0.1, cache=work / "cache")
    with deployed(str(root), options) as router, running(router) as url:
        name = router.names()[0]
        yield url, name, hop_of(router.get(name))


def measure(
    way: str, form: str, options: dict[str, Any], url: str, texts: list[str], clients: int, given: argparse.Namespace
) -> float:
    """Run the clients, print what they measured, and return their p50 in milliseconds."""
    task = {"url": url, "options": options, "texts": texts, "clients": clients, "seconds": given.seconds}
    command = [sys.executable, __file__, str(given.collection), "--load", json.dumps(task)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(found.stdout)
    show("requests", way=way, form=form, clients=clients, **figures)
    return float(figures["p50_ms"])


def load(task: dict[str, Any]) -> dict[str, Any]:
    """Ask for some seconds from some threads, after two seconds that are not counted."""
    took: list[float] = []
    statuses: Counter[int] = Counter()
    address = urlsplit(task["url"])
    begins = time.monotonic() + 2
    ends = begins + task["seconds"]

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=120)
        while time.monotonic() < ends:
            number += 1
            query = {"text": task["texts"][number * 7 % len(task["texts"])]}
            body = {"query": query, "k": 10, "cache": False, "timeout_ms": 30_000, **task["options"]}
            began = time.monotonic()
            connection.request("POST", address.path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if began >= begins:
                took.append((time.monotonic() - began) * 1e3)
                statuses[answer.status] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(task["clients"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(took, [50, 99]) if took else (0.0, 0.0)
    return {
        "per_second": round(len(took) / task["seconds"], 1),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "answers": {str(status): count for status, count in statuses.items()},
    }


if __name__ == "__main__":
    main()
