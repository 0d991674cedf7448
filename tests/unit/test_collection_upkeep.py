"""Sealing and merging: concurrent writes and deletions are kept; segments and deleted rows stay few."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document, SparseByToken
from lsr.errors import StorageFull, TooManyPending
from lsr.storage import layout
from lsr.storage.segment import SEGMENTS_FOLDER, FinishedSegment
from lsr.upkeep import seal_and_merge, swapping
from lsr.upkeep.merge_policy import FACTOR, SMALLEST_LEVEL, SegmentSize, choose_merge, level
from lsr.upkeep.segment_jobs import Job
from lsr.vectors import VectorConfig
from lsr.writing import changes

SPARSE = {"default": VectorConfig(None)}


def sparse(identifier: str, weights: dict[str, float]) -> Document:
    return Document(identifier, vectors={"default": SparseByToken(weights)})


def ids(collection: Collection, token: str = "x") -> list[str]:
    return [hit.id for hit in collection.search(SparseByToken({token: 1.0}), k=100, exact=True).hits]


def meanwhile(collection: Collection, monkeypatch: pytest.MonkeyPatch, change: object) -> None:
    """Call `change` after the next segment is written and before it is put in place."""
    run = collection._upkeep._run_here

    def run_then_change(job: Job) -> FinishedSegment:
        finished = run(job)
        monkeypatch.setattr(collection._upkeep, "_run_here", run)
        change()  # type: ignore[operator]
        return finished

    monkeypatch.setattr(collection._upkeep, "_run_here", run_then_change)


def test_changes_during_a_seal_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse(name, {"x": 1.0}) for name in "abcd"])

        def change() -> None:
            collection.delete(["a"])
            collection.write([sparse("b", {"y": 1.0}), sparse("e", {"x": 1.0})])
            collection.delete(["c"])
            collection.write([sparse("c", {"x": 1.0})])

        meanwhile(collection, monkeypatch, change)
        assert collection.seal()
        for _ in range(2):
            assert ids(collection) == ["c", "d", "e"]
            assert ids(collection, "y") == ["b"]
            assert collection.info().documents == 4
            collection.merge()
    with Collection.open(tmp_path / "c", "w") as collection:
        assert ids(collection) == ["c", "d", "e"]
    assert verify_collection(tmp_path / "c") == []


def test_changes_during_a_merge_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse(name, {"x": 1.0}) for name in "abcd"])
        collection.seal()
        collection.write([sparse(name, {"x": 1.0}) for name in "aefg"])
        collection.seal()
        collection.delete(["d"])

        def change() -> None:
            collection.delete(["e"])
            collection.write([sparse("b", {"y": 1.0}), sparse("d", {"x": 1.0})])

        meanwhile(collection, monkeypatch, change)
        assert collection.merge()
        for _ in range(2):
            assert ids(collection) == ["a", "c", "d", "f", "g"]
            assert ids(collection, "y") == ["b"]
            collection.seal()
        assert collection.info().segments == 2
        assert len(list((tmp_path / "c" / SEGMENTS_FOLDER).iterdir())) == 2
    with Collection.open(tmp_path / "c") as collection:
        assert ids(collection) == ["a", "c", "d", "f", "g"]


def test_segments_stay_few_while_writes_come_as_fast_as_they_are_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_and_merge, "SEAL_DOCUMENTS", 10)
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        segments: list[int] = []

        def run_while_more_is_written(path: Path, job: Job, *_: object) -> FinishedSegment:
            segments.append(collection.info().segments)
            if len(segments) < 20:
                collection.write([sparse(f"d{len(segments)}-{number}", {"x": 1.0}) for number in range(10)])
            return collection._upkeep._run_here(job)

        monkeypatch.setattr(seal_and_merge, "run_in_child", run_while_more_is_written)
        collection.write([sparse(f"d-{number}", {"x": 1.0}) for number in range(10)])
        collection.wait_for_upkeep()
        info = collection.info()
        assert collection._upkeep.last_error is None
        assert (info.documents, info.pending) == (200, 0)
        assert max(segments) <= FACTOR


def test_merging_what_is_all_deleted_leaves_no_segment(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse(name, {"x": 1.0}) for name in "ab"])
        collection.seal()
        collection.delete(["a", "b"])
        assert collection.merge()
        assert (collection.info().segments, collection.info().deleted) == (0, 0)
        assert list((tmp_path / "c" / SEGMENTS_FOLDER).iterdir()) == []
        assert not collection.merge()
        assert not collection.seal()


def test_upkeep_runs_by_itself_in_a_child_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_and_merge, "SEAL_DOCUMENTS", 40)
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema={"n": "int"}) as collection:
        for start in range(0, 200, 40):
            collection.write([sparse(f"d{number:03}", {"x": 1.0}) for number in range(start, start + 40)])
            collection.wait_for_upkeep()
        info = collection.info()
        assert collection._upkeep.last_error is None
        assert (info.documents, info.pending) == (200, 0)
        assert info.segments <= 4
        assert ids(collection) == [f"d{number:03}" for number in range(100)]
    assert verify_collection(tmp_path / "c") == []


def test_closing_stops_a_background_seal_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_and_merge, "SEAL_DOCUMENTS", 40)
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse(f"d{number:03}", {"x": 1.0}) for number in range(50)])
    with Collection.open(tmp_path / "c", "w") as collection:
        assert collection.info().documents == 50
        live = [view.segment.row.uuid for view in collection._state.generation.segments]
        assert sorted(path.name for path in (tmp_path / "c" / SEGMENTS_FOLDER).iterdir()) == sorted(live)


def test_a_background_failure_is_kept_and_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_and_merge, "SEAL_DOCUMENTS", 2)
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:

        def fail(job: Job) -> FinishedSegment:
            raise OSError("no child today")

        monkeypatch.setattr(collection._upkeep, "_run_in_child", fail)
        for name in "abc":
            collection.write([sparse(name, {"x": 1.0})])
            collection.wait_for_upkeep()
        assert isinstance(collection._upkeep.last_error, OSError)
        assert ids(collection) == ["a", "b", "c"]


def test_writes_beyond_the_cap_are_refused_until_a_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_PENDING", 3)
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse(name, {"x": 1.0}) for name in "abc"])
        with pytest.raises(TooManyPending, match="the limit is 3"):
            collection.write([sparse("d", {"x": 1.0})])
        collection.seal()
        collection.write([sparse("d", {"x": 1.0})])
        assert ids(collection) == ["a", "b", "c", "d"]


def test_a_patch_changes_metadata_and_keeps_the_vector(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", schema={"year": "int"}) as collection:
        collection.write([Document("d", text="lobster roll", metadata={"year": 2020, "note": "old"})])
        score = collection.search("lobster").hits[0].score
        for sealed in (False, True):
            if sealed:
                collection.seal()
            collection.patch("d", {"year": 2021 + sealed, "note": None})
            (hit,) = collection.search("lobster", filter={"year": 2021 + sealed}).hits
            assert (hit.score, dict(hit.document.metadata)) == (score, {"year": 2021 + sealed})
            assert collection.search("lobster", filter={"year": 2020}).hits == ()
        assert collection.patch("nobody", {}) is None


def test_a_scan_yields_every_live_document_once_with_its_vector(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse(name, {"x": 1.0, name: 2.0}) for name in "abc"])
        collection.seal()
        collection.write([sparse(name, {"x": 3.0, name: 4.0}) for name in "bd"])
        collection.delete(["a"])
        found = {
            document.id: dict(zip(collection.tokens(term_ids), impacts.tolist(), strict=True))
            for document, term_ids, impacts in collection.scan()
        }
        assert found == {"b": {"x": 3.0, "b": 4.0}, "c": {"x": 1.0, "c": 2.0}, "d": {"x": 3.0, "d": 4.0}}


def test_the_policy_keeps_segments_few_and_rewrites_each_document_rarely() -> None:
    sizes: list[SegmentSize] = []
    rewritten = 0
    for _ in range(400):
        sizes.append(SegmentSize(SMALLEST_LEVEL, SMALLEST_LEVEL))
        while positions := choose_merge(sizes):
            total = sum(sizes[at].live for at in positions)
            rewritten += total
            sizes = [size for at, size in enumerate(sizes) if at not in positions] + [SegmentSize(total, total)]
    documents = 400 * SMALLEST_LEVEL
    assert sum(size.live for size in sizes) == documents
    assert len(sizes) <= 3 * (level(documents) + 1)
    assert rewritten <= documents * level(documents)


def test_the_policy_rewrites_a_segment_of_which_much_is_dead() -> None:
    sizes = [SegmentSize(100_000, 100_000), SegmentSize(50_000, 39_000), SegmentSize(10_000, 9_500)]
    assert choose_merge(sizes) == [1]
    assert choose_merge([SegmentSize(10, 1)]) == []


def test_the_policy_joins_many_segments_before_it_rewrites_one() -> None:
    assert choose_merge([SegmentSize(50_000, 39_000)] + FACTOR * [SegmentSize(10_000, 9_500)]) == [0, 1, 2, 3, 4]
    assert choose_merge([SegmentSize(90_000, 60_000)] + FACTOR * [SegmentSize(10_000, 9_500)]) == [1, 2, 3, 4]


def test_a_segment_that_could_not_be_listed_is_removed_after_the_next_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([sparse("a", {"x": 1.0})])

        def fail(*_: object) -> None:
            raise StorageFull("no room")

        with monkeypatch.context() as patched:
            patched.setattr(swapping, "put_sealed", fail)
            with pytest.raises(StorageFull):
                collection.seal()
        assert len(list((tmp_path / "c" / SEGMENTS_FOLDER).iterdir())) == 1
        assert ids(collection) == ["a"]
        assert collection.seal()
        assert len(list((tmp_path / "c" / SEGMENTS_FOLDER).iterdir())) == 1
        assert ids(collection) == ["a"]


def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(layout, "sync_file", fail)
    with pytest.raises(StorageFull):
        Collection.create(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_of_pending_documents_that_tie_those_of_lowest_id_come_back(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        names = [f"{letter}{number}" for number in range(20) for letter in "éda"]
        collection.write([sparse(name, {"x": 1.0}) for name in reversed(names)])
        collection.write([sparse("z", {"x": 2.0})])
        collection.delete(["a0"])
        expected = ["z", *sorted(set(names) - {"a0"})]
        for k in (1, 2, 7, 60, 100):
            hits = collection.search(SparseByToken({"x": 1.0}), k=k).hits
            assert [hit.id for hit in hits] == expected[:k]
