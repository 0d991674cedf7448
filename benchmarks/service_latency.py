"""The time of a search over HTTP, and the part of the search itself.

One client, one connection, one request at a time, on SciFact's 300 test queries:

    python benchmarks/service_latency.py COLLECTION [--queries queries.jsonl] [--rounds 3] [--quick-search-ms MS]

Prints JSON lines, in milliseconds, without the cache of answers: first `Collection.search` alone in this process (one
thread), then the same over HTTP with the server in a separate process: with ids only, with whole documents, and with
explanations and highlights (like the web page).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from lsr.collection import Collection
from service.settings import ServiceSettings

SCIFACT = Path(__file__).parent.parent / "tests" / "data" / "scifact" / "queries.jsonl"
WAYS: dict[str, dict[str, Any]] = {
    "ids only": {"include": []},
    "whole documents": {},
    "page": {"explain": {"max_terms": 8}, "highlight": True},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=Path, default=SCIFACT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--k", type=int, default=10)
    add_settings(parser)
    arguments = parser.parse_args()
    queries = [json.loads(line)["text"] for line in arguments.queries.read_text(encoding="utf-8").splitlines()]
    with Collection.open(arguments.collection) as collection:
        collection.warm()
        times = measure(lambda text: collection.search(text, k=arguments.k, cache=False), queries, arguments.rounds)
    report("Collection.search", times)
    with server(arguments.collection, arguments.quick_search_ms) as (url, _):
        name = json.loads(get(url, "/v1/collections"))["collections"][0]["name"]
        connection = http.client.HTTPConnection(url.hostname or "", url.port)
        for way, fields in WAYS.items():

            def search(text: str, fields: dict[str, Any] = fields) -> None:
                body = json.dumps({"query": {"text": text}, "k": arguments.k, "cache": False} | fields)
                headers = {"Content-Type": "application/json"}
                connection.request("POST", f"/v1/collections/{name}/search", body, headers)
                response = connection.getresponse()
                if response.status != 200:
                    raise SystemExit(f"status {response.status}: {response.read()!r}")
                response.read()

            report(f"HTTP, {way}", measure(search, queries, arguments.rounds))


def measure(search: Callable[[str], object], queries: list[str], rounds: int) -> list[float]:
    """Return the milliseconds of every call, after one warm-up round."""
    times = []
    for turn in range(rounds + 1):
        for text in queries:
            started = perf_counter()
            search(text)
            if turn:
                times.append((perf_counter() - started) * 1000)
    return times


def report(what: str, times: list[float]) -> None:
    """Print one JSON line."""
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    line = {"what": what, "searches": len(times), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in line.items()}))


def get(url: Any, path: str) -> bytes:
    """Return the body of one GET."""
    connection = http.client.HTTPConnection(url.hostname, url.port)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option for the service setting that can be compared."""
    default = ServiceSettings.quick_search_ms
    parser.add_argument("--quick-search-ms", type=float, default=default, help="0: all searches in threads")


@contextmanager
def server(collection: Path, quick_search_ms: float) -> Iterator[tuple[Any, int]]:
    """Serve `collection` from another process while the block runs; yields its address and the process id."""
    code = (
        "import sys; from pathlib import Path; from service.server import serve; "
        "from service.settings import ServiceSettings; settings = ServiceSettings(quick_search_ms=float(sys.argv[2])); "
        "serve(Path(sys.argv[1]), port=0, settings=settings, on_ready=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(collection), str(quick_search_ms)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    try:
        assert process.stdout is not None
        yield urlsplit(process.stdout.readline().strip()), process.pid
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
