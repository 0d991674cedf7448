"""Writes the small collection of format version 1 that later versions must open, and what it must answer.

usage: python tests/golden/make_collection_v1.py     (once, before version 1 is released; never afterwards)

It holds two segments with deletions, pending documents, two named vectors, and a field of every type.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from pathlib import Path

from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.vectors import VectorConfig

HERE = Path(__file__).parent
ARCHIVE = HERE / "collection_v1.tar.xz"
ANSWERS = HERE / "collection_v1.json"
SCHEMA = {"year": "int", "price": "float", "fresh": "bool", "lang": "keyword", "tag": "keyword[]", "at": "date"}
QUERIES = {"text": ["lobster roll", "crab", "oyster bisque lobster"], "splade": ["t0", "t3", "all"]}


def document(number: int) -> Document:
    """The documents differ in every field, and some have none."""
    dishes = ("lobster", "roll", "crab", "oyster", "bisque")
    metadata = {
        "year": 2000 + number,
        "price": number / 4,
        "fresh": number % 2 == 0,
        "lang": ("en", "fr", "de")[number % 3],
        "tag": ["sea", "food"][: number % 3],
        "at": f"2020-01-{number % 28 + 1:02}T10:00:00Z",
        "free": {"nested": [number, None]},
    }
    return Document(
        f"d{number:02}",
        title=f"Dish {number}" if number % 4 else "",
        text=" ".join(dishes[(number * step) % 5] for step in range(1, number % 6 + 2)),
        parent="menu" if number % 2 else None,
        metadata=metadata if number % 5 else {},
        vectors={"splade": SparseByToken({"all": 1.0 + number / 8, f"t{number % 5}": 2.5})},
    )


def answers(collection: Collection) -> dict[str, object]:
    """Return everything that a reader of the format must find."""
    documents = [
        [found.id, found.title, found.text, found.parent, dict(found.metadata)]
        for found, _, _ in sorted(collection.scan("text"), key=lambda entry: entry[0].id)
    ]
    rankings = {
        f"{using}: {query}": [
            [hit.id, hit.score]
            for hit in collection.search(
                query if using == "text" else SparseByToken({query: 1.0}), using=using, k=50, exact=True
            ).hits
        ]
        for using, queries in QUERIES.items()
        for query in queries
    }
    filters: list[dict[str, object]] = [
        {"year": {"gte": 2010}},
        {"tag": "sea", "fresh": True},
        {"at": {"lt": "2020-01-09"}},
    ]
    filtered = {json.dumps(condition): sorted(collection.matching(condition)) for condition in filters}
    return {"documents": documents, "rankings": rankings, "filtered": filtered}


def main() -> None:
    """Write the archive and the answers."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "collection"
        vectors = {"text": VectorConfig("bm25", {"average_length": 4.0}), "splade": VectorConfig(None)}
        with Collection.create(folder, vectors=vectors, schema=SCHEMA) as collection:
            collection.write([document(number) for number in range(12)])
            collection.seal()
            collection.write([document(number) for number in range(10, 18)])
            collection.seal()
            collection.write([document(number) for number in range(17, 22)])
            collection.delete(["d03", "d14", "d19"])
            ANSWERS.write_text(json.dumps(answers(collection), indent=1, ensure_ascii=False) + "\n")
        for passing in ("writer.lock", "catalog.sqlite-shm", "catalog.sqlite-wal"):
            (folder / passing).unlink(missing_ok=True)
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            archive.add(folder, "collection", filter=_anonymous)
        shutil.rmtree(folder)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
