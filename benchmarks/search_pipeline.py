"""The search pipeline over HTTP compared with its single vectors: latency, its parts, throughput, refusals.

    python benchmarks/search_pipeline.py COLLECTION [--queries queries.jsonl] [--clients 1 8] [--seconds 10]

COLLECTION has the default pipeline; benchmarks/grow_collection.py makes larger ones. The server runs in a separate
process on the same cores. Every request has another query (a number is added, so that no encoded query is kept) and
"cache": false. Each way of WAYS is measured alternately in
`--rounds` rounds; a JSON line each for every way and number of clients:

* `p50_ms`, `p99_ms`: latency of the answered requests; `per_second`; `answers` by status (429: refused);
* `parts`: [p50, p99] in milliseconds of encode, search, rescore and fetch, from the answers' `timings`.
"""

from __future__ import annotations

import argparse
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from http_load import Answers, LoadClient, http_request
from service_latency import SCIFACT, add_settings, get, server

WAYS: dict[str, dict[str, Any]] = {
    "default pipeline": {},
    "not rescored": {"rescore": False},
    "lsr-mini": {"using": "default"},
    "bm25": {"using": "bm25"},
}
PARTS = ("encode", "search", "rescore", "fetch")


class Split:
    """The parts of each answer's time."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, list[float]] = {part: [] for part in PARTS}

    def add(self, body: bytes) -> None:
        """Note the timings of one answer."""
        timings = json.loads(body).get("timings", {})
        for part in PARTS:
            if part in timings:
                self.milliseconds[part].append(timings[part])

    def figures(self) -> dict[str, list[float]]:
        """Return [p50, p99] of each part."""
        return {
            part: np.percentile(times, (50, 99)).round(2).tolist() for part, times in self.milliseconds.items() if times
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=Path, default=SCIFACT)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=5, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    add_settings(parser)
    arguments = parser.parse_args()
    texts = [json.loads(line)["text"] for line in arguments.queries.read_text(encoding="utf-8").splitlines()]
    with server(arguments.collection, arguments.quick_search_ms) as (url, _):
        found = json.loads(get(url, "/v1/collections"))["collections"][0]
        path = f"/v1/collections/{found['name']}/search"
        number = itertools.count()
        client = LoadClient(url.hostname or "", url.port or 0)
        for clients in arguments.clients:
            measured = {way: (Answers(), Split()) for way in WAYS}
            for turn in range(arguments.rounds + 1):  # the first one warms up
                for way, fields in WAYS.items():
                    answers, split = measured[way] if turn else (Answers(), Split())
                    bodies = (
                        json.dumps({"query": {"text": f"{text} {next(number)}"}, "cache": False, **fields}).encode()
                        for text in itertools.cycle(texts)
                    )
                    client.on_answer = split.add
                    requests = map(partial(http_request, "POST", path), bodies)
                    answers.extend(
                        client.closed_loop(partial(next, requests), clients, arguments.seconds if turn else 1)
                    )
            for way, (answers, split) in measured.items():
                line = {"documents": found["documents"], "way": way, "clients": clients}
                print(json.dumps(line | answers.figures(answers.seconds) | {"parts": split.figures()}), flush=True)


if __name__ == "__main__":
    main()
