"""Runs operations on collections in forked children, which a test kills; not a test itself.

Reads lines of JSON {"operation", "folder"} and, for each, forks a child that stops itself before it begins. Prints
{"pid"} then, and {"status"} when the child has ended: 0 when the operation returned, -9 when it was killed. Everything
is imported and compiled before the first fork, so that a child begins with the operation at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.errors import StorageFull
from lsr.vectors import VectorConfig
from lsr.writing import bulk_load

DENSE = VectorConfig(None, dense=True, dimensions=5)
VECTORS = {"text": VectorConfig("bm25", {"average_length": 2.0}), "splade": VectorConfig(None), "meaning": DENSE}


def document(number: int, text: str = "lobster roll", weight: float = 1.0) -> Document:
    """Every fourth has no dense vector."""
    weights = {"all": weight, f"t{number % 5}": 2.0}
    dense = {"meaning": DenseInput((weight, float(number), -1.0, number % 3 - 1.0, 0.5))} if number % 4 else {}
    return Document(
        f"d{number:02}",
        text=text,
        metadata={"n": number, "odd": bool(number % 2)},
        vectors={"splade": SparseByToken(weights), **dense},
    )


def make_base(folder: Path) -> None:
    """A collection with two segments, deletions and pending documents."""
    with Collection.create(folder, vectors=VECTORS, schema={"n": "int"}) as collection:
        collection.write([document(number) for number in range(20)])
        collection.seal()
        collection.write([document(number) for number in range(20, 30)])
        collection.seal()
        collection.delete(["d03", "d25"])
        collection.write([document(number, "crab roll") for number in range(28, 36)])


def write(folder: Path) -> None:
    with Collection.open(folder, "w") as collection:
        collection.write([document(number, "new words roll", 3.0) for number in (5, 30, 77)])


def delete(folder: Path) -> None:
    with Collection.open(folder, "w") as collection:
        collection.delete(["d06", "d31", "d99"])


def seal(folder: Path) -> None:
    with Collection.open(folder, "w") as collection:
        collection.seal()


def merge(folder: Path) -> None:
    with Collection.open(folder, "w") as collection:
        collection.merge()


def extend(folder: Path) -> None:
    """`odd` is in the documents' metadata already."""
    with Collection.open(folder, "w") as collection:
        collection.extend_schema({"odd": "bool", "lang": "keyword"})


def create(folder: Path) -> None:
    Collection.create(folder / "created", vectors=VECTORS).close()


def load(folder: Path) -> None:
    bulk_load.BATCH_LINES = 4
    bulk_load.SEGMENT_DOCUMENTS = 10
    corpus = open_corpus(str(folder / "corpus.jsonl"))
    vectors = {"default": VectorConfig("bm25"), "meaning": DENSE}
    bulk_load.index_corpus(corpus, folder / "loaded", vectors=vectors, schema={"n": "int"}, resume=True)


def write_and_fail(folder: Path) -> None:
    """The first write must be refused and change nothing; the second one must work."""
    with Collection.open(folder, "w") as collection:
        before = collection.rank(["lobster roll"], using="text", k=50)[0]
        try:
            collection.write([document(80, "refused roll")])
        except StorageFull:
            after = collection.rank(["lobster roll"], using="text", k=50)[0]
            if after[0] != before[0] or (after[1] != before[1]).any() or collection.get("d80") is not None:
                raise RuntimeError("a refused write can be seen") from None
        else:
            raise RuntimeError("the write was not refused")
        collection.write([document(81, "accepted roll")])


OPERATIONS = {
    function.__name__: function for function in (write, delete, seal, merge, extend, create, load, write_and_fail)
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_base(Path(folder) / "c")
        for name in ("write", "seal", "merge", "extend"):
            OPERATIONS[name](Path(folder) / "c")
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                OPERATIONS[request["operation"]](Path(request["folder"]))
            except BaseException as error:
                os.write(2, f"{request}: {error!r}\n".encode())
                os._exit(1)
            os._exit(0)
        os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOWAIT)
        print(json.dumps({"pid": child}), flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
