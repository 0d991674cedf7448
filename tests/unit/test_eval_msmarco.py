"""MS MARCO from encoded topics to MRR@10 and nDCG@10, on a few synthetic passages; and bounded memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

from eval import evaluate, from_trec_files
from eval.dataset import Dataset
from eval.evaluation import measure_system
from eval.measures import parse_measures
from eval.sources.queries import Query
from eval.systems import IndexSystem
from index import SparseIndex
from lsr.documents import SparseByIndex


@pytest.fixture
def files(tmp_path):
    topics = tmp_path / "topics.dl.splade-v3.tsv.gz"
    topics.write_bytes(gzip.compress(b"1\tlobster lobster ##s roll\n2\tmaple\n3\tunjudged\n"))
    qrels = tmp_path / "qrels.dl.txt"
    qrels.write_text("1 0 p1 3\n1 0 p2 1\n2 0 p3 2\n2 0 p4 0\n")
    passages = {"p1": {"lobster": 1.0}, "p2": {"lobster": 1.5, "##s": 1.0}, "p3": {"maple": 2.0}, "p4": {"maple": 1.0}}
    corpus = tmp_path / "passages.jsonl"
    corpus.write_text("".join(json.dumps({"id": key, "sparse": value}) + "\n" for key, value in passages.items()))
    return topics, qrels, corpus


def test_encoded_topics_are_evaluated_without_an_encoder(files):
    topics, qrels, corpus = files
    dataset = from_trec_files(topics, qrels, corpus=str(corpus), name="msmarco-passage/dl19", encoded=True)
    result = evaluate(dataset, measures=["MRR@10", "nDCG@10"])
    assert len(result.query_ids) == 2
    # Query 1: p2 scores 2 * 1.5 + 1, p1 scores 2; p2's grade 1 is not relevant on DL19, so the first relevant is p1.
    assert result.means["MRR(rel=2)@10"] == pytest.approx((0.5 + 1) / 2)
    gain, ideal = 1 + 3 / np.log2(3), 3 + 1 / np.log2(3)
    assert result.means["nDCG@10"] == pytest.approx((gain / ideal + 1) / 2)


def test_official_counts_are_checked_for_known_names(files):
    topics, qrels, _ = files
    dataset = from_trec_files(topics, qrels, name="msmarco-passage/dl19", encoded=True)
    assert "the official number is 43" in dataset.warnings[0]


def many_queries(count, terms, rng):
    queries = {}
    for number in range(count):
        indices = np.sort(rng.choice(terms, size=8, replace=False))
        queries[f"q{number}"] = Query(f"q{number}", "", SparseByIndex(tuple(indices.tolist()), (1.0,) * 8))
    qrels = {query: {"d00000007": 1} for query in queries}
    return Dataset("made-up", "", queries, qrels, None)


def test_memory_does_not_grow_with_the_number_of_queries():
    rng = np.random.default_rng(4)
    terms, documents = 50, 400
    dense = rng.random((documents, terms)) * (rng.random((documents, terms)) < 0.3)
    index = SparseIndex.build(csr_array(dense.astype(np.float32)))
    system = IndexSystem(index, [f"d{number:08d}" for number in range(documents)], name="x", exact=True)
    measures = parse_measures(["nDCG@10", "Recall@100"])

    def peak(count):
        dataset = many_queries(count, terms, rng)
        tracemalloc.start()
        measure_system(system, dataset, measures, depth=300, batch_size=16)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(16)  # loads and compiles
    few, many = peak(32), peak(512)
    # Eight times 480 further rankings would be 480 * 300 * 8 bytes of scores alone; the values by query are a few kB.
    assert many - few < 400_000
