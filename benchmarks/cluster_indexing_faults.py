"""Shards built while drivers and workers are killed at random moments, compared with an undisturbed build.

    python benchmarks/cluster_indexing_faults.py [--kills 10] [--documents 20000] [--shards 4] [--seed 1]

`lsr index … --ray local` runs as a process; at a random moment of its life it is killed, alternately as a whole (driver
and cluster, SIGKILL) and one worker of it, and goes on with `--resume`. Prints one JSON line: the kills by what was
going on (starting, reading, indexing), and whether digest, documents and shards are those of the undisturbed build.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lsr.sharding.digest import digest_of
from lsr.sharding.places import place_of
from lsr.sharding.publishing import find_published, published

LSR = "from lsr.cli import main; main()"
WORDS = [f"word{number}" for number in range(500)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus(root / "corpus.jsonl", given.documents)
        began = time.monotonic()
        process = start(root, root / "undisturbed", given.shards)
        process.wait()
        undisturbed = time.monotonic() - began
        moments: Counter[str] = Counter()
        starts = 0
        while True:
            out = root / "disturbed"
            process = start(root, out, given.shards)
            starts += 1
            if moments.total() >= given.kills:
                process.wait()
                break
            end = time.monotonic() + rng.uniform(0.3, 1.0) * undisturbed
            while time.monotonic() < end and process.poll() is None:
                time.sleep(0.05)
            if process.poll() is not None:  # it was faster
                if find_published(place_of(str(out))) is not None:
                    break
                continue
            moments[phase(out) + (" worker" if moments.total() % 2 else " driver")] += 1
            kill(process, whole=moments.total() % 2 == 1)
        print(json.dumps({"kills": dict(moments), "starts": starts, **compared(root)}), flush=True)


def start(root: Path, out: Path, shards: int) -> subprocess.Popen[bytes]:
    """Start a build, or go on with one, in a process group of its own."""
    command = [sys.executable, "-c", LSR, "index", str(root / "corpus.jsonl"), "--out", str(out), "--encoder", "bm25"]
    command += ["--shards", str(shards), "--workers", "2", "--ray", "local", "--resume", "--json"]
    environment = {**os.environ, "LSR_RAY_TEMP": str(root / "ray")}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
                            start_new_session=True)  # fmt: skip


def phase(out: Path) -> str:
    """What a build is doing, from its files."""
    if list(out.glob("generations/*/shard-*")):
        return "indexing"
    return "reading" if list(out.glob("building/*/part-*")) else "starting"


def kill(process: subprocess.Popen[bytes], *, whole: bool) -> None:
    """Kill the driver and its cluster, or one worker and, some seconds later, the rest."""
    if not whole:
        workers = [one for one in descendants(process.pid) if title(one).startswith("ray::Worker")]
        for worker in workers[:1]:
            os.kill(worker, signal.SIGKILL)
        time.sleep(2)
    for one in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def descendants(process: int) -> list[int]:
    """The processes that a process and its children have started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, wanted = [], {process}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted} - set(found)
        found += sorted(wanted)
    return found


def title(process: int) -> str:
    """A process's title."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def corpus(path: Path, count: int) -> None:
    """Write a corpus of random words."""
    rng = np.random.default_rng(3)
    with path.open("w") as file:
        for number in range(count):
            text = " ".join(rng.choice(WORDS, rng.integers(20, 120)))
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")


def compared(root: Path) -> dict[str, Any]:
    """Return whether both builds have the same shards."""
    one, other = (published(place_of(str(root / name))) for name in ("undisturbed", "disturbed"))
    return {
        "documents": other.documents,
        "equal": [entry.digest for entry in one.shards] == [entry.digest for entry in other.shards]
        and all(digest_of(root / "disturbed" / entry.folder) == entry.digest for entry in other.shards)
        and (root / "undisturbed" / one.statistics.folder / "default.npy").read_bytes()
        == (root / "disturbed" / other.statistics.folder / "default.npy").read_bytes(),
    }


if __name__ == "__main__":
    main()
