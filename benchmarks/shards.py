"""What shards cost, and that they change no answer: a collection, its shards, and its shards behind Ray Serve.

    python benchmarks/shards.py COLLECTION --shards 4 [--queries 1000] [--ray] [--work DIR]

Queries are titles of the collection, in several forms (one list, the default pipeline, a filter, feedback, facets).
A folder --work that has the shards already is used again. Prints JSON lines: `equal` says for how many queries ids and
scores (to the last bit), totals and facets are those of the collection; `latency` milliseconds at p50 and p99 for each
way, one client. With --equal each text is asked in one of the forms, in turn, and only `equal` is printed, after every
100 queries.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lsr.collection import Collection
from lsr.reading import Reader
from lsr.search.request import Facets, Feedback
from lsr.sharding.local import open_shards
from lsr.sharding.places import place_of
from lsr.sharding.publishing import find_published, next_generation, publish
from lsr.sharding.splitting import split_collection


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        publication = find_published(place_of(str(work)))
        if publication is None or len(publication.shards) != given.shards:
            began = time.perf_counter()
            generation = next_generation(place_of(str(work)))
            publication = split_collection(given.collection, work, given.shards, generation=generation)
            publish(place_of(str(work)), publication, work)
            show("split", shards=given.shards, documents=publication.documents, seconds=time.perf_counter() - began)
        whole = stack.enter_context(Collection.open(given.collection))
        forms = forms_of(whole)
        texts = whole.sample_texts(given.queries)
        ways: dict[str, Reader] = {"one machine": whole}
        ways["shards in this process"] = stack.enter_context(open_shards(work, publication, "c"))
        if given.ray:
            ways["shards on Ray"] = stack.enter_context(on_ray(work))
        if given.equal:
            for way, collection in list(ways.items())[1:]:
                compare_in_turn(way, collection, whole, forms, texts)
            return
        for way, collection in ways.items():
            for text in texts[:20]:
                for options in forms.values():
                    collection.search(text, cache=False, **options)
            compare(way, collection, whole, forms, texts)


def forms_of(collection: Collection) -> dict[str, dict[str, Any]]:
    """The forms in which every text is asked; fields are those of the collection."""
    first = next(iter(collection.info().vectors))
    forms: dict[str, dict[str, Any]] = {
        "one list": {"using": first},
        "default": {},
        "feedback": {"using": first, "prf": Feedback()},
        "total": {"using": first, "total": True},
    }
    for name, kind in collection.schema.fields.items():
        if kind in ("keyword", "int", "keyword[]"):
            forms["facets"] = {"using": first, "facets": Facets((name,), over="matches")}
            forms["filter"] = {"using": first, "filter": {name: {"exists": True}}}
            break
    return forms


@contextlib.contextmanager
def on_ray(work: Path) -> Iterator[Collection]:
    """The collection behind replicas on a local cluster."""
    from service.cluster.connection import connected
    from service.cluster.deployment import ServingOptions
    from service.cluster.serving import deployed

    with connected("local", cpus=16), deployed(str(work), ServingOptions(cpus=0.1)) as store:
        yield store.get(store.names()[0])


def compare(
    way: str, collection: Reader, whole: Collection, forms: dict[str, dict[str, Any]], texts: list[str]
) -> None:
    """Ask all queries in all forms, and print how many answers are equal and what they took."""
    for form, options in forms.items():
        took, equal = [], 0
        for text in texts:
            began = time.perf_counter()
            found = collection.search(text, exact=True, cache=False, **options)
            took.append((time.perf_counter() - began) * 1e3)
            expected = found if collection is whole else whole.search(text, exact=True, cache=False, **options)
            equal += answer_of(found) == answer_of(expected)
        p50, p99 = np.percentile(took, [50, 99])
        show("latency", way=way, form=form, p50_ms=p50, p99_ms=p99)
        if collection is not whole:
            show("equal", way=way, form=form, queries=len(texts), equal=equal)


def compare_in_turn(
    way: str, collection: Reader, whole: Collection, forms: dict[str, dict[str, Any]], texts: list[str]
) -> None:
    """Ask each text in one of the forms, and print how many answers are equal, by form."""
    asked, equal = Counter[str](), Counter[str]()
    names = list(forms)
    for number, text in enumerate(texts):
        form = names[number % len(names)]
        found, expected = (one.search(text, exact=True, cache=False, **forms[form]) for one in (collection, whole))
        asked[form] += 1
        equal[form] += answer_of(found) == answer_of(expected)
        if (number + 1) % 100 == 0 or number + 1 == len(texts):
            same = equal.total()
            show(
                "equal",
                way=way,
                queries=number + 1,
                equal=same,
                forms={name: [equal[name], asked[name]] for name in names},
            )


answer_of: Callable[[Any], Any] = lambda result: (  # noqa: E731
    [(hit.id, hit.score) for hit in result.hits],
    result.total,
    result.facets,
)


def show(what: str, **values: Any) -> None:
    """Print one JSON line."""
    print(
        json.dumps(
            {
                "what": what,
                **{key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
