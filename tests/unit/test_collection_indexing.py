"""The offline load: invalid lines are named and skipped, unfinished loads refused, resumed loads end the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lsr.collection import Collection, verify_collection
from lsr.corpora import Corpus, open_corpus
from lsr.errors import CollectionExists, CollectionNotFound, InvalidDocument, LsrError
from lsr.vectors import VectorConfig
from lsr.writing import bulk_load
from lsr.writing.bulk_load import index_corpus


def write_lines(path: Path, lines: list[object]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def some_documents(count: int) -> list[object]:
    generator = np.random.default_rng(3)
    words = [f"word{number}" for number in range(50)]
    return [
        {"id": f"d{number}", "text": " ".join(generator.choice(words, size=12)), "metadata": {"n": number}}
        for number in generator.permutation(count).tolist()
    ]


def test_bad_lines_are_named_and_the_good_ones_kept(tmp_path: Path) -> None:
    lines: list[object] = [
        {"id": "a", "text": "lobster"},
        "{no json",
        {"id": "a", "text": "the same id again"},
        {"id": "b", "text": ""},
        {"id": "c", "text": "roll", "metadata": {"year": "x"}},
        {"id": "d", "txet": "typo"},
    ]
    problems: list[tuple[int, str]] = []
    report = index_corpus(
        open_corpus(str(write_lines(tmp_path / "corpus.jsonl", lines))),
        tmp_path / "c",
        schema={"year": "int"},
        on_problem=lambda line, error: problems.append((line, error.code)),
    )
    assert (report.accepted, report.failed, report.empty, report.lines) == (2, 4, 1, 6)
    assert [line for line, _ in problems] == [2, 3, 5, 6]
    assert [code for _, code in problems][1:] == ["duplicate_id", "invalid_metadata", "unknown_field"]
    with Collection.open(tmp_path / "c") as collection:
        assert [hit.id for hit in collection.search("lobster").hits] == ["a"]
        assert collection.get("b") is not None


def test_a_load_measures_the_average_length_over_the_whole_corpus(tmp_path: Path) -> None:
    lines: list[object] = [{"id": "a", "text": "one two three four"}, {"id": "b", "text": "five six"}]
    index_corpus(open_corpus(str(write_lines(tmp_path / "corpus.jsonl", lines))), tmp_path / "c")
    with Collection.open(tmp_path / "c") as collection:
        assert collection.encoder().settings["average_length"] == 3.0


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_load, "BATCH_LINES", 16)
    monkeypatch.setattr(bulk_load, "SEGMENT_DOCUMENTS", 40)


class Interrupted(Exception):
    pass


class BreaksOff:
    """A corpus that raises after some lines, like Ctrl-C."""

    def __init__(self, corpus: Corpus, after: int) -> None:
        self._corpus = corpus
        self._after = after
        self.passes = 0
        self.name = corpus.name
        self.unit = corpus.unit
        self.size = corpus.size
        self.position = 0

    def identity(self) -> str | None:
        return self._corpus.identity()

    def __iter__(self) -> Iterator[object]:
        self.passes += 1
        for number, line in enumerate(self._corpus):
            if self.passes == 2 and number == self._after:  # the first pass measures
                raise Interrupted
            yield line


def contents(folder: Path) -> tuple[object, ...]:
    assert verify_collection(folder) == []
    with Collection.open(folder) as collection:
        segments = [
            (len(view.segment), [view.segment.documents.id(row) for row in range(len(view.segment))])
            for view in collection._state.generation.segments
        ]
        texts = [f"word{number} word{number + 1}" for number in range(20)]
        ranked = [(ids, scores.tolist()) for ids, scores in collection.rank(texts, k=20)]
        return segments, ranked, collection.encoder().fingerprint


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("after", [0, 15, 40, 47, 48, 100, 199])
def test_an_interrupted_load_is_not_a_collection_and_resumes_to_the_same_one(tmp_path: Path, after: int) -> None:
    lines = some_documents(200)
    lines.insert(150, lines[3])
    path = write_lines(tmp_path / "corpus.jsonl", lines)
    whole = index_corpus(open_corpus(str(path)), tmp_path / "whole")
    problems: set[int] = set()

    def note(line: int, error: InvalidDocument) -> None:
        problems.add(line)

    with pytest.raises(Interrupted):
        index_corpus(BreaksOff(open_corpus(str(path)), after), tmp_path / "c", on_problem=note)  # type: ignore[arg-type]
    with pytest.raises(CollectionNotFound, match="--resume"):
        Collection.open(tmp_path / "c")
    with pytest.raises(CollectionExists):
        index_corpus(open_corpus(str(path)), tmp_path / "c")
    report = index_corpus(open_corpus(str(path)), tmp_path / "c", resume=True, on_problem=note)
    assert (report.accepted, report.failed, report.lines) == (200, 1, 201)
    assert (report.accepted, report.segments) == (whole.accepted, whole.segments)
    assert problems == {151}
    assert contents(tmp_path / "c") == contents(tmp_path / "whole")
    again = index_corpus(open_corpus(str(path)), tmp_path / "c", resume=True)
    assert (again.accepted, again.failed) == (200, 1)


@pytest.mark.usefixtures("small_steps")
def test_a_load_is_not_resumed_with_another_corpus_encoder_or_schema(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "corpus.jsonl", some_documents(100))
    with pytest.raises(Interrupted):
        index_corpus(BreaksOff(open_corpus(str(path)), 60), tmp_path / "c")  # type: ignore[arg-type]
    with pytest.raises(LsrError, match="schema"):
        index_corpus(open_corpus(str(path)), tmp_path / "c", resume=True, schema={"n": "int"})
    with pytest.raises(LsrError, match="vectors"):
        index_corpus(open_corpus(str(path)), tmp_path / "c", resume=True, vectors={"x": VectorConfig(None)})
    write_lines(path, some_documents(99))
    with pytest.raises(LsrError, match="has changed"):
        index_corpus(open_corpus(str(path)), tmp_path / "c", resume=True)


@pytest.mark.parametrize("lines", [[], ["{", "}"], [{"id": "a"}, {"id": "b", "title": " "}]])
def test_a_corpus_without_text_makes_a_collection_without_terms(tmp_path: Path, lines: list[object]) -> None:
    path = write_lines(tmp_path / "corpus.jsonl", lines)
    report = index_corpus(open_corpus(str(path)), tmp_path / "c")
    assert report.accepted == report.empty
    assert verify_collection(tmp_path / "c") == []
    with Collection.open(tmp_path / "c", "w") as collection:
        assert collection.search("lobster").hits == ()
        collection.write([])
        assert collection.info().documents == report.accepted


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "corpus.jsonl", some_documents(3))
    with pytest.raises(CollectionExists, match="not empty"):
        index_corpus(open_corpus(str(path)), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["corpus.jsonl"]
