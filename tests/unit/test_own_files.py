"""A user's own files: JSON lines with flat fields, CSV, tables with other names; what is refused says why."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lsr.cli.corpus_options import STOP_AFTER
from lsr.cli.running import run
from lsr.collection import Collection
from lsr.corpora import Corpus, Fields, open_corpus
from lsr.corpora.schema_guess import guess_schema
from lsr.documents import Document, SparseByToken
from lsr.errors import CorpusUnreadable, InvalidDocument

ROWS: list[dict[str, Any]] = [
    {
        "nr": 7,
        "head": "Lobster",
        "body": "a roll",
        "more": None,
        "year": 2020,
        "tags": ["a", "b"],
        "when": "2020-01-31",
    },
    {"nr": 8, "head": None, "body": "sea", "more": "salt", "year": 1.5, "tags": [], "when": "2021-02-01T09:30:00Z"},
]
FIELDS = Fields(id="nr", title="head", text=("body", "more"), metadata="rest")
DOCUMENTS = [
    Document("7", "Lobster", "a roll", metadata={"year": 2020, "tags": ["a", "b"], "when": "2020-01-31"}),
    Document("8", "", "sea\nsalt", metadata={"year": 1.5, "tags": [], "when": "2021-02-01T09:30:00Z"}),
]


def documents(corpus: Corpus) -> list[Document]:
    found = [line.content for line in corpus]
    assert [str(one) for one in found] == [str(line.content) for line in corpus], "a second pass differs"
    return [one for one in found if isinstance(one, Document)]


def problems(corpus: Corpus) -> list[tuple[int, str, str | None]]:
    return [
        (line.line_number, line.content.code, line.content.field)
        for line in corpus
        if isinstance(line.content, InvalidDocument)
    ]


def jsonl(path: Path, rows: list[dict[str, Any]] | None = None) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS))
    return str(path)


# --- which fields


def test_flat_json_lines(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl")
    assert documents(open_corpus(path, fields=FIELDS)) == DOCUMENTS
    some = Fields(id="nr", text=("body",), metadata=("year", "absent"))
    assert documents(open_corpus(path, fields=some))[1] == Document("8", text="sea", metadata={"year": 1.5})
    nothing = Fields(id="@row", title="head", metadata=())
    assert documents(open_corpus(path, fields=nothing)) == [Document("1", "Lobster"), Document("2", "")]


def test_fields_of_our_own_stay(tmp_path: Path) -> None:
    row = {"id": 1, "body": "x", "metadata": {"a": 1}, "b": 2, "parent": "p", "sparse": {"t": 1}}
    path = jsonl(tmp_path / "c.jsonl", [row])
    (document,) = documents(open_corpus(path, fields=Fields(text=("body",), metadata="rest")))
    vectors = {"default": SparseByToken({"t": 1.0})}
    assert document == Document("1", "", "x", "p", {"a": 1, "b": 2}, vectors)


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"head": "x"}, "missing_id", "nr"),
        ({"nr": None, "body": "x"}, "invalid_id", "nr"),
        ({"nr": 1.5, "body": "x"}, "invalid_id", "id"),
        ({"nr": True, "body": "x"}, "invalid_id", "id"),
        ({"nr": 1, "title": "x"}, "missing_field", "head"),
        ({"nr": 1, "body": {"a": 1}}, "invalid_field", "body"),
        ({"nr": 1, "body": [1]}, "invalid_field", "body"),
        ({"nr": 1, "body": "x", "metadata": 1}, "invalid_field", "metadata"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(tmp_path: Path, row: dict[str, Any], code: str, field: str) -> None:
    corpus = open_corpus(jsonl(tmp_path / "c.jsonl", [row, ROWS[0]]), fields=FIELDS)
    assert problems(corpus) == [(1, code, field)]
    assert len(documents(corpus)) == 1


def test_without_metadata_another_field_is_refused(tmp_path: Path) -> None:
    corpus = open_corpus(jsonl(tmp_path / "c.jsonl"), fields=Fields(id="nr", text=("body",)))
    assert problems(corpus) == [(1, "unknown_field", "head"), (2, "unknown_field", "head")]


# --- CSV and TSV


CSV = 'nr,Head,body,year,ok,when\r\n1,"Lob, ster","line one\nsaid ""x""",2020,true,2020-01-31\r\n\r\n2,,b,,False,\r\n'


@pytest.mark.parametrize("text", [CSV, "\ufeff" + CSV, CSV.replace("Lob, ster", "Lob; ster")])
def test_csv_with_quotes_and_line_ends(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.csv").write_text(text, newline="")
    fields = Fields(id="nr", title="Head", text=("body",), types={"year": "int", "ok": "bool"})
    first, second = documents(open_corpus(str(tmp_path / "c.csv"), fields=fields))
    metadata = {"year": 2020, "ok": True, "when": "2020-01-31"}
    assert first == Document("1", text.split('"')[1], 'line one\nsaid "x"', metadata=metadata)
    assert second == Document("2", text="b", metadata={"ok": False})


def test_csv_with_semicolons(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text('id;text;price\n1;"a;b";1,5\n')
    assert documents(open_corpus(str(tmp_path / "c.csv"))) == [Document("1", text="a;b", metadata={"price": "1,5"})]


def test_bad_records_of_a_csv_are_named_by_their_first_line(tmp_path: Path) -> None:
    content = b'id,text\n1,"a\nb"\n2,x,y\n3,\xff\n4,a"b"c\n"5,"x"y\n6,z\n'
    (tmp_path / "c.csv").write_bytes(content)
    corpus = open_corpus(str(tmp_path / "c.csv"))
    assert [document.id for document in documents(corpus)] == ["1", "4", "6"]
    found = [(number, code) for number, code, _ in problems(corpus)]
    assert found == [(4, "wrong_columns"), (5, "invalid_utf8"), (7, "malformed_csv")]


@pytest.mark.parametrize(
    ("header", "words"),
    [("nr,text", "--id"), ("id,body", "--text"), ("id,text,id", "twice"), ("nr;body", "its columns are nr, body")],
)
def test_a_header_that_does_not_do_says_which_option_would(tmp_path: Path, header: str, words: str) -> None:
    (tmp_path / "c.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(CorpusUnreadable, match=words):
        open_corpus(str(tmp_path / "c.csv"))


def test_tsv_with_named_columns_and_types(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text('nr\tbody\tyear\ttags\n1\tx\t2020\t["a"]\n2\ty\tunknown\tb\n')
    fields = Fields(id="nr", text=("body",), types={"year": "int", "tags": "keyword[]"})
    first, second = documents(open_corpus(str(tmp_path / "c.tsv"), fields=fields))
    assert first.metadata == {"year": 2020, "tags": ["a"]}
    assert second.metadata == {"year": "unknown", "tags": ["b"]}  # the collection refuses it, with its type


# --- tables


def table() -> pa.Table:
    rows = [{**row, "year": float(row["year"]), "at": datetime.datetime(2020, 1, 2, 3)} for row in ROWS]
    return pa.Table.from_pylist(rows)


def saved_dataset(folder: Path, tables: list[pa.Table]) -> Path:
    """Write what `datasets.Dataset.save_to_disk` writes: Arrow streams, and their names in state.json."""
    folder.mkdir(parents=True)
    names = [f"data-{at:05}-of-{len(tables):05}.arrow" for at in range(len(tables))]
    for name, one in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, one.schema) as writer:
            writer.write_table(one)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", ["parquet", "folder of Parquet", "data set", "split", "stream", "file"])
def test_tables_in_every_form(tmp_path: Path, kind: str) -> None:
    one = table()
    path = tmp_path / "data"
    if kind == "parquet":
        path = tmp_path / "c.parquet"
        pq.write_table(one, path)
    elif kind == "folder of Parquet":
        path.mkdir()
        for at in range(2):
            pq.write_table(one.slice(at, 1), path / f"train-{at}.parquet")
    elif kind == "data set":
        saved_dataset(path, [one.slice(0, 1), one.slice(1)])
    elif kind == "split":
        saved_dataset(path / "train", [one])
        (path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    else:
        path = tmp_path / "c.arrow"
        new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as file, new(file, one.schema) as writer:
            writer.write_table(one)
    corpus = open_corpus(str(path), fields=FIELDS)
    expected = [
        Document(
            d.id,
            d.title,
            d.text,
            metadata={**d.metadata, "year": float(d.metadata["year"]), "at": "2020-01-02T03:00:00"},
        )
        for d in DOCUMENTS
    ]
    assert documents(corpus) == expected
    assert (corpus.size, corpus.position, corpus.unit) == (2, 2, "documents")
    assert corpus.identity()


def test_several_splits_are_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        saved_dataset(tmp_path / "d" / split, [table()])
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(CorpusUnreadable, match=r"several splits.*d/train, .*d/test"):
        open_corpus(str(tmp_path / "d"), fields=FIELDS)


def test_one_bad_cell_of_a_table_refuses_its_row_only(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"\xff\xfe", b"also", b"good"]).view(pa.string())
    made = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "text": texts,
            "price": [1.5, 2.5, float("nan"), float("inf")],
            "blob": pa.array([None, None, None, b"\x00"], pa.binary()),
            "at": pa.array([1_000, 2, 3, 4], pa.timestamp("ns")),
            "exact": pa.array(["19.99", "1", "12345678901234567", "1"]).cast(pa.decimal128(38, 2)),
        }
    )
    pq.write_table(made, tmp_path / "c.parquet")
    saved_dataset(tmp_path / "d", [made])
    for path in (tmp_path / "c.parquet", tmp_path / "d"):
        corpus = open_corpus(str(path))
        assert problems(corpus) == [(2, "invalid_utf8", "text"), (4, "invalid_field", "price")]
        first, third = documents(corpus)
        assert first.metadata == {"price": 1.5, "at": "1970-01-01T00:00:00.000001", "exact": 19.99}
        time = "1970-01-01T00:00:00.000000003"
        assert third.metadata == {"at": time, "exact": 12345678901234567}, "NaN is no value"
        chosen = open_corpus(str(path), fields=Fields(metadata=("at",)))
        assert problems(chosen) == [(2, "invalid_utf8", "text")], "a column that is not used is not read"


def test_a_decimal_that_no_float_holds_is_refused_by_its_column(tmp_path: Path) -> None:
    numbers = pa.array(["0.1234567890123456789", "0.5"]).cast(pa.decimal128(38, 19))
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"], "n": numbers}), tmp_path / "c.parquet")
    corpus = open_corpus(str(tmp_path / "c.parquet"))
    assert problems(corpus) == [(1, "invalid_field", "n")]
    assert documents(corpus)[0].metadata == {"n": 0.5}


def test_one_bad_string_of_an_arrow_file_of_vectors_refuses_its_row_only(tmp_path: Path) -> None:
    made = pa.table(
        {
            "id": pa.array([b"a", b"\xff", b"c"]).view(pa.string()),
            "tokens": [["x"], ["y"], ["z"]],
            "weights": pa.array([[1.0], [1.0], [float("nan")]], pa.list_(pa.float32())),
            "metadata": [{"n": float("nan")}, {"n": 1.0}, {"n": 1.0}],
        }
    )
    with pa.OSFile(str(tmp_path / "v.arrow"), "wb") as file, pa.ipc.new_file(file, made.schema) as writer:
        writer.write_table(made)
    corpus = open_corpus(str(tmp_path / "v.arrow"))
    assert problems(corpus) == [(2, "invalid_utf8", "id"), (3, "invalid_sparse", "sparse.z")]
    (document,) = documents(corpus)
    assert (document.id, document.metadata) == ("a", {})


# --- a guessed schema


def test_a_schema_is_guessed_from_all_values(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"int": 1, "float": 1, "bool": True, "date": "2020-01-31", "word": "x", "words": ["x"], "mixed": 1, "late": 1},
        {"int": 2, "float": 1.5, "bool": None, "date": "2020-01-31T09:30:00Z", "word": "2020-01-31", "words": []},
        {"mixed": "x", "object": {"a": 1}, "numbers": [1], "long": "x" * 300, "two words": 1, "large": 2**64 - 1},
    ]
    rows += [{"int": 3}] * 50 + [{"late": "x"}]
    lines = [{"id": str(at), "text": "x", **row} for at, row in enumerate(rows)]
    guessed = guess_schema(
        open_corpus(jsonl(tmp_path / "c.jsonl", lines), fields=Fields(metadata="rest")), text_cells=False
    )
    assert guessed.fields == {
        "int": "int", "float": "float", "bool": "bool", "date": "date", "word": "keyword", "words": "keyword[]",
        "large": "float",
    }  # fmt: skip
    assert set(guessed.left_out) == {"mixed", "late", "object", "numbers", "long", "two words"}


def test_text_cells_have_the_narrowest_type_that_all_have(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "id,text,int,float,bool,date,word\n1,a,1,1,true,2020-01-31,007a\n2,b,-2,.5,FALSE,2020-02-01,8\n3,c,,,,,\n"
    )
    guessed = guess_schema(open_corpus(str(tmp_path / "c.csv")), text_cells=True)
    assert guessed.fields == {"int": "int", "float": "float", "bool": "bool", "date": "date", "word": "keyword"}


# --- the command


def test_the_options_index_files_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = jsonl(tmp_path / "c.jsonl")
    options = ["--id", "nr", "--title", "head", "--text", "body,more", "--metadata", "rest", "--schema", "auto"]
    assert run(["index", path, *options, "--encoder", "bm25", "--out", str(tmp_path / "c")]) == 0
    said = capsys.readouterr().err
    assert 'schema: {"year": "float", "tags": "keyword[]", "when": "date"}' in said
    with Collection.open(tmp_path / "c") as collection:
        (hit,) = collection.search("sea", filter={"when": {"gte": "2021-01-01"}}).hits
        assert hit.document == DOCUMENTS[1]
    (tmp_path / "c.csv").write_text("id,text,year\n1,lobster,2020\n2,sea,\n")
    command = ["index", str(tmp_path / "c.csv"), "--encoder", "bm25", "--out"]
    assert run([*command, str(tmp_path / "d"), "--schema", "auto"]) == 0
    assert run([*command, str(tmp_path / "e"), "--schema", '{"year":"int"}']) == 0
    for name in ("d", "e"):
        with Collection.open(tmp_path / name) as collection:
            assert [hit.id for hit in collection.search("lobster", filter={"year": {"lt": 2021}}).hits] == ["1"]
    assert run(["encode", path, *options[:-2], "--encoder", "bm25", "--out", str(tmp_path / "v.arrow")]) == 0
    assert [document.metadata for document in documents(open_corpus(str(tmp_path / "v.arrow")))] == [
        document.metadata for document in DOCUMENTS
    ]


@pytest.mark.parametrize(
    ("row", "options", "option"),
    [
        ({"id": "1", "text": "x", "cat": 1}, [], "--metadata rest"),
        ({"id": "1", "body": "x"}, [], "--text body"),
        ({"nr": "1", "text": "x"}, ["--metadata", "rest"], "--id FIELD"),
        ({"id": 1, "text": "x"}, [], "--id id"),
        ({"id": "1", "body": "x"}, ["--metadata", "rest"], "--text FIELD"),
    ],
)
def test_the_first_refused_line_names_an_option_that_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any], options: list[str], option: str
) -> None:
    path = jsonl(tmp_path / "c.jsonl", [row, row])
    command = ["index", path, "--encoder", "bm25", "--out", str(tmp_path / "c")]
    assert run([*command, *options]) == 1
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"lsr: {path}:1: ")
    assert option in first
    assert option not in second
    names = [name for name in row if name not in ("id", "text")]
    helped = option.replace("FIELD", names[0] if names else "id").split()
    helped += ["--metadata", "none"] if "--metadata" not in [*options, *helped] else []
    assert run([*command[:-1], str(tmp_path / "d"), *options, *helped]) == 4, "the second line has the same id"


def test_after_many_lines_of_one_kind_it_stops_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"id": str(at), "text": "x", "cat": 1} for at in range(STOP_AFTER + 500)]
    command = ["--encoder", "bm25", "--out", str(tmp_path / "c")]
    for name in ("index", "encode"):
        assert run([name, jsonl(tmp_path / "c.jsonl", lines), *command]) == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) <= 10
        assert "stopped at line 1,000: 1,000 lines are refused for the same reason: unknown field 'cat'" in said[-1]
        assert "--metadata rest" in said[-1]
        assert not (tmp_path / "c").exists()
    good = [{"id": str(at), "text": "x"} for at in range(STOP_AFTER + 10)]
    mixed = [line for pair in zip(good, lines, strict=False) for line in pair]
    mixed = [{**line, "id": str(at)} for at, line in enumerate(mixed)]
    assert run(["index", jsonl(tmp_path / "c.jsonl", mixed), *command]) == 4, "no more than half of the lines are bad"
    assert "and 1,005 more lines like these" in capsys.readouterr().err


def test_a_json_array_is_named_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ('[{"id":"a","text":"x"}]', '[\n {"id": "a"},\n {"id": "b"}\n]', "\n  [1]\n"):
        (tmp_path / "c.jsonl").write_text(text)
        assert run(["index", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "c")]) == 2
        said = capsys.readouterr().err
        assert "it is a JSON array" in said
        assert "jq -c '.[]'" in said
        assert not (tmp_path / "c").exists()
