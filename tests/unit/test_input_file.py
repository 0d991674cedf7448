"""What can be read only once (a pipe, a FIFO, standard input) is read as a file is, by every reader, also twice."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array, save_npz

from eval.qrels import read_qrels
from eval.runs import read_run
from eval.sources.beir_folder import read_queries
from eval.sources.text_lines import content_hash
from eval.sources.trec_topics import read_topics
from lsr import comparing
from lsr.cli.running import run
from lsr.corpora import open_corpus
from lsr.errors import CorpusUnreadable
from lsr.input_file import is_read_once, open_input, shared_copies
from lsr.training.config import DataConfig
from lsr.training.pairs import read_pairs, unlabelled

JSONL = b'{"id":"a","title":"t","text":"a lobster roll"}\n{"id":"b","text":"sea"}\nbad\n'
WORDS = b"A lobster eats. In the harbour of the town it eats what the many boats lose at night.\n"


def corpus(format_name: str = "auto") -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        opened = open_corpus(str(path), format_name)
        first = [(line.line_number, str(line.content)) for line in opened]
        assert first == [(line.line_number, str(line.content)) for line in opened]
        return first, opened.size

    return read


def pairs(path: Path) -> Any:
    read = read_pairs((DataConfig(str(path)),))
    return read.queries, read.documents, read.positives


def parquet(tmp_path: Path) -> bytes:
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"]}), tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


def matrix(tmp_path: Path) -> bytes:
    save_npz(tmp_path / "made.npz", csr_array(np.eye(3, dtype=np.float32)))
    return (tmp_path / "made.npz").read_bytes()


def arrow(tmp_path: Path) -> bytes:
    table = pa.table({"id": ["a"], "tokens": [["x"]], "weights": pa.array([[1.0]], pa.list_(pa.float32()))})
    with pa.OSFile(str(tmp_path / "made.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return (tmp_path / "made.arrow").read_bytes()


READERS: dict[str, tuple[str, bytes | Callable[[Path], bytes], Callable[[Path], Any]]] = {
    "jsonl": ("c.jsonl", JSONL, corpus()),
    "jsonl.gz": ("c", gzip.compress(JSONL), corpus("jsonl")),
    "tsv": ("c.tsv", b"a\tlobster\nb\tsea\n", corpus()),
    "csv": ("c.csv", b'id,text\na,"lob\nster"\n', corpus()),
    "parquet": ("c.parquet", parquet, corpus()),
    "npz": ("c.npz", matrix, corpus()),
    "arrow": ("c.arrow", arrow, corpus()),
    "vectors": ("c.jsonl", b'{"id":1,"vector":{"x":1}}\n', corpus("vectors")),
    "qrels": ("q", b"q1 0 d1 1\n", read_qrels),
    "run": ("r", b"q1 Q0 d1 1 2.5 tag\n", lambda path: read_run(path).rankings["q1"].doc_ids),
    "topics": ("t", b"q1\tlobster\n", read_topics),
    "topics in JSON": ("t", b'{"_id":"q1","text":"lobster"}\n', read_topics),
    "topics in TREC's form": ("t", b"<top>\n<num> 1\n<title> lobster\n</top>\n", read_topics),
    "queries": ("q", b'{"_id":"q1","text":"lobster"}\n', read_queries),
    "queries to compare": ("q", b"q1\tlobster\n", lambda path: comparing.read_queries(path)),
    "pairs": ("p", b'{"query":"lobster","text":"a lobster roll"}\n', pairs),
    "unlabelled": (
        "c.jsonl",
        b'{"id":"a","text":"' + WORDS.strip() + b'"}\n',
        lambda p: read_pairs((unlabelled(str(p)),)).queries,
    ),
}


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Callable[[str, bytes], Path]]:
    """Make a FIFO into which a thread writes once."""
    writers = []

    def make(name: str, content: bytes) -> Path:
        path = tmp_path / "pipes" / name
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
        thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
        thread.start()
        writers.append(thread)
        return path

    yield make
    for thread in writers:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_read_as_a_file_is(
    tmp_path: Path, fifo: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "copies"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "copies").mkdir()
    file_name, content, read = READERS[name]
    data = content if isinstance(content, bytes) else content(tmp_path)
    (tmp_path / file_name).write_bytes(data)
    expected = read(tmp_path / file_name)
    assert expected
    assert read(fifo(file_name, data)) == expected
    assert list((tmp_path / "copies").iterdir()) == [], "a copy was left behind"


def test_two_readers_of_one_pipe_get_the_same(fifo: Callable[[str, bytes], Path]) -> None:
    path = fifo("c.jsonl", JSONL)
    assert is_read_once(path)
    with shared_copies():
        first, second = open_input(path), open_input(path)
        assert first.path.read_bytes() == second.path.read_bytes() == JSONL
        copy = first.path
    del first, second
    assert not copy.exists()
    assert content_hash([path]) is None


@pytest.mark.parametrize("mode", ["pipe", "file", "closed"])
def test_standard_input_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    if mode == "closed":
        monkeypatch.setattr("sys.stdin", None)
        with pytest.raises(CorpusUnreadable, match="stdin: it is closed"):
            open_corpus("-")
        return
    if mode == "pipe":
        read, write = os.pipe()
        os.write(write, JSONL)
        os.close(write)
        stream = os.fdopen(read)
    else:
        (tmp_path / "c").write_bytes(JSONL)
        stream = (tmp_path / "c").open()
    with stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert corpus()(Path("-"))[0] == corpus("jsonl")(_written(tmp_path))[0]


def _written(tmp_path: Path) -> Path:
    (tmp_path / "same.jsonl").write_bytes(JSONL)
    return tmp_path / "same.jsonl"


def test_a_command_reads_several_pipes(
    tmp_path: Path, fifo: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "--topics": b"q1\tlobster\n",
        "--qrels": b"q1 0 a 1\n",
        "--corpus.jsonl": b'{"id":"a","text":"a lobster"}\n{"id":"b","text":"sea"}\n',
    }
    given: list[list[str]] = [[], []]
    for option, content in files.items():
        (tmp_path / option[2:]).write_bytes(content)
        given[0] += [option.removesuffix(".jsonl"), str(tmp_path / option[2:])]
        given[1] += [option.removesuffix(".jsonl"), str(fifo(option[2:], content))]
    # efficiency opens the corpus for a second time
    for options in given:
        assert run(["eval", *options, "--encoder", "bm25", "--efficiency", "--measures", "nDCG@10"]) == 0
        assert "nDCG@10  1.0000" in capsys.readouterr().out
    (tmp_path / "run").write_text("q1 Q0 a 1 2.5 tag\nq1 Q0 nowhere 2 1.5 tag\n")
    assert run(["eval", *given[0], "--run", str(fifo("run", (tmp_path / "run").read_bytes()))]) == 2
    assert "run:2: the data set has no document 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_input_without_a_line_is_a_warning_and_with_strict_a_failure(
    tmp_path: Path, fifo: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    for at, command in enumerate(("index", "encode")):
        options = ["--encoder", "bm25", "--out", str(tmp_path / f"{command}.jsonl")]
        assert run([command, str(fifo(f"a{at}", content)), *options]) == 0
        assert "warning: " in (said := capsys.readouterr().err)
        assert "the input has no line" in said
        options[-1] = str(tmp_path / f"strict-{command}")
        assert run([command, str(fifo(f"b{at}", content)), "--strict", *options]) == 1
        assert "the input has no line" in capsys.readouterr().err
        assert not (tmp_path / f"strict-{command}").exists()


def test_strict_stops_at_the_first_refused_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.jsonl").write_bytes(JSONL)
    options = [str(tmp_path / "c.jsonl"), "--encoder", "bm25", "--out", str(tmp_path / "c")]
    assert run(["index", *options, "--strict"]) == 1
    assert "c.jsonl:3: malformed JSON" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    assert run(["index", *options]) == 4
