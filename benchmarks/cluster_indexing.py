"""How much faster several workers build shards: documents per second of whole builds, by the number of workers.

    python benchmarks/cluster_indexing.py CORPUS [--documents 2000] [--encoder bm25] [--workers 1 2] [--shards 4]

The first `--documents` lines of a JSONL corpus (also .zst) are built on a local Ray cluster, once to warm up and
then once for each number of workers; starting the cluster is not counted. Each worker has one encoder thread. Prints
JSON lines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path

from lsr.corpora import Fields, open_corpus
from lsr.default_pipeline import vectors_for
from lsr.sharding.building import Build, new_plan
from lsr.sharding.places import place_of
from lsr.sharding.spool import to_json
from service.cluster.connection import connected
from service.cluster.indexing import build_shards


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--encoder", default="bm25")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shards", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, connected("local", cpus=max(given.workers)) as ray:
        small = Path(folder) / "corpus.jsonl"
        with small.open("w") as file:
            for line in islice(open_corpus(given.corpus), given.documents):
                value = to_json(line.content)  # the sample has no invalid line
                file.write(json.dumps({key: value[key] for key in ("id", "title", "text")}) + "\n")
        for number, workers in enumerate([given.workers[-1], *given.workers]):
            root = Path(folder) / f"out-{number}"
            plan = new_plan(
                [str(small)], format="auto", chunk=None, fields=Fields(), shards=given.shards, workers=workers,
                generation=1, vectors=vectors_for(given.encoder), schema=None, search=None, device="auto",
            )  # fmt: skip
            began = time.perf_counter()
            report = build_shards(ray, Build.begin(root, plan, resume=False), place_of(str(root)), workers)
            seconds = time.perf_counter() - began
            if number:
                figures = {"workers": workers, "documents": report.accepted, "seconds": round(seconds, 2)}
                print(json.dumps({**figures, "per_second": round(report.accepted / seconds, 1)}), flush=True)


if __name__ == "__main__":
    main()
