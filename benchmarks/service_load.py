"""The service under load: its maximum throughput, and its behaviour at four times that load.

    python benchmarks/service_load.py COLLECTION [--queries queries.jsonl] [--seconds 5] [--quick-search-ms MS]

Works on a copy of the collection, with the server in a separate process. Prints JSON lines:

* `peak`: searches per second of 16 clients that each wait for their answer;
* `overload`: an open loop of four times that rate. The answered searches as a share of the peak, and their latency; the
  latency of refusals; the latency of /healthz, requested ten times per second on its own connection.

Client and server share the machine's cores, so the throughput is lower than that of the server alone; both lines give
the cores that each of them used, from /proc (needs Linux). Latencies of the open loop count from the time when a
request was due, not from when it could be sent. service_writing.py measures searches while documents are written.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from time import perf_counter
from typing import Any

from http_load import LoadClient, http_request
from service_latency import SCIFACT, add_settings, server


class HealthWatch:
    """Requests /healthz ten times per second from its own thread, and records the milliseconds."""

    def __init__(self, host: str, port: int) -> None:
        self.milliseconds: list[float] = []
        self._connection = http.client.HTTPConnection(host, port, timeout=60)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        """Stop the requests."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            started = perf_counter()
            self._connection.request("GET", "/healthz")
            self._connection.getresponse().read()
            self.milliseconds.append((perf_counter() - started) * 1e3)


class Cores:
    """The processor use of this process and another one since this object was created."""

    def __init__(self, other: int) -> None:
        self._other = other
        self._began = perf_counter(), time.process_time(), self._seconds()

    def figures(self) -> dict[str, float]:
        """Return both as numbers of cores."""
        began, own, other = self._began
        passed = perf_counter() - began
        return {
            "client_cores": round((time.process_time() - own) / passed, 2),
            "server_cores": round((self._seconds() - other) / passed, 2),
        }

    def _seconds(self) -> float:
        fields = Path(f"/proc/{self._other}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(url: Any, pid: int, queries: list[str], seconds: float) -> None:
    """Run both phases against the server at `url`, which is process `pid`."""
    client = LoadClient(url.hostname, url.port)
    path = "/v1/collections/copy/search"
    requests = [
        http_request("POST", path, json.dumps({"query": {"text": text}, "cache": False}).encode()) for text in queries
    ]

    def request() -> bytes:
        return random.choice(requests)

    client.closed_loop(request, 4, 2)
    cores = Cores(pid)
    answers = client.closed_loop(request, 16, seconds)
    peak = answers.counts["200"] / seconds
    print(json.dumps({"what": "peak", **answers.figures(seconds), **cores.figures()}), flush=True)
    health = HealthWatch(url.hostname, url.port)
    cores = Cores(pid)
    answers = client.open_loop(request, peak * 4, seconds)
    figures = answers.figures(seconds) | cores.figures()
    health.stop()
    share = round(answers.counts["200"] / seconds / peak, 3)
    slowest = round(max(health.milliseconds), 2)
    line = {"what": "overload", **figures, "offered_per_second": round(peak * 4, 1), "share_of_peak": share}
    print(json.dumps(line | {"slowest_healthz_ms": slowest}), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=Path, default=SCIFACT)
    parser.add_argument("--seconds", type=float, default=5.0)
    add_settings(parser)
    arguments = parser.parse_args()
    queries = [json.loads(line)["text"] for line in arguments.queries.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(arguments.collection, Path(folder) / "copy")
        with server(Path(folder), arguments.quick_search_ms) as (url, pid):
            measure(url, pid, queries, arguments.seconds)


if __name__ == "__main__":
    main()
