"""Writes the small collection of format version 2 that later versions must open, and what it must answer.

usage: python tests/golden/make_collection_v2.py     (once, before version 2 is released; never afterwards)

It is the collection of make_collection_v1.py with a dense vector, given by hand; every sixth document has none.
"""

from __future__ import annotations

import json
import runpy
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from lsr.collection import Collection
from lsr.documents import DenseInput, Document
from lsr.vectors import VectorConfig

V1 = runpy.run_path(str(Path(__file__).with_name("make_collection_v1.py")))
HERE = Path(__file__).parent
ARCHIVE = HERE / "collection_v2.tar.xz"
ANSWERS = HERE / "collection_v2.json"
DIMENSIONS = 11
QUERY = np.float32([0.5, -0.25, 0.125, 0.1, 0.3, -0.7, 0.0, 1.0, 0.2, -0.1, 0.9])


def document(number: int) -> Document:
    """The document of version 1, and five of six with a dense vector."""
    made: Document = V1["document"](number)
    if number % 6 == 5:
        return made
    values = tuple(float((number * place) % 7 - 3) + 0.5 for place in range(1, DIMENSIONS + 1))
    return replace(made, vectors={**made.vectors, "meaning": DenseInput(values)})


def answers(collection: Collection) -> dict[str, object]:
    """Everything that a reader of the format must find; a dense score is shown by its float32 bits, in hexadecimal."""
    found: dict[str, object] = V1["answers"](collection)
    ids = sorted(one.id for one, _, _ in collection.scan("text"))
    generation = collection._state.generation
    places = [place for place in map(generation.find, ids) if place is not None]
    scores, present = generation.dense_scores("meaning", places, QUERY)
    bits = [f"{number:08x}" for number in scores.view(np.uint32).tolist()]
    rows = {identifier: place.dense("meaning") for identifier, place in zip(ids, places, strict=True)}
    found["dense"] = {identifier: [steps.tolist(), float(scale)] for identifier, (steps, scale) in rows.items()}
    found["dense_scores"] = dict(zip(ids, bits, strict=True))
    found["present"] = dict(zip(ids, present.tolist(), strict=True))
    return found


def main() -> None:
    """Write the archive and the answers."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "collection"
        vectors = {
            "text": VectorConfig("bm25", {"average_length": 4.0}),
            "splade": VectorConfig(None),
            "meaning": VectorConfig(None, dense=True, dimensions=DIMENSIONS),
        }
        with Collection.create(folder, vectors=vectors, schema=V1["SCHEMA"]) as collection:
            collection.write([document(number) for number in range(12)])
            collection.seal()
            collection.write([document(number) for number in range(10, 18)])
            collection.seal()
            collection.write([document(number) for number in range(17, 24)])
            collection.delete(["d03", "d14", "d19"])
            ANSWERS.write_text(json.dumps(answers(collection), indent=1, ensure_ascii=False) + "\n")
        for passing in ("writer.lock", "catalog.sqlite-shm", "catalog.sqlite-wal"):
            (folder / passing).unlink(missing_ok=True)
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            archive.add(folder, "collection", filter=V1["_anonymous"])
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
