"""Readers of qrels, topics, runs and BEIR folders: what they accept, and how they report what they refuse."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import zstandard

from eval.dataset import from_trec_files, open_dataset
from eval.errors import DatasetMismatch, DatasetUnavailable, InputFileError, UnknownDataset
from eval.qrels import read_qrels
from eval.ranking import Ranking
from eval.runs import read_run, run_writer
from eval.sources.beir_folder import read_queries
from eval.sources.trec_topics import read_encoded_topics, read_topics
from lsr.errors import describe


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def beir_folder(folder, queries=("1", "2"), qrels=(("1", "d1", 1), ("2", "d2", 1)), split="test"):
    write(folder / "corpus.jsonl", *(json.dumps({"_id": f"d{i}", "title": "", "text": f"word{i}"}) for i in range(4)))
    write(folder / "queries.jsonl", *(json.dumps({"_id": q, "text": f"word{q}"}) for q in queries))
    rows = ("\t".join(map(str, row)) for row in qrels)
    write(folder / "qrels" / f"{split}.tsv", "query-id\tcorpus-id\tscore", *rows)
    return folder


def test_trec_and_beir_qrels_give_the_same_judgements(tmp_path):
    trec = write(tmp_path / "a.qrels", "1 0 d1 2", "1 Q0 d2 -1", "2\t0\td1\t0")
    beir = write(tmp_path / "b.tsv", "query-id\tcorpus-id\tscore", "1\td1\t2", "1\td2\t-1", "2\td1\t0")
    assert read_qrels(trec) == read_qrels(beir) == {"1": {"d1": 2, "d2": -1}, "2": {"d1": 0}}


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (["1 0 d1 1", "1 d2 1"], 2, "3 columns"),
        (["1 0 d1 yes"], 1, "'yes' is not an integer"),
        (["1 0 d1 1", "", "1 0 d1 2"], 3, "the grade 2 here, but 1 above"),
        (["query-id\tcorpus-id\tscore", "1\td1"], 2, "2 columns"),
        (["", " "], None, "contains no judgements"),
    ],
)
def test_bad_qrels_are_named_with_file_and_line(tmp_path, lines, line, words):
    path = write(tmp_path / "bad.qrels", *lines)
    with pytest.raises(InputFileError, match=words) as caught:
        read_qrels(path)
    assert caught.value.line == line
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 Q0 d1 1 0.5", "5 columns"),
        ("1 Q0 d1 1 nan tag", "'nan' is not a number"),
        ("1 Q0 d1 1 inf tag", "'inf' is not a number"),
        ("1 Q0 d1 1 high tag", "'high' is not a number"),
        ("9 Q0 d1 1 0.5 tag", "no query '9'"),
        ("1 Q0 d9 1 0.5 tag", "no document 'd9'"),
        ("1 Q0 d0 1 0.5 tag", "'d0' occurs twice"),
    ],
)
def test_a_bad_line_of_a_run_is_named_with_file_and_line(tmp_path, line, words):
    path = write(tmp_path / "x.run", "1 Q0 d0 1 0.9 tag", line)
    with pytest.raises(InputFileError, match=words) as caught:
        read_run(path, query_ids={"1"}, unknown_ids={"d9"})
    assert caught.value.line == 2
    assert str(path) in str(caught.value)


def test_a_run_read_back_is_the_run_that_was_written(tmp_path):
    scores = np.array([0.1, 0.1, 1e-8], dtype=np.float32)
    with run_writer(tmp_path / "x.run", "my system") as writer:
        writer.write(Ranking("q1", ["b", "c", "a"], scores))
    run = read_run(tmp_path / "x.run")
    assert run.tag == "my-system"
    assert list(run.rankings["q1"].doc_ids) == ["b", "c", "a"]
    assert run.rankings["q1"].scores.astype(np.float32).tolist() == scores.tolist()


def test_a_run_that_is_interrupted_leaves_no_file(tmp_path):
    def interrupted():
        with run_writer(tmp_path / "x.run", "t") as writer:
            writer.write(Ranking("q1", ["b"], np.ones(1)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_ordered_by_score_and_not_by_its_rank_column(tmp_path):
    path = write(tmp_path / "x.run", "q Q0 a 1 0.1 t", "q Q0 c 2 0.7 t", "q Q0 b 3 0.7 t")
    assert list(read_run(path).rankings["q"].doc_ids) == ["b", "c", "a"]
    assert list(read_run(path, ties="trec_eval").rankings["q"].doc_ids) == ["c", "b", "a"]


def test_topics_are_read_from_tabs_and_from_trec_blocks(tmp_path):
    tabs = write(tmp_path / "a.tsv", "1\tlobster roll", "2\tpancake")
    blocks = write(
        tmp_path / "b.txt",
        "<top>", "<num> Number: 1", "<title> lobster", " roll", "<desc> Description:", "about it", "</top>",
        "<top>", "<num> 2 </num>", "<title>pancake</title>", "</top>",
    )  # fmt: skip
    expected = {"1": "lobster roll", "2": "pancake"}
    assert {q.id: q.text for q in read_topics(tabs).values()} == expected
    assert {q.id: q.text for q in read_topics(blocks).values()} == expected


def test_encoded_topics_count_repeated_word_pieces_as_weights(tmp_path):
    path = write(tmp_path / "a.tsv", "7\tlobster lobster ##s roll")
    assert read_encoded_topics(path)["7"].sparse.weights == {"lobster": 2.0, "##s": 1.0, "roll": 1.0}


@pytest.mark.parametrize("lines", [["1 no tab"], ["1\ta", "1\tb"], [], ["<top>", "<title> x", "</top>"], ["<top>"]])
def test_bad_topics_are_refused(tmp_path, lines):
    with pytest.raises(InputFileError):
        read_topics(write(tmp_path / "t", *lines))


@pytest.mark.parametrize(
    "compress", [lambda data: (".gz", gzip.compress(data)), lambda data: (".zst", zstandard.compress(data))]
)
def test_compressed_files_are_read_and_one_cut_short_is_refused(tmp_path, compress):
    suffix, data = compress(b"".join(b"q%d 0 d1 1\n" % i for i in range(500)))
    path = tmp_path / f"q{suffix}"
    path.write_bytes(data)
    assert len(read_qrels(path)) == 500
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFileError, match=path.name):
        read_qrels(path)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    path = tmp_path / "q"
    path.write_bytes(b"1 0 d1 1\n1 0 d\xff 1\n")
    with pytest.raises(InputFileError, match="not UTF-8"):
        read_qrels(path)


def test_a_beir_folder_is_opened_with_its_test_split(tmp_path):
    dataset = open_dataset(beir_folder(tmp_path / "mine"))
    assert (dataset.name, dataset.split) == ("mine", "test")
    assert [query.text for query in dataset.judged_queries()] == ["word1", "word2"]
    assert len(dataset.data_hash()) == 64


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(InputFileError, match="no split 'test'; the splits are dev"):
        open_dataset(beir_folder(tmp_path / "mine", split="dev"))


def test_judgements_of_queries_that_are_not_there_are_a_mismatch(tmp_path):
    folder = beir_folder(tmp_path / "mine", qrels=(("1", "d1", 1), ("77", "d2", 1)))
    with pytest.raises(DatasetMismatch, match=r"'77'.*same split"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "malformed JSON"),
        ('{"text": "x"}', "_id must be a non-empty string"),
        ('{"_id": "1", "text": 3}', "text must be a string"),
        ('{"_id": "3"}', "neither text nor sparse"),
        ('{"_id": "1", "text": "again"}', "occurs twice"),
        ('{"_id": "3", "sparse": {"a": -1}}', "sparse"),
        ("[1]", "a query must be a JSON object"),
    ],
)
def test_a_bad_query_is_named_with_file_and_line(tmp_path, line, words):
    folder = beir_folder(tmp_path / "mine")
    write(folder / "queries.jsonl", '{"_id": "1", "text": "x"}', line)
    with pytest.raises(InputFileError, match=words) as caught:
        open_dataset(folder)
    assert caught.value.line == 2


def test_a_dataset_id_with_a_typo_names_the_nearest():
    with pytest.raises(UnknownDataset, match="beir/scifact/test"):
        open_dataset("beir/scifct/test")


def test_a_dataset_of_parts_says_so():
    with pytest.raises(UnknownDataset, match="mean over 12"):
        open_dataset("cqadupstack")


def test_counts_that_are_not_the_official_ones_are_a_warning(tmp_path):
    dataset = open_dataset(beir_folder(tmp_path / "scifact"))
    assert dataset.warnings == (
        "scifact (test) has 2 judged queries; the official number is 300",
        "scifact (test) has 2 judgements; the official number is 339",
    )


def test_plain_topics_and_qrels_make_a_dataset(tmp_path):
    topics = write(tmp_path / "topics.x.tsv", "1\ta", "2\tb", "3\tunjudged")
    qrels = write(tmp_path / "qrels.x.txt", "1 0 d1 1", "2 0 d1 0")
    dataset = from_trec_files(topics, qrels)
    assert dataset.name == "x"
    assert [query.id for query in dataset.judged_queries()] == ["1", "2"]


def test_a_dataset_that_cannot_be_downloaded_says_so_and_is_not_a_usage_error(monkeypatch):
    import ir_datasets

    class CutShort:
        def has_queries(self):
            return True

        has_qrels = has_queries

        def queries_iter(self):
            raise OSError("connection broken after 1,024 of 2,048 bytes")

    monkeypatch.setattr(ir_datasets, "load", lambda identifier: CutShort())
    with pytest.raises(DatasetUnavailable, match="1,024 of 2,048 bytes") as caught:
        open_dataset("beir/scifact/test")
    assert describe(caught.value).exit_code == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("q1 0 d1 1_0", r"2: the grade '1_0' is not an integer.*correct or remove the line"),
        ("q1 0 d1 ١", "2: the grade"),
        ("q1 0 d1 1.0", "2: the grade"),
        ("# judged in May", "2: qrels have no comments; remove the line"),
    ],
)
def test_a_line_that_is_no_judgement_is_named_with_what_to_do(tmp_path, line, words):
    (tmp_path / "q").write_text(f"q1 0 d0 +1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=words):
        read_qrels(tmp_path / "q")


def test_a_json_array_of_queries_is_named_as_one(tmp_path):
    (tmp_path / "q").write_text('[{"_id":"q1","text":"x"}]\n')
    for read in (read_topics, read_queries):
        with pytest.raises(InputFileError, match=r"JSON array.*jq"):
            read(tmp_path / "q")
