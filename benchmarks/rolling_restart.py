"""A rolling restart: how long nothing can be written, and how long nothing can be searched.

usage: rolling_restart.py [--collections 1 10] [--documents 20000] [--repeat 3] [--signal TERM|KILL]

For each number of collections: makes BM25 collections, starts `lsr serve` on their folder, then a second one. A client
searches and writes all the time; each search goes to the second service as soon as that is ready, each write to
whichever accepts it. Then the first gets the signal. Each run is a JSON line: seconds from the second's start until it
is ready, from the signal until the first has ended, from that until the second has accepted a write to every
collection, the searches that failed, acknowledged documents and those of them that are missing afterwards, resident
memory of the second (PSS in MiB) before and after. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from lsr.collection import Collection
from lsr.documents import Document
from lsr.vectors import VectorConfig

WORDS = [f"word{number}" for number in range(2_000)]


def ask(url: str, path: str, body: object | None = None) -> tuple[int, Any]:
    """Send JSON, or a GET; return the status and the decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None


def make(folder: Path, collections: int, documents: int) -> list[str]:
    """Make collections of synthetic texts; return their names."""
    names = [f"c{number}" for number in range(collections)]
    for name in names:
        with Collection.create(folder / name, vectors={"default": VectorConfig("bm25")}) as made:
            texts = (
                " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 20)) for number in range(documents)
            )
            batch = [Document(f"d{number}", text=text) for number, text in enumerate(texts)]
            for start in range(0, len(batch), 5_000):
                made.write(batch[start : start + 5_000])
            made.seal()
    return names


class Served:
    """A `lsr serve` process."""

    def __init__(self, folder: Path) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lsr", "serve", str(folder), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self.process.stdout is None:
            raise RuntimeError("no stdout")
        self.url = self.process.stdout.readline().strip()
        self.ready_seconds = time.monotonic() - self.started

    def mebibytes(self) -> float:
        """Return its proportional resident memory."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def restart(folder: Path, names: list[str], how: signal.Signals) -> dict[str, Any]:
    """Replace one service by another under load; return what was measured."""
    first = Served(folder)
    acknowledged: set[tuple[str, str]] = set()
    failed, searches = 0, 0
    urls = [first.url]
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            name, identifier = names[number % len(names)], f"new{number}"
            body = {"documents": [{"id": identifier, "text": "word1 heron"}]}
            if any(ask(url, f"/v1/collections/{name}/documents", body)[0] == 200 for url in urls):
                acknowledged.add((name, identifier))
            number += 1
            time.sleep(0.005)

    def search() -> None:
        nonlocal failed, searches
        while not stop.is_set():
            status, _ = ask(
                urls[-1], f"/v1/collections/{names[searches % len(names)]}/search", {"query": {"text": "word1 word5"}}
            )
            failed += status != 200
            searches += 1
            time.sleep(0.005)

    threads = [threading.Thread(target=write), threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    second = Served(folder)
    urls.append(second.url)
    time.sleep(2)
    before = second.mebibytes()
    signalled = time.monotonic()
    first.process.send_signal(how)
    first.process.wait()
    ended = time.monotonic()
    waiting = set(names)
    while waiting:
        for name in sorted(waiting):
            if (
                ask(second.url, f"/v1/collections/{name}/documents", {"documents": [{"id": "after", "text": "heron"}]})[
                    0
                ]
                == 200
            ):
                waiting.discard(name)
    writable = time.monotonic()
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    missing = sum(
        ask(second.url, f"/v1/collections/{name}/documents/{identifier}")[0] != 200 for name, identifier in acknowledged
    )
    after = second.mebibytes()
    second.process.send_signal(signal.SIGTERM)
    second.process.wait()
    return {
        "signal": how.name,
        "collections": len(names),
        "ready_seconds": round(second.ready_seconds, 2),
        "first_ended_seconds": round(ended - signalled, 3),
        "writable_seconds_after_its_end": round(writable - ended, 3),
        "searches": searches,
        "failed_searches": failed,
        "acknowledged": len(acknowledged),
        "missing": missing,
        "pss_mib_before": round(before),
        "pss_mib_after": round(after),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--signal", choices=["TERM", "KILL"], default="TERM")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    for count in arguments.collections:
        with tempfile.TemporaryDirectory() as temporary:
            names = make(Path(temporary), count, arguments.documents)
            for _ in range(arguments.repeat):
                measured = restart(Path(temporary), names, signal.Signals[f"SIG{arguments.signal}"])
                print(json.dumps({**measured, "documents": arguments.documents}), flush=True)


if __name__ == "__main__":
    main()
