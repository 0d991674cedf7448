"""Cells, the leaderboard's table and formats, MTEB's format, and resumable evaluations."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser

import pytest

from eval import (
    SearchSettings,
    SystemSpec,
    build_table,
    evaluate_all,
    export_mteb,
    find_datasets,
    read_cells,
    to_csv,
    to_html,
    to_json,
    to_markdown,
    to_text,
)
from eval.catalogue import known_datasets
from eval.efficiency import latency
from eval.errors import EvaluationError, InputFileError
from eval.leaderboard.published import published_systems
from eval.sources.queries import Query
from lsr.collection import Collection
from lsr.documents import Document
from lsr.vectors import VectorConfig


def cell(folder, dataset, system, ndcg, settings=None, efficiency=None):
    """Write a cell with nDCG@10 of 8 queries around `ndcg`."""
    values = {f"q{i}": min(1.0, max(0.0, ndcg + (i - 3.5) / 100)) for i in range(8)}
    content = {
        "format": "lsr-result/1",
        "dataset": {"name": dataset, "split": "test", "queries": 8, "sha256": "0" * 64},
        "system": {"name": system, "settings": settings or {"fingerprint": "abc"}},
        "measures": {"nDCG@10": sum(values.values()) / 8, "MRR@10": ndcg},
        "intervals": {"nDCG@10": [ndcg - 0.05, ndcg + 0.05]},
        "per_query": {"nDCG@10": values, "MRR@10": dict.fromkeys(values, ndcg)},
        "efficiency": efficiency,
        "software": {"versions": {"lsr": "0.1.0"}, "commit": "abcdef"},
        "command": ["lsr", "eval"],
        "warnings": ["<script>alert(1)</script>"],
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{dataset.replace('/', '_')}--{system}.json"
    path.write_text(json.dumps(content))
    return path


THIRTEEN = [name for name, dataset in known_datasets().items() if dataset.mean_of_13]


def test_the_mean_over_13_needs_all_13(tmp_path):
    for name in THIRTEEN[:-1]:
        cell(tmp_path / "r", name, "mine", 0.4)
    incomplete = build_table(read_cells([tmp_path / "r"]))
    assert incomplete.rows[0].mean_of_13 is None
    cell(tmp_path / "r", THIRTEEN[-1], "mine", 0.53)
    complete = build_table(read_cells([tmp_path / "r"]))
    assert complete.rows[0].mean_of_13 == pytest.approx((12 * 0.4 + 0.53) / 13)


def test_cqadupstack_is_the_macro_average_of_its_12_forums(tmp_path):
    forums = known_datasets()["cqadupstack"].parts
    for position, name in enumerate(forums):
        cell(tmp_path / "r", name, "mine", 0.2 + position / 100)
    figures = build_table(read_cells([tmp_path / "r"])).rows[0].figures
    assert figures["cqadupstack"].value == pytest.approx(0.2 + 5.5 / 100)


def test_a_missing_cell_is_shown_as_missing_and_not_as_zero(tmp_path):
    cell(tmp_path / "r", "scifact", "a", 0.6)
    cell(tmp_path / "r", "nfcorpus", "b", 0.3)
    table = build_table(read_cells([tmp_path / "r"]), published=False)
    row = next(line for line in to_text(table).splitlines() if line.startswith("a"))
    assert row.split() == ["a", "–", ".600"]
    assert to_json(table)["rows"][0]["figures"]["nfcorpus"] is None


def test_differences_to_the_baseline_are_tested_and_marked(tmp_path):
    cell(tmp_path / "r", "scifact", "bm25", 0.5)
    cell(tmp_path / "r", "scifact", "better", 0.6)
    table = build_table(read_cells([tmp_path / "r"]))
    figure = next(row for row in table.rows if row.system == "better").figures["scifact"]
    assert table.baseline == "bm25"
    assert figure.delta == pytest.approx(0.1)
    assert figure.p == pytest.approx(2 / 2**8)  # 8 queries, all changed in the same direction: the exact p value
    assert ".600*" in to_text(table)


def test_published_figures_carry_their_source_and_not_zero_shot_marks(tmp_path):
    cell(tmp_path / "r", "scifact", "mine", 0.6)
    table = build_table(read_cells([tmp_path / "r"]))
    text = to_text(table)
    assert ".708†" in text
    assert "Pyserini, BEIR reproductions" in text
    assert all(row.source for row in table.rows if row.system != "mine")
    for form in (to_markdown(table), to_csv(table), to_html(table)):
        assert "OpenSearch doc-v3-distill" in form


def test_published_figures_are_left_out_of_a_measure_that_they_were_not_published_in(tmp_path):
    cell(tmp_path / "r", "scifact", "mine", 0.6)
    assert [row.system for row in build_table(read_cells([tmp_path / "r"]), measure="MRR@10").rows] == ["mine"]


def test_every_published_figure_has_a_source_a_known_data_set_and_a_plausible_value():
    for system in published_systems():
        assert system.source
        assert system.not_zero_shot <= set(known_datasets())
        for dataset, value in system.figures.items():
            assert dataset in known_datasets()
            assert 0.1 < value < 0.95


@pytest.mark.parametrize("name", ["BM25 flat", "BM25 multifield", "SPLADE++ ED"])
def test_the_published_mean_of_13_agrees_with_the_published_figures(name):
    system = next(system for system in published_systems() if system.name == name)
    mean = sum(system.figures[dataset] for dataset in THIRTEEN) / 13
    assert mean == pytest.approx(system.mean_of_13, abs=0.001)


def test_the_project_list_of_published_figures_is_all_there():
    listed = {
        "BM25 flat": [0.595, 0.322, 0.236, 0.397, 0.442, 0.149, 0.679, 0.789, 0.306],
        "BM25 multifield": [0.656, 0.325, 0.236, 0.414, 0.367, 0.158, 0.665, 0.789, 0.329],
        "SPLADE++ ED": [0.727, 0.347, 0.347, 0.527, 0.246, 0.159, 0.704, 0.834, 0.537],
        "SPLADE-v3": [0.730, 0.363, 0.380, 0.485, 0.309, 0.157, 0.714, 0.814, 0.584],
        "OpenSearch v2-distill": [0.775, 0.347, 0.374, 0.551, 0.278, 0.173, 0.722, 0.863, 0.561],
        "OpenSearch doc-v2-distill": [0.690, 0.343, 0.357, 0.496, 0.287, 0.166, 0.715, 0.841, 0.528],
        "OpenSearch doc-v2-mini": [0.709, 0.336, 0.338, 0.480, 0.285, 0.164, 0.699, 0.837, 0.510],
        "OpenSearch doc-v3-distill": [0.724, 0.345, 0.356, 0.520, 0.294, 0.163, 0.708, 0.863, 0.544],
    }
    columns = ["trec-covid", "nfcorpus", "fiqa", "arguana", "webis-touche2020", "scidocs", "scifact", "quora", "nq"]
    published = {system.name: system for system in published_systems()}
    for name, values in listed.items():
        assert [published[name].figures[column] for column in columns] == pytest.approx(values, abs=0.0011)


def test_csv_has_a_line_for_every_figure_with_all_digits(tmp_path):
    cell(tmp_path / "r", "scifact", "mine", 1 / 3)
    rows = list(csv.DictReader(to_csv(build_table(read_cells([tmp_path / "r"]))).splitlines()))
    assert float(rows[0]["value"]) == pytest.approx(1 / 3, abs=1e-15)
    assert {row["published"] for row in rows} == {"0", "1"}


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_with_plots_and_escapes_what_it_shows(tmp_path):
    curve = [{"query_cut": 4, "heap_factor": 0.9, "recall": 0.9, "search_p50_ms": 0.1, "search_p99_ms": 0.2}]
    efficiency = {
        "flops": 1.5,
        "latency": {"exact": {"search_p50_ms": 0.5}},
        "curve": [*curve, {"recall": 1.0, "exact": 1, "search_p50_ms": 0.5, "search_p99_ms": 0.9}],
    }
    cell(tmp_path / "r", "scifact", "<b>mine", 0.6, efficiency=efficiency)
    page = to_html(build_table(read_cells([tmp_path / "r"])))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []  # every tag is closed, in order
    assert tags.seen.count("svg") == 2
    assert tags.links == []  # the page loads nothing
    assert "<script" not in page
    assert "<b>mine" not in page
    assert not re.search(r"url\(|@import", page)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "malformed JSON"),
        ("[]", "is not a result"),
        ('{"format": "lsr-result/1"}', "'dataset' is missing"),
        ('{"format": "lsr-result/9"}', "is not a result"),
    ],
)
def test_a_file_that_is_not_a_cell_is_named(tmp_path, content, words):
    path = tmp_path / "scifact--x.json"
    path.write_text(content)
    with pytest.raises(InputFileError, match=words) as caught:
        read_cells([tmp_path])
    assert str(path) in str(caught.value)


def test_two_results_of_one_system_on_one_data_set_are_refused(tmp_path):
    cell(tmp_path / "a", "scifact", "mine", 0.6)
    cell(tmp_path / "b", "scifact", "mine", 0.7)
    with pytest.raises(InputFileError, match="second result of 'mine' on scifact"):
        read_cells([tmp_path / "a", tmp_path / "b"])


def test_an_unknown_baseline_names_the_systems(tmp_path):
    cell(tmp_path / "r", "scifact", "mine", 0.6)
    with pytest.raises(EvaluationError, match="there are results of mine"):
        build_table(read_cells([tmp_path / "r"]), baseline="bm25")


def test_results_over_different_queries_are_not_compared(tmp_path):
    cell(tmp_path / "r", "scifact", "bm25", 0.5)
    path = cell(tmp_path / "r", "scifact", "other", 0.6)
    content = json.loads(path.read_text())
    del content["per_query"]["nDCG@10"]["q0"]
    path.write_text(json.dumps(content))
    with pytest.raises(EvaluationError, match="different queries"):
        build_table(read_cells([tmp_path / "r"]))


def test_mteb_files_have_its_names_and_layout(tmp_path):
    cell(tmp_path / "r", "scifact", "mine", 0.6)
    (path,) = export_mteb(read_cells([tmp_path / "r"]), tmp_path / "mteb")
    assert path.relative_to(tmp_path / "mteb").as_posix() == "lsr__mine/abc/SciFact.json"
    content = json.loads(path.read_text())
    scores = content["scores"]["test"][0]
    assert content["task_name"] == "SciFact"
    assert scores["main_score"] == scores["ndcg_at_10"] == pytest.approx(0.6)
    assert scores["mrr_at_10"] == pytest.approx(0.6)
    # The fields that ModelMeta of mteb 2.26 requires, of which it accepts no others, and its form of a name.
    meta = json.loads((path.parent / "model_meta.json").read_text())
    assert meta["name"] == "lsr/mine"
    assert meta.keys() == {
        "loader", "name", "revision", "release_date", "languages", "n_parameters", "memory_usage_mb", "max_tokens",
        "embed_dim", "license", "open_weights", "public_training_code", "public_training_data", "framework",
        "similarity_fn_name", "use_instructions", "training_datasets", "model_type",
    }  # fmt: skip


@pytest.fixture
def datasets(tmp_path):
    for name in ("first", "second"):
        folder = tmp_path / "data" / name
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text('{"_id": "a", "text": "lobster"}\n{"_id": "b", "text": "roll"}\n')
        (folder / "queries.jsonl").write_text('{"_id": "1", "text": "lobster"}\n')
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    return tmp_path / "data"


def run_all(datasets, results, **options):
    outcomes = evaluate_all(find_datasets(datasets), [SystemSpec()], results, measures=["nDCG@10"], **options)
    return {outcome.dataset: outcome for outcome in outcomes}


def test_a_second_run_keeps_what_is_done_and_does_what_is_missing(datasets, tmp_path):
    results = tmp_path / "results"
    assert {o.status for o in run_all(datasets, results).values()} == {"done"}
    before = (results / "first--bm25.json").read_bytes()
    (results / "second--bm25.json").unlink()
    again = run_all(datasets, results)
    assert {name: outcome.status for name, outcome in again.items()} == {"first": "kept", "second": "done"}
    assert (results / "first--bm25.json").read_bytes() == before


def test_a_cell_of_other_data_or_a_truncated_one_is_computed_again(datasets, tmp_path):
    results = tmp_path / "results"
    run_all(datasets, results)
    with (datasets / "first" / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "c", "text": "more"}\n')
    half = (results / "second--bm25.json").read_bytes()[:200]
    (results / "second--bm25.json").write_bytes(half)
    assert {outcome.status for outcome in run_all(datasets, results).values()} == {"done"}
    assert read_cells([results])[0].content["dataset"]["documents"] == 3


def test_a_data_set_that_fails_does_not_stop_the_others(datasets, tmp_path):
    (datasets / "first" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n9\ta\t1\n")
    outcomes = run_all(datasets, tmp_path / "results")
    failed = next(outcome for outcome in outcomes.values() if outcome.status == "failed")
    assert "'9'" in failed.reason
    assert outcomes["second"].status == "done"


def test_a_cell_records_how_it_was_computed(datasets, tmp_path):
    outcome = run_all(datasets, tmp_path / "results", command=["lsr", "eval", "--all", "data"])["first"]
    content = outcome.cell.content
    assert content["command"] == ["lsr", "eval", "--all", "data"]
    assert len(content["dataset"]["sha256"]) == 64
    assert {"python", "numpy", "ranx"} <= set(content["software"]["versions"])
    assert content["system"]["settings"]["encoder"] == "bm25"
    assert content["machine"]["cores"] >= 1


def test_efficiency_is_measured_when_asked_for(datasets, tmp_path):
    outcome = run_all(datasets, tmp_path / "results", efficiency=True)["first"]
    figures = outcome.cell.efficiency
    assert (figures["query_terms"], figures["document_terms"]) == (1.0, 1.0)
    assert figures["flops"] == 0.5  # one query term, in one of two documents
    assert figures["approximate"]["recall@10_of_exact"] == 1.0
    assert figures["latency"]["exact"]["search_p50_ms"] > 0
    assert run_all(datasets, tmp_path / "results", efficiency=True)["first"].status == "kept"


def test_timed_searches_do_not_come_from_the_cache_of_answers(tmp_path):
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig("bm25")}) as collection:
        collection.write([Document("a", text="mountains"), Document("b", text="lobsters")])
        latency(collection, [Query("1", "lobsters")], SearchSettings())
        assert all(lookups.hits == 0 for lookups in collection.cache_counts().lookups)


def test_a_folder_without_data_sets_is_refused(tmp_path):
    with pytest.raises(InputFileError, match="no BEIR folders"):
        find_datasets(tmp_path)
