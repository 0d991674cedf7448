"""Searches over HTTP while documents are written, sealed and merged, compared with searches on a quiet service.

usage: service_writing.py [--documents 50000] [--seconds 40] [--writes-per-second 1000] [--searches-per-second 50]

Starts a server on a new collection of synthetic sparse documents (40 terms each), which are loaded as NDJSON in batches
of 1,000; then it waits until they are sealed. The same open loop of searches runs twice: alone, and while another
process replaces documents in batches of 200, so that sealing and merging run. Prints JSON lines: the load, both phases
with the latencies of the searches, and for the second the documents written, the seals and merges seen, and the largest
number of pending documents.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from http_load import LoadClient, http_request
from service_soak import VOCABULARY, document

BATCH = 200
COLLECTION = "/v1/collections/writing"


def main() -> None:
    """Start the server, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--writes-per-second", type=float, default=1000)
    parser.add_argument("--searches-per-second", type=float, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("lsr")), "serve", folder, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            if process.stdout is None:
                raise SystemExit("the server has no stdout")
            measure(int(process.stdout.readline().strip().rstrip("/").rsplit(":", 1)[1]), options)
        finally:
            process.terminate()
            process.wait(timeout=60)


def measure(port: int, options: argparse.Namespace) -> None:
    """Run the phases."""
    load(port, options.documents)
    asked = random.Random(8)
    requests = []
    for _ in range(500):
        terms = {f"t{int(VOCABULARY * asked.random() ** 3)}": 1.0 for _ in range(12)}
        query = {"query": {"sparse": terms}, "k": 10, "include": ["title"], "cache": False}
        requests.append(http_request("POST", f"{COLLECTION}/search", json.dumps(query).encode()))
    client = LoadClient("127.0.0.1", port)
    rate, seconds = options.searches_per_second, options.seconds
    client.open_loop(lambda: asked.choice(requests), rate, 3)
    quiet = client.open_loop(lambda: asked.choice(requests), rate, seconds)
    print(json.dumps({"phase": "quiet", **quiet.figures(seconds), **info(port)}), flush=True)
    done: multiprocessing.Queue[dict[str, float]] = multiprocessing.Queue()
    arguments = (port, options.documents, options.writes_per_second, seconds + 2, done)
    writer = multiprocessing.Process(target=replace_documents, args=arguments)
    writer.start()
    time.sleep(2)
    busy = client.open_loop(lambda: asked.choice(requests), rate, seconds)
    print(json.dumps({"phase": "writing", **busy.figures(seconds), **done.get(), **info(port)}), flush=True)
    writer.join()


def load(port: int, count: int) -> None:
    """Fill the collection and wait until the upkeep has finished."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    send(connection, "PUT", COLLECTION, json.dumps({"vectors": {"default": {"encoder": None}}}).encode())
    draw = random.Random(7)
    lines = [json.dumps(document(number, draw)) for number in range(count)]
    started = time.perf_counter()
    refused = 0
    for first in range(0, count, 1000):
        body = "\n".join(lines[first : first + 1000]).encode()
        while send(connection, "POST", f"{COLLECTION}/documents", body, "application/x-ndjson") == 429:
            refused += 1
            time.sleep(0.1)
    seconds = time.perf_counter() - started
    resting, before = 0, info(port)
    while resting < 10:
        time.sleep(0.3)
        now = info(port)
        resting = resting + 1 if now == before else 0
        before = now
    print(json.dumps({"phase": "load", "documents_per_second": round(count / seconds), "refused": refused, **before}))


def replace_documents(
    port: int, count: int, rate: float, seconds: float, done: multiprocessing.Queue[dict[str, float]]
) -> None:
    """Replace random documents, `rate` per second, in a separate process; puts its observations into `done`."""
    draw = random.Random(9)
    bodies = [
        "\n".join(json.dumps(document(number, draw)) for number in draw.sample(range(count), BATCH)).encode()
        for _ in range(100)
    ]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    started = time.perf_counter()
    due, written, seen = started, 0, [info(port)]
    while (now := time.perf_counter()) < started + seconds:
        if send(connection, "POST", f"{COLLECTION}/documents", draw.choice(bodies), "application/x-ndjson") == 200:
            written += BATCH
        if now > started + 0.5 * len(seen):
            seen.append(info(port))
        due = max(due + BATCH / rate, now - 1)
        time.sleep(max(0.0, due - time.perf_counter()))
    steps = [after["segments"] - before["segments"] for before, after in pairwise(seen)]
    done.put(
        {
            "written_per_second": round(written / seconds, 1),
            "seals": sum(step for step in steps if step > 0),
            "merges": sum(step < 0 for step in steps),
            "most_pending": max(one["pending"] for one in seen),
        }
    )


def send(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, kind: str = "application/json"
) -> int:
    """Send one request and return the status of its answer."""
    connection.request(method, path, body, {"Content-Type": kind})
    response = connection.getresponse()
    response.read()
    return response.status


def info(port: int) -> dict[str, int]:
    """Return the collection's counts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", COLLECTION)
    shown: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return {name: shown[name] for name in ("documents", "segments", "pending", "deleted")}


if __name__ == "__main__":
    main()
