"""An hour of mixed load on one service: checks that memory, descriptors and threads do not grow.

usage: service_soak.py [--seconds 3600] [--documents 20000] [--writes-per-second 10] [--searches-per-second 20]

Starts a server on a new collection of synthetic sparse documents. Then a writer replaces and deletes documents in small
batches, so that sealing and merging run all the time while the number of live documents stays about the same, and a
searcher sends queries. Every ten seconds the server's resident memory, open descriptors, threads and children are
sampled from /proc; each sample is a JSON line. The last line compares the medians of the second tenth of the run (the
first is warm-up) with those of the last tenth, and counts the answers by status. Needs Linux.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 10.0
VOCABULARY = 5_000
COLLECTION = "soak"


class Client:
    """One connection, one request at a time; records statuses and latencies."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.statuses: Counter[str] = Counter()
        self.milliseconds: list[float] = []

    def send(self, what: str, method: str, path: str, value: object) -> None:
        """Send a JSON request, and record the status or the error's class, and the time."""
        started = time.perf_counter()
        try:
            self._connection.request(method, path, json.dumps(value), {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            response.read()
            self.statuses[f"{what} {response.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            self.statuses[f"{what} {type(error).__name__}"] += 1
            self._connection.close()
        self.milliseconds.append((time.perf_counter() - started) * 1000)


def document(identifier: int, draw: random.Random) -> dict[str, Any]:
    """Return a document of about 40 terms, with frequent terms more likely, as in a text."""
    terms = {f"t{int(VOCABULARY * draw.random() ** 3)}": round(draw.expovariate(1.0) + 0.01, 3) for _ in range(40)}
    return {"id": f"d{identifier}", "title": f"Document {identifier}", "text": "soak " * 20, "sparse": terms}


def repeat(until: float, per_second: float, action: Callable[[], None]) -> threading.Thread:
    """Call `action` at a fixed rate, or as fast as possible, in its own thread until the time `until`."""

    def loop() -> None:
        due = time.monotonic()
        while time.monotonic() < until:
            action()
            due = max(due + 1 / per_second, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=loop)
    thread.start()
    return thread


def sample(root: int) -> dict[str, int]:
    """Return bytes resident, descriptors and threads of the process `root`, and the number of its children."""
    folder = Path("/proc") / str(root)
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    return {
        "resident_bytes": int(status["VmRSS"].split()[0]) * 1024,
        "anonymous_bytes": int(status["RssAnon"].split()[0]) * 1024,  # without the mapped segments
        "descriptors": len(list((folder / "fd").iterdir())),
        "threads": int(status["Threads"]),
        "children": len((folder / "task" / str(root) / "children").read_text().split()),
    }


def main() -> None:
    """Start the server, load it, sample, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--writes-per-second", type=float, default=10)
    parser.add_argument("--searches-per-second", type=float, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("lsr")), "serve", folder, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            soak(process, options)
        finally:
            process.terminate()
            process.wait(timeout=60)


def soak(server: subprocess.Popen[str], options: argparse.Namespace) -> None:
    """Run the load against `server`, which prints its URL when it is ready."""
    port = int(server.stdout.readline().strip().rstrip("/").rsplit(":", 1)[1])  # type: ignore[union-attr]
    draw = random.Random(7)
    path = f"/v1/collections/{COLLECTION}"
    writer, searcher = Client(port), Client(port)
    writer.send("create", "PUT", path, {"vectors": {"default": {"encoder": None}}})
    for first in range(0, options.documents, 1000):
        batch = [document(i, draw) for i in range(first, min(first + 1000, options.documents))]
        writer.send("load", "POST", f"{path}/documents", {"documents": batch})

    def write() -> None:
        ids = draw.sample(range(options.documents), 20)
        if draw.random() < 0.3:
            writer.send("delete", "POST", f"{path}/documents:delete", {"ids": [f"d{i}" for i in ids[:5]]})
        writer.send("write", "POST", f"{path}/documents", {"documents": [document(i, draw) for i in ids]})

    asked = random.Random(8)

    def search() -> None:
        terms = {f"t{int(VOCABULARY * asked.random() ** 3)}": 1.0 for _ in range(6)}
        searcher.send("search", "POST", f"{path}/search", {"query": {"sparse": terms}, "k": 10, "cache": False})

    started = time.monotonic()
    until = started + options.seconds
    threads = [repeat(until, options.writes_per_second, write), repeat(until, options.searches_per_second, search)]
    samples = []
    while time.monotonic() < until:
        time.sleep(min(SAMPLE_SECONDS, max(0.0, until - time.monotonic())))
        samples.append(sample(server.pid))
        print(json.dumps({"seconds": round(time.monotonic() - started), **samples[-1]}), flush=True)
    for thread in threads:
        thread.join()
    tenth = max(1, len(samples) // 10)
    compared = {
        key: {
            "after_warm_up": statistics.median(s[key] for s in samples[tenth : 2 * tenth] or samples),
            "at_the_end": statistics.median(s[key] for s in samples[-tenth:]),
        }
        for key in samples[0]
    }
    times = sorted(searcher.milliseconds)
    latency = {f"p{p}_ms": round(times[min(len(times) - 1, len(times) * p // 100)], 2) for p in (50, 99)}
    answers = dict(sorted((writer.statuses + searcher.statuses).items()))
    print(json.dumps({"summary": compared, "search": latency, "answers": answers}))


if __name__ == "__main__":
    main()
