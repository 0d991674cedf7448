"""A replayed workload for the semantic cache: what reusing the answer of a similar query saves.

    python benchmarks/semantic_cache.py COLLECTION [--requests 3000] [--similarities 0.9 0.95 0.98]

COLLECTION has the default pipeline and a keyword field `category`, like the demo's. A request takes a document's title,
in one of eight wordings, and filters by the document's category. Two kinds of category are mixed: in every second one
20 titles are asked again and again (Zipf), in the others every request has another title. The same requests are sent
without any cache, with the cache of equal requests, and with the semantic cache at each similarity. A JSON line for
both kinds of category: hit rates, milliseconds, and of the answers taken from a similar query, the share of the ten
hits that the query's own answer has (`overlap`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from lsr.collection import Collection
from lsr.results import SearchResult

WORDINGS = (
    "{}",
    "{}?",
    "paper about {}",
    "{} overview",
    "what is known about {}",
    "recent work on {}",
    "{} pdf",
    "the {}",
)
POPULAR = 20  # titles of a category


class Request(NamedTuple):
    """One request of the workload."""

    kind: str
    text: str
    category: str


def workload(collection: Collection, count: int) -> list[Request]:
    """Return the requests in the order in which they are sent."""
    titles: dict[str, list[str]] = defaultdict(list)
    for document, *_ in collection.scan():
        titles[str(document.metadata["category"])].append(document.title.lower())
    names = sorted(name for name, found in titles.items() if len(found) >= 2 * POPULAR)
    generator = np.random.default_rng(5)
    popularity = 1 / np.arange(1, POPULAR + 1)
    requests = []
    for _ in range(count):
        number = int(generator.integers(len(names)))
        found = titles[names[number]]
        if number % 2 == 0:
            kind, at = "repeated", int(generator.choice(POPULAR, p=popularity / popularity.sum()))
        else:
            kind, at = "all different", int(generator.integers(len(found)))
        wording = WORDINGS[int(generator.integers(len(WORDINGS)))]
        requests.append(Request(kind, wording.format(found[at]), names[number]))
    return requests


def replay(
    collection: Collection, requests: Sequence[Request], *, cache: bool
) -> list[tuple[Request, float, SearchResult]]:
    """Send every request; return its milliseconds and its answer."""
    done = []
    for request in requests:
        started = perf_counter()
        result = collection.search(request.text, filter={"category": request.category}, cache=cache)
        done.append((request, 1e3 * (perf_counter() - started), result))
    return done


def report(
    way: str, done: Sequence[tuple[Request, float, SearchResult]], own: Sequence[tuple[Request, float, SearchResult]]
) -> None:
    """Print the figures of both kinds of category."""
    for kind in ("repeated", "all different"):
        times, similar, overlaps = [], 0, []
        for (request, milliseconds, result), (*_, true) in zip(done, own, strict=True):
            if request.kind != kind:
                continue
            times.append(milliseconds)
            if result.cached is not None:
                similar += 1
                wanted = {hit.id for hit in true.hits}
                overlaps.append(len(wanted & {hit.id for hit in result.hits}) / max(len(wanted), 1))
        line: dict[str, object] = {
            "way": way,
            "categories": kind,
            "requests": len(times),
            "from_similar_query": similar / len(times),
        }
        line |= {"overlap": float(np.mean(overlaps)) if overlaps else None, "mean_ms": float(np.mean(times))}
        line |= {"p50_ms": float(np.percentile(times, 50)), "p99_ms": float(np.percentile(times, 99))}
        print(json.dumps({key: round(one, 3) if isinstance(one, float) else one for key, one in line.items()}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--similarities", type=float, nargs="+", default=[0.9, 0.95, 0.98])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lsr-cache-") as temporary:
        folder = Path(temporary) / "copy"
        shutil.copytree(arguments.collection, folder)
        with Collection.open(folder, "w") as collection:
            collection.warm()
            requests = workload(collection, arguments.requests)
            defaults = collection.search_defaults.to_json()
        own: list[tuple[Request, float, SearchResult]] = []
        for way in ("no cache", "equal requests", *arguments.similarities):
            with Collection.open(folder, "w") as collection:  # a new one: its caches are empty
                policy = {"cache": {"field": "category", "similarity": way}} if isinstance(way, float) else {}
                collection.set_search_defaults(defaults | policy)
                collection.warm()
                done = replay(collection, requests, cache=way != "no cache")
            own = own or done
            report(str(way), done, own)


if __name__ == "__main__":
    main()
