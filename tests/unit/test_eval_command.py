"""`evaluate` from end to end on small folders: collections, encoders, ready-made vectors, runs."""

from __future__ import annotations

import json
from collections import namedtuple

import numpy as np
import pytest

from eval import SearchSettings, evaluate
from eval.dataset import from_trec_files
from eval.errors import DatasetMismatch, EvaluationError, InputFileError, UnknownMeasure
from eval.pipelines import descending
from eval.ranking import rank
from lsr.cli.running import run as run_lsr
from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import QueryError
from lsr.search.request import Feedback
from lsr.vectors import VectorConfig

TEXTS = {
    "a": "lobster roll from maine",
    "b": "lobster bisque",
    "c": "pancake with maple syrup",
    "d": "waffle with maple syrup",
    "e": "black coffee",
}
QUERIES = {"q1": "lobster", "q2": "maple syrup", "q3": "unicorn"}
QRELS = [("q1", "a", 2), ("q1", "b", 0), ("q2", "c", 1), ("q2", "d", 1), ("q3", "e", 1)]


def write_folder(folder, documents=None, queries=None, qrels=QRELS):
    documents = documents or [{"_id": key, "title": "", "text": text} for key, text in TEXTS.items()]
    queries = queries or [{"_id": key, "text": text} for key, text in QUERIES.items()]
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "food")


def test_an_encoder_is_evaluated_from_text(folder):
    result = evaluate(folder, encoder="bm25", measures=["MRR@10,Recall@100", "P@1"]).to_json()
    assert result["dataset"] == "food"
    assert (result["queries"], result["documents"], result["without_results"]) == (3, 5, 1)
    # q1 finds b before a (shorter), q2 finds c and d, q3 finds nothing and counts 0.
    assert result["MRR@10"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert result["Recall@100"] == pytest.approx(2 / 3)
    assert result["P@1"] == pytest.approx(1 / 3)


def test_a_collection_and_its_encoder_give_the_same_values(folder, tmp_path):
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document(key, text=text) for key, text in TEXTS.items()])
        from_writes = evaluate(folder, collection=collection.path)
    from_text = evaluate(folder, encoder="bm25")
    assert from_writes.means == pytest.approx(from_text.means)


def test_a_run_that_was_written_evaluates_to_the_same_values(folder, tmp_path):
    run = tmp_path / "out" / "bm25.run"
    written = evaluate(folder, encoder="bm25", run=run)
    read = evaluate(folder, run=run)
    assert read.means == written.means
    assert read.system == "bm25"
    assert run.read_text().splitlines()[0].split()[:4] == ["q1", "Q0", "b", "1"]


def test_ready_made_vectors_need_no_encoder(tmp_path):
    folder = write_folder(
        tmp_path / "vectors",
        documents=[{"_id": "a", "sparse": {"x": 2.0}}, {"_id": "b", "sparse": {"x": 1.0, "y": 1.0}}],
        queries=[{"_id": "q", "sparse": {"x": 1.0, "y": 3.0, "z": 1.0}}],
        qrels=[("q", "a", 1)],
    )
    result = evaluate(folder, measures=["MRR@10"])
    assert result.system == "vectors"
    assert result.means["MRR@10"] == 0.5  # b scores 4, a scores 2


def test_the_querys_own_document_is_dropped_whatever_the_folders_name_is(tmp_path):
    documents = [{"_id": "1", "text": "good"}, {"_id": "2", "text": "good reason"}]
    queries = [{"_id": "1", "text": "good"}]
    for name, expected in (("arguana", 1.0), ("other", 1.0)):
        folder = write_folder(tmp_path / name, documents, queries, [("1", "2", 1)])
        assert evaluate(folder, encoder="bm25", measures=["MRR@10"]).means["MRR@10"] == expected


def test_k_limits_the_depth_after_the_own_document_is_dropped(tmp_path):
    documents = [{"_id": "1", "text": "good"}, {"_id": "2", "text": "good reason"}]
    folder = write_folder(tmp_path / "arguana", documents, [{"_id": "1", "text": "good"}], [("1", "2", 1)])
    assert evaluate(folder, encoder="bm25", measures=["Recall@100"], k=1).means["Recall@100"] == 1.0


def test_equal_scores_are_ranked_by_ascending_id_for_any_order_of_the_corpus(tmp_path):
    documents = [{"_id": key, "text": "same words"} for key in ("z", "m", "b")]
    folder = write_folder(tmp_path / "ties", documents, [{"_id": "q", "text": "words"}], [("q", "b", 1)])
    run = tmp_path / "x.run"
    assert evaluate(folder, encoder="bm25", measures=["MRR@10"], run=run).means["MRR@10"] == 1.0
    assert [line.split()[2] for line in run.read_text().splitlines()] == ["b", "m", "z"]
    assert evaluate(folder, encoder="bm25", measures=["MRR@10"], ties="trec_eval").means["MRR@10"] == pytest.approx(
        1 / 3
    )


def test_a_corpus_with_a_bad_line_is_refused_with_its_line(folder):
    with (folder / "corpus.jsonl").open("a") as file:
        file.write("not json\n")
    with pytest.raises(DatasetMismatch, match="line 6"):
        evaluate(folder, encoder="bm25")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"run": "nowhere.run"}, "no such run"),
        ({"encoder": "bm25", "collection": "x"}, "not both"),
        ({"k": 0}, "k must be at least 1"),
        ({"measures": []}, "no measure"),
        ({"measures": ["nDGC@10"]}, "did you mean nDCG"),
        ({"measures": ["P"]}, "needs a cutoff"),
        ({"measures": ["nDCG(rel=2)@10"]}, "does not support"),
        ({"measures": ["nDCG@0"]}, "unknown measure"),
        ({"encoder": "bm25", "search": SearchSettings(using="splade")}, "no vector 'splade'"),
    ],
)
def test_options_that_make_no_sense_are_named(folder, tmp_path, options, words):
    if "run" in options:
        options = {"run": tmp_path / options["run"]}
    with pytest.raises(EvaluationError, match=words):
        evaluate(folder, **options)


def test_measures_are_understood_by_their_other_names(folder):
    result = evaluate(folder, encoder="bm25", measures=["ndcg_cut_10", "RR@10", "AP", "R@100", "map(rel=2)@5"])
    assert list(result.means) == ["nDCG@10", "MRR@10", "MAP", "Recall@100", "MAP(rel=2)@5"]


def test_an_unknown_measure_is_an_error_with_its_field():
    with pytest.raises(UnknownMeasure) as caught:
        evaluate("scifact", measures=["ERR"])
    assert caught.value.field == "measures"


def test_a_collection_that_does_not_hold_the_relevant_documents_warns(folder, tmp_path):
    with Collection.create(tmp_path / "c") as collection:
        collection.write([Document("x", text="something else")])
    assert evaluate(folder, collection=tmp_path / "c").warnings == (
        "4 of 4 relevant documents are not in the collection, for example 'a'",
    )


def test_a_run_with_a_document_that_the_corpus_does_not_have_is_named_with_its_line(folder, tmp_path):
    run = tmp_path / "x.run"
    run.write_text("q1 Q0 a 1 2.0 t\nq2 Q0 zebra 1 1.0 t\n")
    with pytest.raises(InputFileError, match=r"x\.run:2: the data set has no document 'zebra'"):
        evaluate(folder, run=run)


def test_a_datasets_own_relevance_threshold_holds_where_a_measure_leaves_it_open(folder, tmp_path):
    topics, qrels = tmp_path / "t.tsv", tmp_path / "q.txt"
    topics.write_text("q1\tlobster\n")
    qrels.write_text("q1 0 b 1\nq1 0 a 2\n")
    dataset = from_trec_files(topics, qrels, corpus=str(folder), name="msmarco-passage/dl19")
    means = evaluate(dataset, encoder="bm25", measures=["MRR@10", "nDCG@10", "P(rel=1)@1"]).means
    assert list(means) == ["MRR(rel=2)@10", "nDCG@10", "P(rel=1)@1"]
    assert means["MRR(rel=2)@10"] == 0.5  # b comes first, but its grade is 1
    assert means["P(rel=1)@1"] == 1.0


def test_approximate_search_is_evaluated_at_the_depth_of_each_measure(folder, tmp_path, monkeypatch):
    depths = []
    ranked = Collection.rank

    def rank(self, queries, *, k, **options):
        depths.append(k)
        return ranked(self, queries, k=k, **options)

    monkeypatch.setattr(Collection, "rank", rank)
    run = tmp_path / "x.run"
    measures = ["MAP", "nDCG@10", "Recall@100"]
    result = evaluate(folder, encoder="bm25", measures=measures, run=run, search=SearchSettings(exact=False))
    assert depths == [10, 100, 1000]
    assert list(result.means) == measures
    assert (result.depth, run.exists()) == (1000, True)


PIPELINE = {"queries": [{"using": "default"}, {"using": "short"}], "weights": [1, 0.5]}


@pytest.fixture
def two_vectors(tmp_path):
    """A collection with two BM25 vectors, whose defaults fuse them."""
    vectors = {"default": VectorConfig("bm25"), "short": VectorConfig("bm25", {"k1": 0.2})}
    with Collection.create(tmp_path / "two", vectors=vectors, search=PIPELINE) as collection:
        collection.write([Document(key, text=text) for key, text in TEXTS.items()])
    return tmp_path / "two"


def test_a_pipeline_is_evaluated_and_stands_in_the_result(folder, two_vectors, tmp_path):
    run = tmp_path / "x.run"
    result = evaluate(folder, collection=two_vectors, search=SearchSettings(pipeline="default"), run=run).to_json()
    pipeline = result["settings"]["pipeline"]
    assert pipeline["queries"] == PIPELINE["queries"]
    assert (pipeline["weights"], pipeline["method"], pipeline["rescore"]) == ([1, 0.5], "scaled", None)
    assert set(result["settings"]["vectors"]) == {"default", "short"}
    assert (result["system"], result["settings"]["exact"], result["depth"]) == ("bm25", True, 1000)
    with Collection.open(two_vectors) as collection:
        hits = collection.search("maple syrup", exact=True, k=10).hits
    lines = [line.split() for line in run.read_text().splitlines() if line.startswith("q2 ")]
    assert [(line[2], float(line[4])) for line in lines] == [(hit.id, pytest.approx(hit.score)) for hit in hits]


def test_a_pipeline_is_searched_at_the_depth_of_each_measure(folder, two_vectors, monkeypatch):
    depths = []
    ranked = Collection.rank

    def rank(self, queries, *, k, **options):
        depths.append(k)
        return ranked(self, queries, k=k, **options)

    monkeypatch.setattr(Collection, "rank", rank)
    evaluate(folder, collection=two_vectors, search=SearchSettings(pipeline="default"))
    assert depths == [10, 100, 1000]


@pytest.mark.parametrize("when", ["before", "after", "both"])
@pytest.mark.parametrize("pipeline", ["default", None])
def test_feedback_is_evaluated_and_named(folder, two_vectors, when, pipeline):
    feedback = Feedback(docs=1, when=when)
    search = SearchSettings(pipeline=pipeline, feedback=feedback)
    result = evaluate(folder, collection=two_vectors, search=search, measures=["Recall@100"])
    assert result.system == f"bm25, feedback {when}"
    assert result.settings["feedback"]["when"] == when
    with Collection.open(two_vectors) as collection:
        using = {} if pipeline else {"using": "default"}
        hits = collection.search("lobster", exact=True, prf=feedback, **using).hits
        (ranked,) = collection.rank(["lobster"], prf=feedback, **(using or {"pipeline": "default"}))
    assert ranked[0] == [hit.id for hit in hits]
    assert ranked[1].tolist() == pytest.approx([hit.score for hit in hits])


def test_the_encoder_of_the_package_gets_its_whole_pipeline(folder, monkeypatch):
    made = []

    def index(corpus, target, *, vectors, **options):
        made.append(vectors)
        raise EvaluationError("enough")

    monkeypatch.setattr("eval.evaluate_system.index_corpus", index)
    for search in (SearchSettings(pipeline="default"), SearchSettings()):
        with pytest.raises(EvaluationError, match="enough"):
            evaluate(folder, encoder="lsr-mini", search=search)
    assert [list(vectors) for vectors in made] == [["default", "bm25", "meaning"], ["default"]]


def test_documents_below_the_rescored_ones_stay_below_them_in_a_run():
    ids = ["c", "b", "a", "d", "e"]
    found = descending(ids, np.float32([3.0, 1.0, 1.0, 2.0, 0.5]))
    assert rank("q", ids, found).doc_ids == ids
    assert found.tolist()[:2] == [3.0, 1.0]
    same = np.float32([3.0, 2.0, 2.0])
    assert descending(["c", "a", "b"], same).tolist() == same.tolist()


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ({"queries": [{"using": "splade"}]}, "vector 'splade' does not exist"),
        ({"queries": []}, "1 to 8"),
        ({"lists": []}, "unknown field 'lists'"),
        ({**PIPELINE, "weights": [0, 0]}, "not all 0"),
    ],
)
def test_a_pipeline_that_makes_no_sense_is_refused(folder, two_vectors, pipeline, words):
    with pytest.raises(QueryError, match=words):
        evaluate(folder, collection=two_vectors, search=SearchSettings(pipeline=pipeline))


def test_a_pipeline_reads_texts_alone(two_vectors, tmp_path):
    queries = [{"_id": "q", "sparse": {"lobster": 1.0}}]
    folder = write_folder(tmp_path / "vectors", queries=queries, qrels=[("q", "a", 1)])
    with pytest.raises(DatasetMismatch, match="has no text"):
        evaluate(folder, collection=two_vectors, search=SearchSettings(pipeline="default"))


def test_the_command_takes_a_pipeline_from_a_file(folder, two_vectors, tmp_path, capfd):
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({**PIPELINE, "method": "rrf"}))
    command = ["eval", str(two_vectors), "--dataset", str(folder), "--json", "--pipeline"]
    assert run_lsr([*command, str(path), "--feedback", "both"]) == 0
    settings = json.loads(capfd.readouterr().out)["settings"]
    assert (settings["pipeline"]["method"], settings["feedback"]["when"]) == ("rrf", "both")
    path.write_text("[1]")
    for arguments in ([str(path)], [str(tmp_path / "nowhere")], ["default", "--using", "short"]):
        assert run_lsr([*command, *arguments]) == 2
    assert run_lsr([*command, "default", "--efficiency"]) == 2
    assert "--efficiency" in capfd.readouterr().err


class FakeIrDataset:
    """The used part of what ir_datasets.load returns: BEIR-like records."""

    def has_docs(self):
        return True

    has_queries = has_qrels = has_docs

    def docs_count(self):
        return len(TEXTS)

    def docs_iter(self):
        record = namedtuple("Doc", "doc_id title text")
        return (record(key, "", text) for key, text in TEXTS.items())

    def queries_iter(self):
        record = namedtuple("Query", "query_id text")
        return (record(key, text) for key, text in QUERIES.items())

    def qrels_iter(self):
        record = namedtuple("Qrel", "query_id doc_id relevance iteration")
        return (record(*row, "0") for row in QRELS)


def test_an_ir_datasets_id_gives_the_same_values_as_the_folder(folder, monkeypatch):
    import ir_datasets

    loaded = []
    monkeypatch.setattr(ir_datasets, "load", lambda identifier: loaded.append(identifier) or FakeIrDataset())
    by_id = evaluate("nfcorpus", encoder="bm25")
    assert set(loaded) == {"beir/nfcorpus/test"}
    assert by_id.means == evaluate(folder, encoder="bm25").means
    assert "nfcorpus has 5 documents; the official number is 3,633" in by_id.warnings
