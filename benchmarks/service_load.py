"""The service under load: what it carries, what it does with four times that, and searches while documents are written.

    python benchmarks/service_load.py COLLECTION [--queries queries.jsonl] [--seconds 5]

Works on a copy of the collection, with the server as a process of its own. Prints JSON lines:

* `peak`: searches a second of 16 clients that each wait for their answer;
* `overload`: an open loop of four times that; how many were answered, at which latency, how long /healthz took;
* `quiet` and `writing`: an open loop of a fixed rate of searches, alone and while another client upserts batches of
  documents as fast as they are taken.

Client and server share the machine's cores, so what they carry together is less than the server would alone.
Latencies of an open loop count from when a request was due, not from when it could be sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from service_latency import SCIFACT, server

Answer = tuple[str, float]  # status, milliseconds


class Client:
    """Keeps connections open and reuses them."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> int:
        """Send one request, read its answer and return the status."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        ]
        writer.write("\r\n".join([*lines, "\r\n"]).encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self._idle.append((reader, writer))
        return int(answer[9:12])


async def timed(request: Coroutine[Any, Any, int], due: float) -> Answer:
    """Return the status, or the error's name, and the milliseconds since `due`."""
    try:
        status = str(await request)
    except (OSError, asyncio.IncompleteReadError) as error:
        status = type(error).__name__
    return status, (perf_counter() - due) * 1000


async def closed_loop(search: Callable[[], Coroutine[Any, Any, int]], clients: int, seconds: float) -> list[Answer]:
    """Have `clients` search one after the other for `seconds`."""
    end = perf_counter() + seconds
    answers: list[Answer] = []

    async def one() -> None:
        while (now := perf_counter()) < end:
            answers.append(await timed(search(), now))

    await asyncio.gather(*(one() for _ in range(clients)))
    return answers


async def open_loop(search: Callable[[], Coroutine[Any, Any, int]], rate: float, seconds: float) -> list[Answer]:
    """Send `rate` searches a second whether or not the former ones are answered."""
    due = perf_counter()
    end = due + seconds
    tasks = []
    while due < end:
        while due <= perf_counter():
            tasks.append(asyncio.ensure_future(timed(search(), due)))
            due += 1 / rate
        await asyncio.sleep(0.001)
    return list(await asyncio.gather(*tasks))


def report(what: str, answers: list[Answer], seconds: float, **more: float) -> float:
    """Print one JSON line and return the successful answers a second."""
    times = [milliseconds for status, milliseconds in answers if status == "200"] or [float("nan")]
    p50, p99 = np.percentile(times, (50, 99))
    carried = sum(status == "200" for status, _ in answers) / seconds
    line = {"what": what, "answers": dict(Counter(status for status, _ in answers)), "per_second": round(carried, 1)}
    line |= {"p50_ms": round(p50, 2), "p99_ms": round(p99, 2)}
    print(json.dumps(line | {name: round(value, 2) for name, value in more.items()}), flush=True)
    return carried


async def measure(url: Any, queries: list[str], seconds: float) -> None:
    """Run all phases."""
    client = Client(url.hostname, url.port)
    path = "/v1/collections/copy/search"

    async def search() -> int:
        return await client.send("POST", path, json.dumps({"query": {"text": random.choice(queries)}}).encode())

    await closed_loop(search, 4, 2)
    peak = report("peak", await closed_loop(search, 16, seconds), seconds)

    health: list[Answer] = []

    async def watch() -> None:
        other = Client(url.hostname, url.port)
        while True:
            health.append(await timed(other.send("GET", "/healthz"), perf_counter()))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    answers = await open_loop(search, peak * 4, seconds)
    watching.cancel()
    slowest = max(milliseconds for _, milliseconds in health)
    report("overload", answers, seconds, offered=peak * 4, slowest_healthz_ms=slowest)
    await asyncio.sleep(1)

    rate = peak / 8
    report("quiet", await open_loop(search, rate, seconds), seconds, offered=rate)
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            texts = random.sample(queries, min(100, len(queries)))
            lines = [json.dumps({"id": f"new-{written + at}", "text": text}) for at, text in enumerate(texts)]
            status = await client.send(
                "POST", "/v1/collections/copy/documents", "\n".join(lines).encode(), "application/x-ndjson"
            )
            written += len(texts) if status == 200 else 0

    writing = asyncio.create_task(write())
    answers = await open_loop(search, rate, seconds)
    writing.cancel()
    report("writing", answers, seconds, offered=rate, written_per_second=written / seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=Path, default=SCIFACT)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    queries = [json.loads(line)["text"] for line in arguments.queries.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(arguments.collection, Path(folder) / "copy")
        with server(Path(folder)) as url:
            asyncio.run(measure(url, queries, arguments.seconds))


if __name__ == "__main__":
    main()
