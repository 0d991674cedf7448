"""The corpus readers: the documents of each format; an invalid line is named and affects nothing else."""

from __future__ import annotations

import datetime
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lsr.corpora import Corpus, open_corpus
from lsr.corpora import line_source as line_source_module
from lsr.corpora.jsonl import JsonlCorpus
from lsr.corpora.line_source import LineSource
from lsr.documents import Document, SparseByToken
from lsr.errors import CorpusDamaged, CorpusUnreadable, InvalidDocument
from lsr.input_file import copy_of


def documents(corpus: Corpus) -> list[Document]:
    return [line.content for line in corpus if isinstance(line.content, Document)]


def problems(corpus: Corpus) -> dict[int, InvalidDocument]:
    return {line.line_number: line.content for line in corpus if isinstance(line.content, InvalidDocument)}


def write_jsonl(path: Path, count: int) -> bytes:
    data = b"".join(json.dumps({"id": f"d{i}", "text": f"text {i}"}).encode() + b"\n" for i in range(count))
    path.write_bytes(data)
    return data


HOSTILE = {
    2: (b'{"id":"a","text":NaN}', "malformed_json", "NaN"),
    3: (b'{"id":"b","metadata":{"x":Infinity}}', "malformed_json", "metadata.x"),
    4: (b'{"id":"c","id":"d"}', "malformed_json", "duplicate key"),
    5: (b'{"id":"e","metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "malformed_json", "nested"),
    6: (b'{"id":"f","text":"\xff\xfe"}', "malformed_json", "UTF-8"),
    7: (b'{"id":"g","text":"\\ud800"}', "malformed_json", "surrogate"),
    8: (b'{"id":"h\\u0000"}', "invalid_id", "NUL"),
    9: (b"this is not JSON", "malformed_json", "malformed"),
    10: (b"[1]", "not_an_object", "object"),
    11: (b'{"id":"i","txt":"typo"}', "unknown_field", "txt"),
    12: (b'{"id":"j","sparse":{"t":-1}}', "invalid_sparse", "sparse.t"),
    13: (b'{"text":"no id"}', "missing_id", "id"),
}


def test_each_hostile_line_is_named_and_the_good_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    lines = [b'{"id":"first"}', *(line for line, _, _ in HOSTILE.values()), b"", b'{"id":"last","text":"x"}']
    path.write_bytes(b"\n".join(lines))
    corpus = open_corpus(str(path))
    assert [document.id for document in documents(corpus)] == ["first", "last"]
    found = problems(corpus)
    assert found.keys() == HOSTILE.keys()
    for number, (_, code, words) in HOSTILE.items():
        assert found[number].code == code
        assert words in str(found[number])


def test_a_line_over_the_limit_is_named_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_source_module, "MAX_LINE_BYTES", 100)
    path = tmp_path / "c.jsonl"
    exact = b'{"id":"b","text":"' + b"x" * 79 + b'"}\n'
    assert len(exact) == 100
    path.write_bytes(b'{"id":"a","text":"' + b"x" * 1000 + b'"}\n' + exact + b'{"id":"c"}\n')
    corpus = open_corpus(str(path))
    assert [document.id for document in documents(corpus)] == ["b", "c"]
    assert problems(corpus)[1].code == "line_too_long"


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_files_are_known_by_content_read_twice_and_refused_when_cut_short(
    tmp_path: Path, compress: object
) -> None:
    data = write_jsonl(tmp_path / "plain.jsonl", 5_000)
    path = tmp_path / "c.jsonl"
    path.write_bytes(compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :]))  # type: ignore[operator]
    corpus = open_corpus(str(path))
    assert len(documents(corpus)) == len(documents(corpus)) == 5_000
    assert corpus.position == corpus.size == path.stat().st_size
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorpusDamaged, match=r"c\.jsonl.*after line \d"):
        documents(open_corpus(str(path)))


def test_a_byte_order_mark_and_crlf_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id":"a"}\r\n{"id":"b"}\r\n')
    assert [document.id for document in documents(open_corpus(str(path)))] == ["a", "b"]


def test_standard_input_can_be_read_twice_and_leaves_no_file_behind() -> None:
    source = LineSource(copy_of(io.BytesIO(b'{"id":"a"}\n{"id":"b"}\n')))
    spool = source.input.path
    corpus = JsonlCorpus("-", source)
    assert len(documents(corpus)) == len(documents(corpus)) == 2
    assert corpus.identity() is None
    del corpus, source
    assert not spool.exists()


def test_a_beir_folder_is_its_corpus_file(tmp_path: Path) -> None:
    with pytest.raises(CorpusUnreadable, match=r"no corpus\.jsonl"):
        open_corpus(str(tmp_path))
    (tmp_path / "corpus.jsonl").write_text('{"_id":"4983","title":"T","text":"x","metadata":{}}\n')
    assert documents(open_corpus(str(tmp_path))) == [Document("4983", title="T", text="x")]


def test_tsv_with_and_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    path.write_text('0\tquotes " stay\n1\tb\n2\n\n3\tc\td\n')
    corpus = open_corpus(str(path))
    assert documents(corpus) == [Document("0", text='quotes " stay'), Document("1", text="b")]
    assert {number: error.code for number, error in problems(corpus).items()} == {
        3: "wrong_columns",
        5: "wrong_columns",
    }
    path.write_text("docid\turl\ttitle\ttext\nD1\thttp://x\tT\tbody\n")
    assert documents(open_corpus(str(path))) == [
        Document("D1", title="T", text="body", metadata={"url": "http://x"}),
    ]


def test_parquet_columns_become_fields_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    rows = [
        {"_id": 7, "text": "a", "at": datetime.date(2020, 1, 2), "score": 0.5},
        {"_id": None, "text": "b", "at": None, "score": 1.0},
        {"_id": 9, "text": "c", "at": None, "score": float("nan")},
        {"_id": 10, "text": "d", "at": None, "score": float("inf")},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    corpus = open_corpus(str(path))
    assert documents(corpus) == [
        Document("7", text="a", metadata={"at": "2020-01-02", "score": 0.5}),
        Document("9", text="c"),  # NaN is no value
    ]
    assert {number: error.code for number, error in problems(corpus).items()} == {2: "invalid_id", 4: "invalid_field"}
    assert (corpus.unit, corpus.size, corpus.position) == ("documents", 4, 4)
    path.write_bytes(b"no parquet")
    with pytest.raises(CorpusUnreadable, match=r"c\.parquet"):
        open_corpus(str(path))


def test_vectors_are_read_in_the_three_spellings_and_a_line_without_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(
        '{"id":"a","sparse":{"t":1.5}}\n'
        '{"id":0,"content":"x","vector":{"t":1.5}}\n'
        '{"id":"c","contents":"y","vector":{"t":150}}\n'
        '{"id":"d","text":"x"}\n'
    )
    corpus = open_corpus(str(path), "vectors")
    assert documents(corpus) == [
        Document("a", vectors={"default": SparseByToken({"t": 1.5})}),
        Document("0", text="x", vectors={"default": SparseByToken({"t": 1.5})}),
        Document("c", text="y", vectors={"default": SparseByToken({"t": 150.0})}),
    ]
    assert problems(corpus)[4].code == "missing_vector"


def test_passages_are_slices_of_the_text_and_know_their_parent(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(
        '{"id":"a","title":"T","text":" one  two\\nthree four five ","metadata":{"y":1}}\n'
        '{"id":"b"}\n'
        '{"id":"v","sparse":{"t":1}}\n'
    )
    corpus = open_corpus(str(path), chunk=2)
    assert documents(corpus) == [
        Document("a#1", title="T", text="one  two", parent="a", metadata={"y": 1}),
        Document("a#2", title="T", text="three four", parent="a", metadata={"y": 1}),
        Document("a#3", title="T", text="five", parent="a", metadata={"y": 1}),
        Document("b#1", parent="b"),
    ]
    assert problems(corpus)[3].code == "cannot_chunk"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.jsonl", "no such file"),
        ("file.xyz", "--format"),
        ("ir-datasets:beir/scifcat", "beir/scifact"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.xyz").write_text("x")
    with pytest.raises(CorpusUnreadable, match=words):
        open_corpus(spec)
