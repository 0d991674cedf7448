"""What a service holds in memory, by the number of its lsr-mini collections.

usage: service_memory.py [--collections 1 2 5 10] [--documents 100] [--tree PATH]

Makes small collections with the default pipeline (sparse lsr-mini, BM25, dense lsr-mini), serves their folder with
`lsr serve`, searches each collection, writes 100 documents to each, and waits until the service is idle. Each step is a
JSON line with VmRSS, RssAnon, RssFile and VmHWM in MiB (from /proc; RssFile is libraries and mapped index files,
which other processes may share), the seconds until the service was ready, and the number of threads. `--tree` serves
with the code of another checkout, for a comparison. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from lsr.collection import Collection
from lsr.default_pipeline import vectors_for
from lsr.documents import Document

SUBJECTS = ["lobster rolls", "the mountains of the moon", "surveys with sensitive questions", "intrusion detection"]


def make(folder: Path, count: int, documents: int) -> list[str]:
    """Make collections with different short texts; return their names."""
    names = [f"c{number}" for number in range(count)]
    for name in names:
        with Collection.create(folder / name, vectors=vectors_for("lsr-mini")) as made:
            made.write([_document(name, number) for number in range(documents)])
            made.seal()
    return names


def _document(name: str, number: int) -> Document:
    return Document(f"d{number}", text=f"Report {number} of {name} is about {SUBJECTS[number % len(SUBJECTS)]}.")


def ask(url: str, path: str, body: object) -> None:
    """Send JSON; raises HTTPError for an answer that is an error."""
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        response.read()


def memory(pid: int) -> dict[str, int]:
    """Return the process's memory in MiB, and its threads."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    sizes = {name: int(lines[name].split()[0]) // 1024 for name in ("VmRSS", "RssAnon", "RssFile", "VmHWM")}
    return {**sizes, "threads": int(lines["Threads"])}


def measure(folder: Path, names: list[str], tree: Path) -> None:
    """Serve the folder and print the memory after each step."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONSAFEPATH": "1",
        "NUMBA_CACHE_DIR": str(tree / ".numba_cache"),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "lsr", "serve", str(folder), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=tree,
    )  # fmt: skip
    try:
        if process.stdout is None:
            raise RuntimeError("no stdout")
        url = process.stdout.readline().strip()
        ready = round(time.monotonic() - started, 1)

        def note(step: str) -> None:
            line = {"collections": len(names), "step": step, "ready_seconds": ready, **memory(process.pid)}
            print(json.dumps(line), flush=True)

        note("ready")
        for name in names:
            for number in range(20):
                query = {"text": f"{SUBJECTS[number % 4]} {number}"}
                ask(
                    url,
                    f"/v1/collections/{name}/search",
                    {"query": query, "highlight": True, "explain": {}, "timeout_ms": 60_000},
                )
        note("searched")
        for name in names:
            documents = [{"id": f"w{number}", "text": _document(name, number).text * 20} for number in range(100)]
            ask(url, f"/v1/collections/{name}/documents", {"documents": documents})
        note("written")
        time.sleep(15)
        note("idle")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1])
    arguments = parser.parse_args()
    for count in arguments.collections:
        with tempfile.TemporaryDirectory() as temporary:
            names = make(Path(temporary), count, arguments.documents)
            measure(Path(temporary), names, arguments.tree.resolve())


if __name__ == "__main__":
    main()
