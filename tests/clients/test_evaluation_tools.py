"""beir, mteb and PyTerrier with the real packages, against a service (see serving.py).

Each evaluates BM25 on SciFact with its own loop, its own way of breaking ties and its own measures, and finds what
`lsr eval` finds. PyTerrier's core needs no Java; Terrier's own index would, and is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("beir", reason="beir is not installed")
pytest.importorskip("mteb", reason="mteb is not installed")
pytest.importorskip("pyterrier", reason="python-terrier is not installed")

import mteb
import pandas as pd
import pyterrier as pt
import scifact
from beir.retrieval.evaluation import EvaluateRetrieval
from datasets import Dataset
from lsr_client import Client, models
from lsr_client.beir import LsrSearch
from lsr_client.mteb import LsrSearchModel
from lsr_client.pyterrier import LsrIndexer, LsrRetriever
from lsr_client.runs import descending
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from scifact import NDCG_OF_BM25, SciFact

pytest_plugins = ["serving"]
METADATA: dict[str, Any] = {
    "description": "SciFact of this repository", "reference": None, "type": "Retrieval", "category": "t2t",
    "modalities": ["text"], "eval_splits": ["test"], "eval_langs": ["eng-Latn"], "main_score": "ndcg_at_10",
    "dataset": {"path": "none", "revision": "1"}, "date": None, "domains": None, "task_subtypes": None,
    "license": None, "annotations_creators": None, "dialect": None, "sample_creation": None, "bibtex_citation": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> SciFact:
    return scifact.load()


@pytest.fixture(scope="module")
def bm25(url: str, whole: SciFact) -> Iterator[str]:
    """A collection of the whole of SciFact."""
    with Client(url) as client:
        client.create("scifact", {"encoder": "bm25"})
        client.bulk("scifact", ({"id": name, **document} for name, document in whole.corpus.items()))
        yield "scifact"
        client.drop("scifact")


def task_of(data: SciFact, top_ranked: dict[str, list[str]] | None = None) -> AbsTaskRetrieval:
    """Return a task of mteb whose data is given instead of being downloaded."""

    class Task(AbsTaskRetrieval):
        metadata = TaskMetadata(name="LocalSciFact", **{**METADATA, "type": "Reranking" if top_ranked else "Retrieval"})

        def load_data(self, *_: Any, **__: Any) -> None:
            split = RetrievalSplitData(
                corpus=Dataset.from_list([{"id": name, **one} for name, one in data.corpus.items()]),
                queries=Dataset.from_list([{"id": name, "text": text} for name, text in data.queries.items()]),
                relevant_docs=data.qrels,
                top_ranked=top_ranked,
            )
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Task()


def ndcg_by_mteb(model: LsrSearchModel, task: AbsTaskRetrieval) -> float:
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    return result.scores["test"][0]["ndcg_at_10"]


def test_beir_measures_what_lsr_eval_measures(client: Client, bm25: str, whole: SciFact) -> None:
    evaluation = EvaluateRetrieval(LsrSearch(client, bm25, write=False), k_values=[10, 100])
    results = evaluation.retrieve({}, whole.queries)
    ndcg, _, recall, _ = evaluation.evaluate(whole.qrels, results, [10, 100])
    assert ndcg["NDCG@10"] == pytest.approx(NDCG_OF_BM25, abs=0.001)
    assert recall["Recall@100"] > 0.85


def test_beir_writes_its_corpus(client: Client, new_collection: Callable[..., str], whole: SciFact) -> None:
    part = scifact.small(whole, 20, 100)
    name = new_collection()
    evaluation = EvaluateRetrieval(LsrSearch(client, name), k_values=[10])
    results = evaluation.retrieve(part.corpus, part.queries)
    assert client.collection(name).documents == len(part.corpus)
    assert set(results) == set(part.queries)
    assert evaluation.evaluate(part.qrels, results, [10])[0]["NDCG@10"] > NDCG_OF_BM25


def test_pyterrier_measures_what_lsr_eval_measures(client: Client, bm25: str, whole: SciFact) -> None:
    topics = pd.DataFrame({"qid": list(whole.queries), "query": list(whole.queries.values())})
    qrels = pd.DataFrame(
        [(qid, docno, label) for qid, judged in whole.qrels.items() for docno, label in judged.items()],
        columns=["qid", "docno", "label"],
    )
    retriever = LsrRetriever(client, bm25, 100)
    table = pt.Experiment([retriever, retriever % 1], topics, qrels, ["ndcg_cut_10", "P_1"], names=["all", "one"])
    assert table.set_index("name").loc["all", "ndcg_cut_10"] == pytest.approx(NDCG_OF_BM25, abs=0.001)
    assert table["P_1"].nunique() == 1


def test_pyterrier_indexes_and_combines(client: Client, new_collection: Callable[..., str]) -> None:
    name = new_collection(schema={"year": "int"})
    rows = [{"docno": "1", "text": "crab cakes", "title": "Cakes", "year": 2020}, {"docno": "2", "text": "crab soup"}]
    retriever = LsrIndexer(client, name).index(iter(rows))
    assert [one["docno"] for one in retriever.search("cakes").to_dict("records")] == ["1"]
    assert client.get(name, "1").metadata == {"year": 2020}
    with_text = LsrRetriever(client, name, text=True, filter={"year": 2020})
    (row,) = (with_text >> pt.apply.doc_score(lambda row: len(row["text"]))).search("crab").to_dict("records")
    assert (row["docno"], row["title"], row["score"], row["rank"]) == ("1", "Cakes", 10, 0)
    both, alone = ((one).search("crab").set_index("docno")["score"] for one in (retriever + with_text, retriever))
    assert (both["1"], both["2"]) == (pytest.approx(2 * alone["1"]), alone["2"])
    nothing = retriever.transform(pd.DataFrame({"qid": ["q"], "query": ["lobster"]}))
    assert (len(nothing), list(nothing.columns)) == (0, ["qid", "query", "docno", "score", "rank"])
    with pytest.raises(ValueError, match="all 1 documents were refused: invalid_metadata"):
        LsrIndexer(client, name).index([{"docno": "3", "text": "x", "year": "none"}])


def test_mteb_runs_a_retrieval_task(client: Client, whole: SciFact) -> None:
    model = LsrSearchModel(client, {"encoder": "bm25"}, name="lsr/bm25")
    assert isinstance(model, mteb.models.SearchProtocol)
    assert ndcg_by_mteb(model, task_of(whole)) == pytest.approx(NDCG_OF_BM25, abs=0.001)
    assert client.collection("mteb-localscifact-default-test").documents == len(whole.corpus)
    client.drop("mteb-localscifact-default-test")


def test_mteb_runs_lsr_mini_and_a_reranking_task(client: Client, whole: SciFact) -> None:
    part = scifact.small(whole, 15, 40)
    ids = list(part.corpus)
    allowed = {qid: [*ids[at : at + 10], *judged] for at, (qid, judged) in enumerate(part.qrels.items())}
    model = LsrSearchModel(client, {"encoder": "lsr-mini"}, name="lsr/lsr-mini")
    assert ndcg_by_mteb(model, task_of(part)) > 0.8
    reranked = model.search(
        [{"id": qid, "text": text} for qid, text in part.queries.items()], top_k=100, top_ranked=allowed
    )
    assert all(set(found) <= set(allowed[qid]) for qid, found in reranked.items())
    assert ndcg_by_mteb(model, task_of(part, allowed)) > 0.8
    client.drop("mteb-localscifact-default-test")
    with pytest.raises(ValueError, match="is not a text"):
        model.search([{"id": "q", "text": [{"role": "user", "content": "x"}]}], top_k=1)


def test_scores_descend_strictly_as_trec_eval_reads_them() -> None:
    import numpy as np

    scores = [3.0, 3.0, 3.0, 2.9999998, 1.0, 1.5, 0.0, 0.0]
    hits = [models.Hit(id=f"{at}", rank=at, score=score, rescored=False, legs=[]) for at, score in enumerate(scores)]
    lowered = np.array([score for _, score in descending(hits)], np.float32)
    assert np.all(np.diff(lowered) < 0)
    assert math.isclose(lowered[0], 3.0)
    assert np.all(np.abs(lowered[:5] - scores[:5]) < 1e-5)
