"""The input of training: pairs from each source, invalid lines by name, negatives, scores, batches, configuration."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from encoders.training.settings import Regulariser
from lsr.documents import Document
from lsr.errors import SettingsError
from lsr.training.adaptation import adaptation
from lsr.training.config import DataConfig, Sentence, find_folder, parse_config, read_config
from lsr.training.context import RunContext
from lsr.training.errors import DatasetUnavailable, TrainingDataError
from lsr.training.held_out import hold_out
from lsr.training.log import Log
from lsr.training.negatives import fill, mine_bm25, mine_dense
from lsr.training.pairs import Pairs, read_pairs, unlabelled
from lsr.training.sampling import PairSource, make_examples
from lsr.training.teachers import cached, sparse_scores
from lsr.training.unlabelled import query_and_text

MINIMAL: dict[str, Any] = {"model": {"backbone": "b"}, "data": [{"path": "p"}], "loss": {"infonce": 1.0}}


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def some_pairs(n: int = 12) -> Pairs:
    pairs = Pairs()
    for i in range(n):
        pairs.add(f"query about topic{i} shared", f"text on topic{i} and shared words number{i % 3}")
    return pairs


def test_pairs_come_from_json_lines_plain_and_compressed(tmp_path: Path) -> None:
    rows = [{"title": "a", "abstract": "one", "kind": "x"}, {"title": "b", "abstract": "two", "kind": "y"}]
    plain = write_lines(tmp_path / "pairs.jsonl", rows)
    packed = tmp_path / "pairs.jsonl.zst"
    packed.write_bytes(zstandard.compress(plain.read_bytes()))
    for path in (plain, packed):
        source = DataConfig(str(path), query=("title",), document=("title", "abstract"))
        assert read_pairs((source,)).documents == ["a one", "b two"]
        where = {"kind": ("z", "[xy]*")}
        filtered = DataConfig(str(path), query=("title",), document=("abstract",), where=where, limit=2)
        assert read_pairs((filtered,)).queries == ["a", "b"]
        other = DataConfig(str(path), query=("title",), document=("abstract",), where={"kind": ("y",)})
        assert read_pairs((other,)).queries == ["b"]
        assert read_pairs((DataConfig(str(path), query=("title",), document=("abstract",), limit=1),)).queries == ["a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"query": "q"}, "'text' is missing; the fields are query"),
        ({"text": "t"}, "'query' is missing"),
        ({"query": 3, "text": "t"}, "'query' is not a text but int"),
        ({"query": " ", "text": "t"}, "the query .* is empty"),
        ({"query": "q", "text": " "}, "the document .* is empty"),
        ('"just a text"\n', "not a JSON object"),
        ("{broken\n", "malformed JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: Any, message: str) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [{"query": "q", "text": "t"}, line, {"query": "r", "text": "u"}])
    with pytest.raises(TrainingDataError, match=f"pairs.jsonl:2: .*{message}"):
        read_pairs((DataConfig(str(path)),))


def test_a_file_without_pairs_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="it has no pair"):
        read_pairs((DataConfig(str(write_lines(tmp_path / "empty.jsonl", ["\n"]))),))
    with pytest.raises(TrainingDataError, match="hub:"):
        read_pairs((DataConfig(str(tmp_path / "nowhere")),))


def test_a_beir_folder_gives_its_judgements_and_keeps_other_documents_as_candidates(tmp_path: Path) -> None:
    write_lines(tmp_path / "corpus.jsonl", [{"_id": f"d{i}", "title": "t", "text": f"text {i}"} for i in range(3)])
    write_lines(tmp_path / "queries.jsonl", [{"_id": "q", "text": "question"}])
    (tmp_path / "qrels").mkdir()
    qrels = tmp_path / "qrels" / "train.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq\td1\t1\nq\td0\t0\n")
    pairs = read_pairs((DataConfig(str(tmp_path)),))
    assert (pairs.queries, [pairs.documents[i] for i in pairs.positives[0]]) == (["question"], ["t text 1"])
    assert sorted(pairs.documents) == ["t text 0", "t text 1", "t text 2"]
    qrels.write_text("q\td9\t1\n")
    with pytest.raises(TrainingDataError, match=r"train.tsv:1: there is no document 'd9'"):
        read_pairs((DataConfig(str(tmp_path)),))


def test_a_hub_data_set_without_its_package_or_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr("lsr.training.pairs.importlib.import_module", refuse)
    with pytest.raises(DatasetUnavailable, match="pip install datasets"):
        read_pairs((DataConfig("hub:some/set"),))

    class Offline:
        @staticmethod
        def load_dataset(*_: Any, **__: Any) -> Any:
            raise ConnectionError("no route to host")

    monkeypatch.setattr("lsr.training.pairs.importlib.import_module", lambda _: Offline)
    with pytest.raises(DatasetUnavailable, match=r"some/set.*no route to host.*Offline, download it"):
        read_pairs((DataConfig("hub:some/set"),))


def test_a_bare_corpus_gives_titles_or_first_sentences_that_are_not_in_the_text(tmp_path: Path) -> None:
    rest = "It is long enough to be of use to anybody who reads on until here."
    path = write_lines(
        tmp_path / "corpus.jsonl",
        [
            {"id": "1", "title": "A title of words", "text": rest},
            {"id": "2", "text": f"The first sentence asks. {rest}"},
            {"id": "3", "text": "Too short."},
        ],
    )
    pairs = read_pairs((unlabelled(str(path)),))
    assert pairs.queries == ["A title of words", "The first sentence asks."]
    assert pairs.documents == [rest, "Too short."]
    assert query_and_text(Document(id="x", title="two words", text=rest)) is None


def test_a_sentence_of_the_document_is_a_query_for_it_as_well_as_its_title(tmp_path: Path) -> None:
    text = "It begins like this. What stands between them is long enough for a document. So ends the claim."
    path = write_lines(
        tmp_path / "texts.jsonl",
        [{"title": "A title", "text": text}, {"title": "Another", "text": "Only one sentence here."}],
    )
    first, last = (read_pairs((DataConfig(str(path), ("title",), sentence=which),)) for which in Sentence)
    assert first.queries == ["A title", "It begins like this.", "Another"]
    assert last.queries == ["A title", "So ends the claim.", "Another"]
    assert first.documents == last.documents == [text, "Only one sentence here."]


def test_mined_negatives_are_near_the_query_and_never_its_answers() -> None:
    pairs = some_pairs()
    pairs.add("query about topic0 shared", "another text on topic0")
    mined = mine_bm25(pairs, 5)
    negatives = fill(pairs, [mined], seed=1)
    for query, row in enumerate(negatives.tolist()):
        assert len(set(row)) == 5
        assert not set(row) & set(pairs.positives[query])
    with pytest.raises(TrainingDataError, match="too few"):
        fill(pairs, [mine_bm25(pairs, 13)], seed=1)


def test_dense_negatives_are_the_nearest_that_do_not_answer() -> None:
    pairs = some_pairs(4)
    documents = np.eye(4, dtype=np.float16)
    queries = (np.eye(4) * 0.9 + np.roll(np.eye(4), 1, axis=1) * 0.4).astype(np.float16)
    assert mine_dense(pairs, queries, documents, 1)[:, 0].tolist() == [1, 2, 3, 0]


def test_a_teachers_scores_are_computed_once_and_a_damaged_cache_again(tmp_path: Path) -> None:
    calls = []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.arange(3)

    for _ in range(2):
        assert cached(tmp_path, "key", compute).tolist() == [0, 1, 2]
    assert len(calls) == 1
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(b"\x93NUMPY rubbish")
    assert cached(tmp_path, "key", compute).tolist() == [0, 1, 2]
    assert len(calls) == 2


def test_bm25_as_a_teacher_ranks_the_answer_first(tmp_path: Path) -> None:
    pairs = some_pairs()
    examples = make_examples(pairs, fill(pairs, [mine_bm25(pairs, 4)], seed=0))
    scores = sparse_scores("bm25", pairs, examples.queries, examples.candidates, "h", tmp_path, RunContext())
    assert scores.shape == (12, 5)
    assert (scores.argmax(axis=1) == 0).all()


def test_batches_depend_on_the_step_alone_and_an_epoch_takes_every_pair_once() -> None:
    pairs = some_pairs()
    pairs.add("query about topic0 shared", "a second answer")
    examples = make_examples(pairs, fill(pairs, [mine_bm25(pairs, 6)], seed=0))
    made = [PairSource(pairs, examples, batch_size=4, accumulation=1, per_query=2, seed=5) for _ in range(2)]
    later = made[1].batch(2, 0)
    batches = [made[0].batch(step, 0) for step in range(3)]
    assert later.queries == batches[2].queries
    assert np.array_equal(later.groups, batches[2].groups)
    first = {(b.queries[i], b.documents[b.groups[i, 0]]) for b in batches for i in range(4)}
    assert len(first) == 12  # of 13 examples
    for batch in batches:
        for row, query in enumerate(batch.queries):
            answers = {pairs.documents[i] for i in pairs.positives[pairs.queries.index(query)]}
            left_out = {text for text, out in zip(batch.documents, batch.excluded[row], strict=True) if out}
            assert left_out == (answers & set(batch.documents)) - {batch.documents[batch.groups[row, 0]]}
            assert not {batch.documents[i] for i in batch.groups[row, 1:]} & answers


def test_fewer_pairs_than_a_batch_are_refused() -> None:
    pairs = some_pairs(3)
    examples = make_examples(pairs, fill(pairs, [mine_bm25(pairs, 1)], seed=0))
    with pytest.raises(TrainingDataError, match="3 pairs are fewer than a batch of 4"):
        PairSource(pairs, examples, batch_size=4, accumulation=1, per_query=1, seed=5)


def test_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    pairs = some_pairs(30)
    left = hold_out(pairs, tmp_path, queries=5, documents=12, seed=3)
    held = [json.loads(line)["text"] for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    asked = [json.loads(line)["text"] for line in (tmp_path / "queries.jsonl").read_text().splitlines()]
    assert (len(held), len(asked), len(left.documents)) == (12, 5, 18)
    assert not set(held) & set(left.documents)
    assert not set(asked) & set(left.queries)
    with pytest.raises(TrainingDataError, match="too few to hold out"):
        hold_out(pairs, tmp_path / "all", queries=30, documents=30, seed=3)


def test_the_log_is_cut_where_a_resumed_run_begins(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    for step in (1, 2, 3):
        log.add({"step": step, "loss": 1 / 3})
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')
    log.cut(2)
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [
        {"step": 1, "loss": 0.333333},
        {"step": 2, "loss": 0.333333},
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"los": {}}, "unknown table 'los'; did you mean loss"),
        ({"steps": {"bach_size": 3}}, "'bach_size'; did you mean batch_size"),
        ({"steps": {"batch_size": 0}}, r"\[steps\] batch_size = 0 is out of range: at least 1"),
        ({"steps": {"learning_rate": float("nan")}}, "learning_rate = nan is out of range"),
        ({"steps": {"bf16": 1}}, "not true or false"),
        ({"loss": {"infonce": 1, "regulariser": "flop"}}, "is not one of none, flops"),
        ({"loss": {"kl": 1.0}}, "name one in"),
        ({"loss": {}}, "no ranking loss"),
        ({"data": []}, "there is no data"),
        ({"data": [{}]}, r"\[\[data\]\] 1 lacks path"),
        ({"data": [{"path": "p", "where": {"k": 3}}]}, "where.k = 3 is not a list"),
        ({"model": {}}, "either a backbone"),
        ({"negatives": {"bm25": 2, "per_query": 3}}, "only 2 are mined"),
        ({"negatives": {"dense": 2}}, "needs a dense teacher"),
        ({"evaluation": {"held_out": 10, "documents": 5}}, "below held_out"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_config({**MINIMAL, **change})


def test_a_configuration_is_read_with_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("")
    file = tmp_path / "c.toml"
    file.write_text(
        '[model]\nbackbone = "package:numpy/linalg"\n[[data]]\npath = "pairs.jsonl"\ndocument = "text"\n'
        '[loss]\ninfonce = 1\nregulariser = "l1"\n'
    )
    config = read_config(file)
    assert config.data[0].path == str(tmp_path / "pairs.jsonl")
    assert config.data[0].document == ("text",)
    assert config.loss.regulariser is Regulariser.L1
    assert find_folder("package:numpy/linalg").name == "linalg"
    with pytest.raises(SettingsError, match="not installed"):
        find_folder("package:no_such_package_here/model")
    file.write_text("[model\n")
    with pytest.raises(SettingsError, match=r"c.toml: not TOML"):
        read_config(file)


@pytest.mark.parametrize(
    ("count", "queries", "documents"), [(1200, 100, 240), (1000, 100, 200), (120, 24, 24), (20_000, 100, 1000)]
)
def test_an_adaptation_holds_out_a_fifth_of_the_corpus(
    tmp_path: Path, count: int, queries: int, documents: int
) -> None:
    evaluation = adaptation("corpus.jsonl", encoder="bm25", backbone=None, dense=None).evaluation
    pairs = Pairs()
    for number in range(count):
        pairs.add(f"query {number}", f"document {number}")
    left = hold_out(
        pairs,
        tmp_path,
        queries=evaluation.held_out,
        documents=evaluation.documents,
        share=evaluation.share,
        seed=1,
    )
    assert len(left.documents) == count - documents
    assert len((tmp_path / "queries.jsonl").read_text().splitlines()) == queries
    assert len((tmp_path / "corpus.jsonl").read_text().splitlines()) == documents
