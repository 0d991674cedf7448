"""Many threads on one collection: whole batches, no undone deletion, ascending `seq`, own writes visible at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.upkeep import seal_and_merge
from lsr.vectors import VectorConfig

SECONDS_AT_MOST = 60
BATCH = 5


def batch(writer: int, turn: int) -> list[Document]:
    """A batch whose documents all carry the batch's number in metadata, weight and dense vector."""
    vectors = {
        "default": SparseByToken({"all": 1.0, f"w{writer}": float(turn + 1)}),
        "meaning": DenseInput((float(turn + 1), 1.0, -1.0)),
    }
    return [Document(f"w{writer}-{number}", metadata={"turn": turn}, vectors=vectors) for number in range(BATCH)]


def test_threads_see_whole_batches_and_their_own_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_and_merge, "SEAL_DOCUMENTS", 12)  # so that background seals and merges run too
    turns, writers = 12, 3
    done = threading.Event()
    failures: list[str] = []
    seqs: list[int] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(repr(error))
                done.set()

        return run

    with Collection.create(
        tmp_path / "c",
        vectors={"default": VectorConfig(None), "meaning": VectorConfig(None, dense=True, dimensions=3)},
        schema={"turn": "int"},
    ) as collection:

        def writer(number: int) -> Callable[[], None]:
            def work() -> None:
                last = 0
                for turn in range(turns):
                    result = collection.write(batch(number, turn))
                    assert result.seq > last
                    last = result.seq
                    seqs.append(last)
                    query = SparseByToken({f"w{number}": 1.0})
                    hits = collection.search(query, k=50, exact=True).hits
                    assert [(hit.id, hit.score) for hit in hits] == [
                        (f"w{number}-{at}", turn + 1.0) for at in range(BATCH)
                    ]
                    if turn % 7 == 3:
                        gone = [document.id for document in batch(number, turn)]
                        assert collection.delete(gone).accepted == BATCH
                        assert collection.search(query, k=50).hits == ()
                        assert collection.get(gone[0]) is None

            return work

        def reader() -> None:
            while not done.is_set():
                hits = collection.search(SparseByToken({"all": 1.0}), k=1000, exact=True).hits
                turns_seen: dict[str, set[int]] = {}
                counts: dict[str, int] = {}
                for hit in hits:
                    name = hit.id.split("-")[0]
                    turns_seen.setdefault(name, set()).add(hit.document.metadata["turn"])
                    counts[name] = counts.get(name, 0) + 1
                # A writer's five documents always belong to one batch: all exist or all are deleted.
                assert all(len(seen) == 1 for seen in turns_seen.values()), turns_seen
                assert all(count == BATCH for count in counts.values()), counts

        def dense_reader() -> None:
            axis = np.float32([1, 0, 0])
            while not done.is_set():
                generation = collection._state.generation
                for writer in range(writers):
                    places = [generation.find(f"w{writer}-{number}") for number in range(BATCH)]
                    found = [place for place in places if place is not None]
                    assert len(found) in (0, BATCH)
                    scores, present = generation.dense_scores("meaning", found, axis)
                    assert present.all()
                    assert len(set(scores.tolist())) <= 1
                    for place, score in zip(found, scores.tolist(), strict=True):
                        turn = place.document().metadata["turn"] + 1
                        assert abs(score - turn / (turn * turn + 2) ** 0.5) < 0.01

        def maintainer() -> None:
            while not done.is_set():
                collection.seal()
                upkept.append(collection.info().segments)
                if len(upkept) % 3 == 0:
                    collection.merge()

        upkept: list[int] = []
        readers = [threading.Thread(target=guarded(work)) for work in (reader, reader, dense_reader, maintainer)]
        writing = [threading.Thread(target=guarded(writer(number))) for number in range(writers)]
        for thread in (*readers, *writing):
            thread.start()
        for thread in writing:
            thread.join(SECONDS_AT_MOST)
        done.set()
        for thread in readers:
            thread.join(SECONDS_AT_MOST)
        collection.wait_for_upkeep()
        assert failures == []
        assert len(set(seqs)) == turns * writers
        assert collection._upkeep.last_error is None
        assert max(upkept) > 0
        assert collection.info().documents == writers * BATCH
    assert verify_collection(tmp_path / "c") == []
