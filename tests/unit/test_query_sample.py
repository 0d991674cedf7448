"""The sample of real queries: what it keeps and where, and the recall targets that are measured on it."""

from __future__ import annotations

import logging
import random

import numpy as np
import pytest
from scipy.sparse import csr_array

from index import IndexConfig
from index.searching import searcher
from lsr.collection import Collection, verify_collection
from lsr.documents import Document, SparseByToken
from lsr.errors import CollectionCorrupt, LsrError
from lsr.part import Part
from lsr.reindexing import reindex
from lsr.search.request import Like
from lsr.storage import query_sample
from lsr.storage.query_sample import SAMPLE_FILE, QuerySample, open_sample
from lsr.storage.sample_queries import REAL_QUERIES
from lsr.upkeep.recall import ENOUGH, GROWN
from lsr.vectors import VectorConfig

N_DOCS, N_TERMS = 1500, 400
BLOCKS = IndexConfig(n_postings=60, exact_lists=False)
VECTORS = {"default": VectorConfig(None, index=BLOCKS)}


def topical_rows(n, seed, length):
    """Rows of two topics each, so that there are clusters to find."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).permuted(np.tile(np.arange(N_TERMS), (60, 1)), axis=1)[:, :40]
    rows = []
    for _ in range(n):
        terms = np.concatenate([topics[t] for t in rng.choice(60, 2, replace=False)])
        chosen = rng.choice(np.unique(terms), length, replace=False)
        weights = rng.gamma(1.0, 0.8, length).astype(np.float32) + np.float32(0.02)
        rows.append({str(term): float(weight) for term, weight in zip(chosen, weights, strict=True)})
    return rows


DOCUMENTS = topical_rows(N_DOCS, 1, 40)
SAMPLE, HELD_OUT = topical_rows(400, 2, 12), topical_rows(200, 3, 12)


def write(collection, rows, first=0):
    documents = [Document(f"d{first + at:06d}", vectors={"default": SparseByToken(row)}) for at, row in enumerate(rows)]
    collection.write(documents)
    collection.seal()


def ask(collection, rows, **options):
    return [collection.search(SparseByToken(row), **options) for row in rows]


@pytest.fixture
def dear_exact_search(monkeypatch):
    """Exact search counts as dearer than any setting, as it is for a large collection."""
    monkeypatch.setattr(searcher, "_DOCUMENT_COST", 1e9)


@pytest.fixture
def collection(tmp_path):
    with Collection.create(tmp_path / "c", vectors=VECTORS) as made:
        made.keep_query_sample(True)
        write(made, DOCUMENTS)
        yield made


def recall_of(collection, k, **how):
    found = []
    for row in HELD_OUT:
        query = SparseByToken(row)
        exact = [hit.score for hit in collection.search(query, k=k, exact=True, sampled=False).hits]
        hits = collection.search(query, k=k, sampled=False, **how).hits
        found.append(sum(hit.score >= exact[-1] for hit in hits) / len(exact))
    return float(np.mean(found))


def test_it_is_bounded_and_follows_what_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(query_sample, "CAPACITY", 50)
    sample = QuerySample.create(tmp_path)
    sample._random = random.Random(5)
    one = np.ones(1, dtype=np.float32)
    for term in range(50):
        assert not sample.add("default", np.array([term]), one)
    assert sample.queries("default").indices.tolist() == list(range(50))
    for _ in range(10_000):
        sample.add("default", np.array([99]), one)
    assert sample.counts() == {"default": 50}
    assert sample.seen() == {"default": 10_050}
    # Of 1,000 queries about 50 are taken: after 10,000 hardly any of the first ones is left.
    assert sum(term != 99 for term in sample.queries("default").indices.tolist()) <= 3


def test_a_query_without_terms_or_with_very_many_is_left_out(tmp_path):
    sample = QuerySample.create(tmp_path)
    for terms in (0, query_sample.MAX_TERMS + 1):
        sample.add("default", np.arange(terms), np.ones(terms, dtype=np.float32))
    assert sample.counts() == {}


def test_what_is_saved_is_read_again(tmp_path):
    sample = QuerySample.create(tmp_path)
    rng = np.random.default_rng(3)
    rows = [np.sort(rng.choice(1000, 1 + at % 7, replace=False)) for at in range(60)]
    for at, terms in enumerate(rows):
        sample.add("bm25" if at % 3 else "default", terms, rng.random(len(terms), dtype=np.float32))
    sample.save()
    again = open_sample(tmp_path)
    for name in ("bm25", "default"):
        kept, read = sample.queries(name), again.queries(name)
        assert read.shape == kept.shape
        assert (read != kept).nnz == 0
    assert again.seen() == {"bm25": 40, "default": 20}
    assert (tmp_path / SAMPLE_FILE).stat().st_mode & 0o077 == 0


def test_every_damaged_byte_is_found(tmp_path):
    sample = QuerySample.create(tmp_path)
    sample.add("default", np.array([3, 8]), np.ones(2, dtype=np.float32))
    sample.save()
    path = tmp_path / SAMPLE_FILE
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(CollectionCorrupt, match=SAMPLE_FILE):
            open_sample(tmp_path)
    path.write_bytes(whole[:-1])
    with pytest.raises(CollectionCorrupt, match="checksum"):
        open_sample(tmp_path)


def test_verify_names_a_damaged_sample_and_the_next_writer_starts_a_new_one(tmp_path, caplog):
    with Collection.create(tmp_path / "c", vectors=VECTORS) as made:
        made.keep_query_sample(True)
    path = tmp_path / "c" / SAMPLE_FILE
    assert verify_collection(tmp_path / "c") == []
    path.write_bytes(path.read_bytes() + b"x")
    assert [problem.path for problem in verify_collection(tmp_path / "c")] == [path]
    with caplog.at_level(logging.WARNING), Collection.open(tmp_path / "c", "w") as again:
        assert again.query_sample.queries == {}
    assert SAMPLE_FILE in caplog.text
    assert verify_collection(tmp_path / "c") == []


def test_only_searches_are_sampled_and_only_where_it_is_asked_for(tmp_path):
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig("bm25")}, schema={"tag": "keyword"}) as c:
        c.write([Document(name, text="lobster roll with butter", metadata={"tag": name}) for name in "ab"])
        c.search("lobster")
        assert c.query_sample is None
        assert not (tmp_path / "c" / SAMPLE_FILE).exists()
        c.keep_query_sample(True)
        c.search("butter", sampled=False)
        c.search(Like(("a",)))
        c.rank(["butter"])
        c.warm()
        Part(c, {"tag": "a"}).search("roll")
        assert c.query_sample.seen == {}
        c.search("lobster butter")
        c.search("lobster butter")  # a kept answer: nothing is encoded
        c.search("lobster", using="default", cache=False)
        assert c.info().query_sample.queries == {"default": 2}
        assert Part(c, {"tag": "a"}).info().query_sample is None
    content = (tmp_path / "c" / SAMPLE_FILE).read_bytes()
    assert b"lobster" not in content
    assert b"butter" not in content
    with Collection.open(tmp_path / "c") as reader:
        reader.search("lobster roll")
        assert reader.query_sample is None
    assert (tmp_path / "c" / SAMPLE_FILE).read_bytes() == content


def test_it_survives_a_restart_and_goes_when_it_is_not_wanted_any_more(tmp_path, collection):
    ask(collection, SAMPLE[:30])
    collection.close()
    with Collection.open(tmp_path / "c", "w") as again:
        assert again.query_sample.queries == {"default": 30}
        again.keep_query_sample(True)
        assert again.query_sample.queries == {"default": 30}
        again.keep_query_sample(False)
        ask(again, SAMPLE[:3])
    assert not list((tmp_path / "c").glob(f"{SAMPLE_FILE}*"))
    with Collection.open(tmp_path / "c", "r") as reader, pytest.raises(LsrError, match="reading only"):
        reader.keep_query_sample(True)


def test_a_crash_loses_the_last_queries_alone(tmp_path, collection):
    ask(collection, SAMPLE[: query_sample.SAVE_EVERY + 20])
    collection.wait_for_upkeep()
    assert open_sample(tmp_path / "c").counts() == {"default": query_sample.SAVE_EVERY}


def test_no_snapshot_and_no_other_collection_gets_it_and_restoring_clears_it(tmp_path, collection):
    ask(collection, SAMPLE[:30])
    collection.snapshot("s")
    write(collection, DOCUMENTS[:5], first=N_DOCS)
    assert not list((tmp_path / "c" / "snapshots").rglob(f"{SAMPLE_FILE}*"))
    collection.restore("s")
    # A term's number may mean another token in the restored state.
    assert collection.query_sample.seen == {}
    assert open_sample(tmp_path / "c").seen() == {}
    ask(collection, SAMPLE[:3])
    assert collection.query_sample.queries == {"default": 3}
    reindex(tmp_path / "c", tmp_path / "new", index_settings={"n_postings": 70})
    assert open_sample(tmp_path / "new") is None


@pytest.mark.usefixtures("dear_exact_search")
def test_held_out_queries_meet_every_target_that_is_measured_on_sampled_ones(tmp_path, collection):
    query = SparseByToken(HELD_OUT[0])
    unknown = collection.search(query, recall=0.95)
    assert (unknown.approximate, unknown.expected_recall) == (True, None)
    assert collection.measure_recall() == 0  # too few queries
    ask(collection, SAMPLE)
    collection.wait_for_upkeep()
    collection.measure_recall()
    curve = collection.recall_curve()
    assert (curve.source, curve.queries) == (REAL_QUERIES, 400)
    for k in (10, 100):
        for target in (0.9, 0.95, 0.98, 0.99):
            # Three standard errors of a mean over 200 queries that differ by about a tenth.
            assert recall_of(collection, k, recall=target) >= target - 3 * 0.1 / np.sqrt(len(HELD_OUT))
    # The answer that was kept from before named no recall.
    expected = collection.search(query, recall=0.95).expected_recall
    assert 0.95 <= expected <= 1.0
    # More metadata fields: the segment is written again, and keeps its curve.
    collection.extend_schema({"year": "int"})
    assert collection.recall_curve() == curve
    assert verify_collection(tmp_path / "c") == []
    collection.close()
    with Collection.open(tmp_path / "c") as again:
        assert again.recall_curve() == curve
        assert again.search(query, recall=0.95).expected_recall == expected
        assert again.info().vectors["default"].index.recall.source == REAL_QUERIES


def test_the_background_measures_in_a_process_of_its_own(collection):
    ask(collection, SAMPLE[: ENOUGH + query_sample.SAVE_EVERY])
    collection.wait_for_upkeep()
    assert collection._upkeep.last_error is None
    assert collection.curves_measured == 1
    assert collection.recall_curve().source == REAL_QUERIES


def test_a_curve_is_measured_again_when_the_collection_has_grown_and_the_new_one_stays_with_its_segment(collection):
    ask(collection, SAMPLE)
    collection.wait_for_upkeep()
    collection.measure_recall()
    assert collection.measure_recall() == 0
    (first,) = collection._state.curves
    write(collection, DOCUMENTS[: int((GROWN - 1) * N_DOCS) - 1], first=N_DOCS)
    # The new segment has no curve yet; the old one's is still good.
    assert [one.row.segment == first[0] for one in collection._upkeep._due_curves()] == [False]
    assert collection.measure_recall() == 1
    assert collection._state.curves[first].documents == N_DOCS
    write(collection, DOCUMENTS[:1], first=10 * N_DOCS)
    collection.wait_for_upkeep()  # the write has started it
    collection.measure_recall()
    assert collection._state.curves[first].documents == collection.info().documents == GROWN * N_DOCS
    # A merge measures on the same queries, and the curves of its inputs go.
    collection.merge()
    assert collection.recall_curve().source == REAL_QUERIES
    assert collection.measure_recall() == 0
    ask(collection, SAMPLE[:1], cache=False)
    assert collection._upkeep._due_curves() == []


def test_a_measurement_that_fails_is_tried_again_later(collection, monkeypatch):
    def fail(*_):
        raise LsrError("a test")

    monkeypatch.setattr(collection._upkeep, "_measure_in_child", fail)
    ask(collection, SAMPLE[:ENOUGH])
    collection.wait_for_upkeep()
    assert isinstance(collection._upkeep.last_error, LsrError)
    assert collection._upkeep._due_curves() == []
    monkeypatch.setattr(collection._upkeep, "_next_measurement", 0.0)
    assert collection.measure_recall() == 1


def test_a_damaged_curve_in_the_catalog_is_an_error_that_names_it(tmp_path, collection):
    with collection._state.catalog.transaction() as change:
        change.set_setting("recall_curves", {"1": {"default": {"documents": 1}}})
    collection.close()
    with pytest.raises(CollectionCorrupt, match="recall_curves"):
        Collection.open(tmp_path / "c")


def test_queries_of_the_sample_are_a_matrix_of_their_own_width(tmp_path):
    sample = QuerySample.create(tmp_path)
    sample.add("default", np.array([2, 7]), np.array([0.5, 1.5], dtype=np.float32))
    assert (sample.queries("default") != csr_array(np.array([[0, 0, 0.5, 0, 0, 0, 0, 1.5]], np.float32))).nnz == 0
    assert sample.queries("other").shape == (0, 0)
