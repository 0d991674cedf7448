"""Shards built while workers, nodes and drivers are killed at random moments, compared with an undisturbed build.

    PYTHONPATH=. python benchmarks/cluster_indexing_faults.py [--kills 10] [--documents 20000] [--shards 4] [--seed 1]

Two Ray nodes run as processes on this machine, besides a head without CPUs. `lsr index … --ray ADDRESS` runs on them as
a process of its own. At random moments one of its workers, the node that has been there longest, and the driver are
killed without warning, in turn. A driver that is killed is started again with `--resume`; after the other kills it must
go on by itself. Where a build ends before all kills were done, another one begins. Prints one JSON line:

    kills        by what was killed and what was going on (starting, reading, indexing)
    builds       that were disturbed and ended
    equal        whether each of them has the shards of the undisturbed build: digests and document frequencies
    failed       builds that ended with an error although their driver was not killed: the last lines of their log
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster_faults import Nodes, descendants, nodes
from lsr.sharding.digest import digest_of
from lsr.sharding.manifest import Publication
from lsr.sharding.places import place_of
from lsr.sharding.publishing import find_published, published

LSR = "from lsr.cli import main; main()"
WORDS = [f"word{number}" for number in range(500)]
_MOST_BUILDS = 10


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.getLogger("lsr").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus(root / "corpus.jsonl", given.documents)
        with nodes(2, cpus=1) as cluster:
            faults = Faults(root, given.shards, cluster, random.Random(given.seed))
            began = time.monotonic()
            if faults.start("undisturbed").wait():
                raise SystemExit(faults.last_lines("undisturbed"))
            seconds = time.monotonic() - began
            faults.run(given.kills, seconds)
        print(json.dumps({"undisturbed_seconds": round(seconds, 1), **faults.figures()}), flush=True)


class Faults:
    """Builds that are disturbed, and what became of them."""

    def __init__(self, root: Path, shards: int, cluster: Nodes, rng: random.Random) -> None:
        self._root = root
        self._shards = shards
        self._cluster = cluster
        self._rng = rng
        self._kills: Counter[str] = Counter()
        self._ended: list[str] = []
        self._failed: list[str] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a build, or go on with one, in a process group of its own."""
        command = [
            sys.executable,
            "-c",
            LSR,
            "index",
            str(self._root / "corpus.jsonl"),
            "--out",
            str(self._root / name),
        ]
        command += ["--encoder", "bm25", "--shards", str(self._shards), "--workers", "2", "--json", "--resume"]
        command += ["--ray", self._cluster.address]
        with (self._root / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "LSR_DEBUG": "1"},
                start_new_session=True,
            )

    def run(self, kills: int, seconds: float) -> None:
        """Build, and kill `kills` times; an undisturbed build takes about `seconds`."""
        kinds = cycle(("worker", "node", "driver"))
        for number in range(_MOST_BUILDS):
            name = f"disturbed-{number}"
            process = self.start(name)
            while process.poll() is None:
                if self._kills.total() >= kills:
                    process.wait()
                    break
                if not self._passes(self._rng.uniform(0.1, 0.7) * seconds, process):
                    break
                kind = next(kinds)
                if kind == "worker" and not self._has_worker(process):
                    break
                self._kills[f"{kind}, {phase(self._root / name)}"] += 1
                process = self._kill(kind, name, process)
            if process.returncode:
                self._failed.append(self.last_lines(name))
            self._ended.append(name)
            if self._kills.total() >= kills:
                return

    def figures(self) -> dict[str, Any]:
        """Return the counts; each build is compared now."""
        whole = published(place_of(str(self._root / "undisturbed")))
        return {
            "kills": dict(self._kills),
            "builds": len(self._ended),
            "documents": whole.documents,
            "equal": all(self._equals(whole, self._root / name) for name in self._ended),
            "failed": self._failed,
        }

    def last_lines(self, name: str) -> str:
        """The last lines that a build's processes have logged."""
        lines = (self._root / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(line[:300] for line in lines[-4:])

    def _passes(self, seconds: float, process: subprocess.Popen[bytes]) -> bool:
        """Wait; False where the build has ended before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def _has_worker(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a worker; False where the build has ended before."""
        while not workers():
            if process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def _kill(self, kind: str, name: str, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        if kind == "node":
            self._cluster.kill()
            self._cluster.add()
        elif kind == "worker":
            for worker in workers()[:1]:
                os.kill(worker, signal.SIGKILL)
        else:
            process.kill()
            process.wait()
            return self.start(name)
        return process

    def _equals(self, whole: Publication, folder: Path) -> bool:
        other = find_published(place_of(str(folder)))
        if other is None:
            return False
        digests = [entry.digest for entry in whole.shards]
        counts = [
            (root / publication.statistics.folder / "default.npy").read_bytes()
            for root, publication in ((self._root / "undisturbed", whole), (folder, other))
        ]
        return (
            digests == [entry.digest for entry in other.shards]
            and digests == [digest_of(folder / entry.folder) for entry in other.shards]
            and counts[0] == counts[1]
        )


def workers() -> list[int]:
    """The processes of the builds' workers."""
    return [one for one in descendants(os.getpid()) if title(one).startswith("ray::Worker")]


def phase(out: Path) -> str:
    """What a build is doing, from its files."""
    if list(out.glob("generations/*/shard-*")):
        return "indexing"
    return "reading" if list(out.glob("building/*/part-*")) else "starting"


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


if __name__ == "__main__":
    main()
