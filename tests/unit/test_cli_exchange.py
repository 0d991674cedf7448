"""Export of vectors: each format is read back, by our own readers or by a decoder that follows only the standard."""

from __future__ import annotations

import json
import struct
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsr.corpora import open_corpus
from lsr.corpora.arrow_vectors import ArrowVectorsCorpus
from lsr.documents import Document, SparseByToken
from lsr.errors import QueryError
from lsr.exchange import FORMATS, VectorRow, VectorSource, write_vectors

TOKENS = ["roll", "lobster", "élan", "a.b", "egg"]
DOCUMENTS = [
    (Document("d1", title="T", text="x", parent="p", metadata={"year": 2020}), {1: 2.5, 0: 0.5}),
    (Document("d2", text='quo"te\n'), {}),
    (Document("ü 3", metadata={"tags": ["a", "b"]}), {4: 0.001, 2: 1.0, 0: 3.25}),
]


def row(document: Document, vector: dict[int, float]) -> VectorRow:
    terms = sorted(vector)
    weights = np.array([vector[term] for term in terms], dtype=np.float32)
    return VectorRow(document, np.array(terms, dtype=np.int64), weights)


def source(rows: list[tuple[Document, dict[int, float]]], **others: Any) -> VectorSource:
    def tokens(term_ids: np.ndarray[Any, Any]) -> list[str]:
        return [TOKENS[term] for term in term_ids]

    return VectorSource([row(*pair) for pair in rows], tokens, "splade", **others)


def with_vector(document: Document, vector: dict[int, float]) -> Document:
    by_token = {TOKENS[term]: float(np.float32(vector[term])) for term in sorted(vector)}
    vectors = {"default": SparseByToken(by_token)}
    return Document(document.id, document.title, document.text, document.parent, document.metadata, vectors)


@pytest.mark.parametrize("name", ["v.jsonl", "v.arrow"])
def test_what_is_written_is_read_back_as_the_same_documents(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_vectors(source(DOCUMENTS), str(path), path.suffix[1:]) == 3
    assert [line.content for line in open_corpus(str(path), "vectors")] == [with_vector(*pair) for pair in DOCUMENTS]


def test_an_arrow_file_remembers_its_encoder(tmp_path: Path) -> None:
    note = {"encoder": "bm25", "settings": {"k1": 0.9}, "fingerprint": "f"}
    write_vectors(source(DOCUMENTS, encoder=note), str(tmp_path / "v.arrow"), "arrow")
    corpus = open_corpus(str(tmp_path / "v.arrow"))
    assert isinstance(corpus, ArrowVectorsCorpus)
    assert corpus.encoder == note


def test_anserini_weights_are_integers_and_none_is_zero(tmp_path: Path) -> None:
    write_vectors(source(DOCUMENTS), str(tmp_path / "v"), "anserini", scale=100)
    lines = [json.loads(line) for line in (tmp_path / "v").read_text().splitlines()]
    assert lines[0] == {"id": "d1", "contents": "T x", "vector": {"roll": 50, "lobster": 250}}
    assert lines[2]["vector"] == {"roll": 325, "élan": 100}


def test_opensearch_lines_are_pairs_of_action_and_document(tmp_path: Path) -> None:
    write_vectors(source(DOCUMENTS), str(tmp_path / "v"), "opensearch")
    lines = [json.loads(line) for line in (tmp_path / "v").read_text().splitlines()]
    assert lines[0::2] == [{"index": {"_id": document.id}} for document, _ in DOCUMENTS]
    assert lines[1] == {
        "title": "T",
        "text": "x",
        "parent": "p",
        "metadata": {"year": 2020},
        "splade": {"roll": 0.5, "lobster": 2.5},
    }


def test_qdrant_points_have_uuids_that_stay_and_sparse_vectors_by_number(tmp_path: Path) -> None:
    many = [(Document(f"d{n}"), {n % 5: 1.5}) for n in range(300)]
    write_vectors(source(many), str(tmp_path / "a"), "qdrant")
    write_vectors(source(many), str(tmp_path / "b"), "qdrant")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    bodies = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert [len(body["points"]) for body in bodies] == [256, 44]
    points = [point for body in bodies for point in body["points"]]
    assert len({str(uuid.UUID(point["id"])) for point in points}) == 300
    assert points[7]["vector"] == {"splade": {"indices": [2], "values": [1.5]}}
    assert points[7]["payload"] == {"id": "d7"}


# --- CIFF, decoded with protobuf's wire format only


def varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def message(data: bytes) -> dict[int, list[Any]]:
    fields: dict[int, list[Any]] = defaultdict(list)
    place = 0
    while place < len(data):
        tag, place = varint(data, place)
        if tag & 7 == 0:
            value, place = varint(data, place)
            fields[tag >> 3].append(value)
        elif tag & 7 == 1:
            fields[tag >> 3].append(struct.unpack_from("<d", data, place)[0])
            place += 8
        else:
            assert tag & 7 == 2
            length, place = varint(data, place)
            fields[tag >> 3].append(data[place : place + length])
            place += length
    return fields


def read_ciff(data: bytes) -> tuple[dict[int, list[Any]], dict[str, dict[int, int]], list[dict[int, list[Any]]]]:
    messages = []
    place = 0
    while place < len(data):
        length, place = varint(data, place)
        messages.append(message(data[place : place + length]))
        place += length
    header, *rest = messages
    count = header[2][0] if header[2] else 0
    postings: dict[str, dict[int, int]] = {}
    for one in rest[:count]:
        document = 0
        postings[one[1][0].decode()] = found = {}
        for posting in map(message, one[4]):
            document += posting[1][0] if posting[1] else 0
            found[document] = posting[2][0]
        assert one[2] == [len(found)]
        assert one[3] == [sum(found.values())]
    return header, postings, rest[count:]


VECTORS = st.lists(st.dictionaries(st.integers(0, 4), st.floats(0.5, 1000, width=32), max_size=5), max_size=40)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VECTORS)
def test_ciff_has_every_posting_by_ascending_term(tmp_path: Path, vectors: list[dict[int, float]]) -> None:
    documents = [(Document(f"d{n}"), vector) for n, vector in enumerate(vectors)]
    path = tmp_path / "i.ciff"
    assert write_vectors(source(documents), str(path), "ciff", scale=10) == len(vectors)
    header, postings, records = read_ciff(path.read_bytes())
    expected: dict[str, dict[int, int]] = defaultdict(dict)
    for number, vector in enumerate(vectors):
        for term, weight in vector.items():
            expected[TOKENS[term]][number] = round(float(np.float32(weight)) * 10)
    assert postings == expected
    assert list(postings) == sorted(postings)
    assert [record[2][0].decode() for record in records] == [document.id for document, _ in documents]
    lengths = [sum(found.get(number, 0) for found in expected.values()) for number in range(len(vectors))]
    assert [record[3][0] if record[3] else 0 for record in records] == lengths
    assert (header[6][0] if header[6] else 0) == sum(lengths)
    assert header[7] == [sum(lengths) / len(vectors) if vectors else 0.0]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_a_scale_that_makes_no_sense_is_refused_and_leaves_no_file(tmp_path: Path, scale: float) -> None:
    with pytest.raises(QueryError):
        write_vectors(source(DOCUMENTS), str(tmp_path / "v"), "ciff", scale=scale)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_that_fails_half_way_keeps_the_old_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "v"
    path.write_text("old")

    def rows() -> Any:
        yield row(*DOCUMENTS[0])
        raise OSError("disk trouble")

    broken = VectorSource(rows(), lambda term_ids: ["t"] * len(term_ids), "splade")
    # huggingface is a folder, and nothing is replaced by it.
    with pytest.raises(OSError, match="disk trouble" if name != "huggingface" else "exists already"):
        write_vectors(broken, str(path), name)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["v"]
