"""How much faster several workers build shards: documents per second by the number of workers.

    python benchmarks/cluster_indexing.py CORPUS [--documents 2000] [--encoder lsr-mini] [--workers 1 2 …] [--shards 4]

The first `--documents` lines of a JSONL corpus (also .zst) are built on a local Ray cluster, once for each number of
workers in `--workers`, in that order, after a small build that is not counted. Each worker has one encoder thread.
Starting the cluster is not counted. Prints one JSON line for each build, and one with the ratio of the first two
numbers of workers:

    seconds         of the whole build, from the start of the workers' processes to the published generation
    steps_seconds   without the start of these processes
    reading, encoding   seconds of the two kinds of steps; a worker loads the encoder when it encodes first
    processor_seconds   of each worker's process while shards were encoded
    per_second      documents by steps_seconds
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from lsr.corpora import Fields, open_corpus
from lsr.default_pipeline import vectors_for
from lsr.sharding.building import Build, make_common, new_plan
from lsr.sharding.places import place_of
from lsr.sharding.publishing import publish
from lsr.sharding.splitting import describe_generation
from lsr.sharding.spool import to_json
from service.cluster.connection import connected
from service.cluster.indexing import Crew

_WARM_UP = 100  # documents


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--encoder", default="lsr-mini")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 1, 2])
    parser.add_argument("--shards", type=int, default=4)
    given = parser.parse_args()
    rates: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, connected("local", cpus=max(given.workers)) as ray:
        small = Path(folder) / "corpus.jsonl"
        with small.open("w") as file:
            for line in islice(open_corpus(given.corpus), given.documents):
                value = to_json(line.content)  # the sample has no invalid line
                file.write(json.dumps({key: value[key] for key in ("id", "title", "text")}) + "\n")
        few = Path(folder) / "few.jsonl"
        few.write_text("".join(small.read_text().splitlines(keepends=True)[:_WARM_UP]))
        build(ray, few, Path(folder) / "warm", 1, given.encoder, 1)  # compiles kernels and reads files from the disk
        for number, workers in enumerate(given.workers):
            figures = build(ray, small, Path(folder) / f"out-{number}", workers, given.encoder, given.shards)
            print(json.dumps(figures), flush=True)
            rates.setdefault(workers, []).append(figures["per_second"])
    if len(rates) > 1:
        one, other = (sum(found) / len(found) for found in list(rates.values())[:2])
        print(json.dumps({"ratio": round(other / one, 2), "of_workers": list(rates)[:2]}), flush=True)


def build(ray: Any, corpus: Path, root: Path, workers: int, encoder: str, shards: int) -> dict[str, Any]:
    """Build shards as service/cluster/indexing.py does, and return the figures."""
    plan = new_plan(
        [str(corpus)], format="auto", chunk=None, fields=Fields(), shards=shards, workers=workers,
        generation=1, vectors=vectors_for(encoder), schema=None, search=None, device="auto",
    )  # fmt: skip
    began = time.perf_counter()
    own = Build.begin(root, plan, resume=False)
    crew = Crew(ray, own, workers, None)
    try:
        crew.wait_until_ready()
        ready = time.perf_counter()
        crew.run("part", "reading", [(part,) for part in own.part_numbers], None)
        read = time.perf_counter()
        make_common(own)
        spent = processor_seconds()
        encoding = time.perf_counter()
        built = crew.run("shard", "indexing", [(number, None) for number in range(shards)], None)
        encoded = time.perf_counter()
        after = processor_seconds()
    finally:
        crew.close()
    publication = describe_generation(
        root, 1, shards, digests=[one.digest for one in built], entries=[one.entry for one in built]
    )
    publish(place_of(str(root)), publication, root)
    ended = time.perf_counter()
    documents = publication.documents
    return {
        "workers": workers,
        "documents": documents,
        "seconds": round(ended - began, 2),
        "steps_seconds": round(ended - ready, 2),
        "reading": round(read - ready, 2),
        "encoding": round(encoded - encoding, 2),
        "processor_seconds": [round(after[one] - spent[one], 2) for one in after if one in spent],
        "per_second": round(documents / (ended - ready), 1),
    }


def processor_seconds() -> dict[int, float]:
    """The processor time of all workers' processes by their number, in seconds."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::Worker"):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue  # it has ended meanwhile
    return found


if __name__ == "__main__":
    main()
