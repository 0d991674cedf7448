"""Killed with SIGKILL at random moments of mixed writes: no acknowledged write is lost, no deletion undone.

A child process writes, overwrites, deletes and lets the background seal and merge, and says what was acknowledged.
After each kill every document and every ranking must be those of a fresh collection of the acknowledged documents;
the one operation that was under way may have happened or not. LSR_KILLS=100 takes some minutes; the suite does a few.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import DenseInput, Document
from lsr.vectors import VectorConfig

KILLS = int(os.environ.get("LSR_KILLS", "3"))
IDS = 60

WRITER = """
import json, random, sys
from lsr.upkeep import seal_and_merge
from lsr.collection import Collection
from lsr.documents import DenseInput, Document

seal_and_merge.SEAL_DOCUMENTS = 20
generator = random.Random(int(sys.argv[2]))
collection = Collection.open(sys.argv[1], "w")
while True:
    ids = [f"d{number:02}" for number in generator.sample(range(int(sys.argv[3])), 6)]
    if generator.random() < 0.25:
        change = {identifier: None for identifier in ids}
        print(json.dumps({"begin": change}), flush=True)
        collection.delete(ids)
    else:
        words = ("lobster", "roll", "crab", "oyster")
        change = {identifier: " ".join(generator.choices(words, k=3)) for identifier in ids}
        print(json.dumps({"begin": change}), flush=True)
        documents = []
        for identifier, text in change.items():
            counts = tuple(float(text.count(letter)) for letter in "lort")
            documents.append(Document(identifier, text=text, vectors={"meaning": DenseInput(counts)}))
        collection.write(documents)
    print(json.dumps({"end": True}), flush=True)
"""


def apply(state: dict[str, str], change: dict[str, str | None]) -> dict[str, str]:
    merged = {**state, **change}
    return {identifier: text for identifier, text in merged.items() if text is not None}


def rankings(collection: Collection) -> list[object]:
    return [
        [(hit.id, hit.score) for hit in collection.search(query, k=IDS, exact=True).hits]
        for query in ("lobster", "crab roll", "oyster oyster lobster")
    ]


def document(identifier: str, text: str) -> Document:
    """A document whose dense vector depends on its text, as the writer's does."""
    counts = tuple(float(text.count(letter)) for letter in "lort")
    return Document(identifier, text=text, vectors={"meaning": DenseInput(counts)})


def dense_rows(collection: Collection, state: dict[str, str]) -> list[object]:
    rows = (collection.dense_vector(identifier, "meaning") for identifier in sorted(state))
    return [None if row is None else row.tolist() for row in rows]


@pytest.mark.slow
def test_random_kills_lose_nothing_and_bring_nothing_back(tmp_path: Path) -> None:
    generator = random.Random(11)
    folder = tmp_path / "c"
    dense = VectorConfig(None, dense=True, dimensions=4)
    with Collection.create(folder, vectors={"default": VectorConfig("bm25"), "meaning": dense}) as collection:
        collection.write([document("d00", "lobster roll crab")])
        average_length = collection.encoder().settings["average_length"]
    state = {"d00": "lobster roll crab"}
    acknowledged = 0
    for turn in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(turn), str(IDS)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            under_way: dict[str, str | None] = {}
            stop_after = generator.randrange(2, 160)
            for line in child.stdout:
                message = json.loads(line)
                if "begin" in message:
                    under_way = message["begin"]
                    if stop_after <= 0:
                        break
                    stop_after -= 1
                else:
                    state = apply(state, under_way)
                    under_way = {}
                    acknowledged += 1
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:  # writes that it finished between the last line read and the signal
                message = json.loads(line)
                if "begin" in message:
                    under_way = message["begin"]
                else:
                    state = apply(state, under_way)
                    under_way = {}
        assert verify_collection(folder) == []
        with Collection.open(folder, "w") as collection:
            found = {document.id: document.text for document, _, _ in collection.scan()}
            assert found in (state, apply(state, under_way))
            state = found
            vectors = {"default": VectorConfig("bm25", {"average_length": average_length}), "meaning": dense}
            with Collection.create(tmp_path / f"fresh-{turn}", vectors=vectors) as fresh:
                fresh.write([document(identifier, text) for identifier, text in state.items()])
                assert rankings(collection) == rankings(fresh)
                assert dense_rows(collection, state) == dense_rows(fresh, state)
    assert acknowledged > KILLS
