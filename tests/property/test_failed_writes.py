"""A write that fails, at whatever step, leaves the collection as it was, in memory and on disk; the next one works."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsr.collection import Collection
from lsr.documents import Document, SparseByIndex, SparseByToken
from lsr.errors import InvalidDocument, QueryError
from lsr.vectors import VectorConfig

VECTORS = {"given": VectorConfig(None), "words": VectorConfig("bm25")}
SCHEMA = {"year": "int"}
WORDS = st.text(alphabet="abcdef", min_size=1, max_size=3)
TOKENS = st.dictionaries(WORDS, st.floats(0.25, 8), min_size=1, max_size=4)

# Every step of a write that may fail: before the transaction, inside it, and at its end.
STEPS = (
    "lsr.writing.changes.document_vectors",
    "lsr.writing.changes.PreparedRows.of",
    "lsr.writing.changes.find_many",
    "lsr.storage.catalog_transaction.Transaction.append_terms",
    "lsr.storage.catalog_transaction.Transaction.set_setting",
    "lsr.storage.catalog_transaction.Transaction.add_pending",
    "lsr.writing.changes.encode_rows",
    "lsr.writing.changes.columns_of",
    "lsr.writing.changes.ChunkContent",
    "lsr.storage.catalog.write_state",
)
BAD: tuple[Document, ...] = (
    Document("bad", vectors={"given": SparseByToken({"\ud800": 1.0})}),
    Document("bad", vectors={"given": SparseByToken({"fine": 1.0, "": 1.0})}),
    Document("bad", vectors={"given": SparseByToken({"heavy": 1e5})}),
    Document("bad", vectors={"given": SparseByToken({"heavy": 10**400})}),
    Document("bad", vectors={"given": SparseByToken({"light": -1.0})}),
    Document("bad", vectors={"given": SparseByIndex((1, 1), (1.0, 1.0))}),
    Document("bad", vectors={"given": SparseByIndex((-1,), (1.0,))}),
    Document("bad", vectors={"given": SparseByIndex((2**32 - 1,), (1.0,))}),
    Document("bad", vectors={"given": SparseByIndex((1, 2), (1.0,))}),
    Document("bad\udfff", text="new words"),
    Document("", text="new words"),
    Document("bad", text="new \ud800 words"),
    Document("bad", title="\ud800"),
    Document("bad", parent="\ud800"),
    Document("bad", text="new words", metadata={"note": "\ud800"}),
    Document("bad", text="new words", metadata={"\ud800": 1}),
    Document("bad", text="new words", metadata={"n": 2**64}),
    Document("bad", text="new words", metadata={"n": {"m": [1, float("nan")]}}),
    Document("bad", text="new words", metadata={"year": "2020"}),
)


def everything(collection: Collection) -> dict[str, Any]:
    """Return what can be seen of a collection."""
    state = collection._state
    queries: tuple[Any, ...] = (SparseByToken({"a": 1.0, "b": 2.0, "bad": 1.0}), SparseByToken({"ab": 1.0}))
    return {
        "info": collection.info(),
        "settings": {name: vector.setting() for name, vector in state.vectors.items()},
        "terms": {name: vector.dictionary() for name, vector in state.vectors.items()},
        "catalog": (state.catalog.settings(), {name: state.catalog.tokens(name) for name in state.vectors}),
        "documents": list(collection.scan("given")),
        "found": [
            [(hit.id, hit.score) for hit in collection.search(query, using="given", k=100).hits] for query in queries
        ],
        "words": [(hit.id, hit.score) for hit in collection.search("a b new words", using="words", k=100).hits],
    }


def comparable(seen: dict[str, Any]) -> dict[str, Any]:
    rows = [(document, terms.tolist(), weights.tolist()) for document, terms, weights in seen["documents"]]
    return {**seen, "documents": rows}


@st.composite
def batches(draw: st.DrawFn) -> list[Document]:
    ids = draw(st.lists(WORDS, min_size=1, max_size=4, unique=True))
    return [
        Document(one, text=draw(WORDS), metadata={"year": draw(st.integers(0, 9))}, vectors={"given": vector})
        for one in ids
        if (vector := SparseByToken(draw(TOKENS)))
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=st.lists(batches(), max_size=2),
    failing=batches(),
    after=batches(),
    fault=st.one_of(st.sampled_from(STEPS), st.sampled_from(BAD)),
    error=st.sampled_from([RuntimeError("broken"), OSError(28, "No space left on device"), KeyboardInterrupt()]),
)
def test_a_failing_write_leaves_the_collection_as_it_was(
    before: list[list[Document]],
    failing: list[Document],
    after: list[Document],
    fault: str | Document,
    error: BaseException,
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with Collection.create(folder / "c", vectors=VECTORS, schema=SCHEMA) as collection:
            for batch in before:
                collection.write(batch)
            known = comparable(everything(collection))
            if isinstance(fault, Document):
                with pytest.raises(InvalidDocument):
                    collection.write([*failing, fault])
            else:
                with patch(fault, side_effect=error), pytest.raises(type(error)):
                    collection.write(failing)
            assert comparable(everything(collection)) == known
            collection.write(after)
            written = comparable(everything(collection))
            assert {document.id for document, _, _ in written["documents"]} >= {document.id for document in after}
        with Collection.open(folder / "c") as collection:
            reopened = comparable(everything(collection))
        unstored = {"info": None, "settings": None}  # the size on disk; the encoder's settings before it is loaded
        assert {**reopened, **unstored} == {**written, **unstored}
    finally:
        shutil.rmtree(folder)


def test_a_commit_that_fails_leaves_the_collection_as_it_was(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=VECTORS, schema=SCHEMA) as collection:
        collection.write([Document("a", text="one", vectors={"given": SparseByToken({"a": 1.0})})])
        known = comparable(everything(collection))
        collection._state.catalog._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(Exception, match=r"readonly|read-only"):
            collection.write([Document("b", text="two", vectors={"given": SparseByToken({"b": 1.0})})])
        collection._state.catalog._connection.execute("PRAGMA query_only = OFF")
        assert comparable(everything(collection)) == known
        collection.write([Document("b", text="two", vectors={"given": SparseByToken({"c": 1.0})})])
        assert collection.vector("b", "given") == {"c": 1.0}


@pytest.mark.parametrize("document", BAD, ids=repr)
def test_one_bad_document_does_not_stop_the_others(tmp_path: Path, document: Document) -> None:
    good = [Document(one, text="words", vectors={"given": SparseByToken({one: 1.0})}) for one in ("x", "y")]
    problems: list[int] = []
    with Collection.create(tmp_path / "c", vectors=VECTORS, schema=SCHEMA) as collection:
        report = collection.write([good[0], document, good[1]], on_problem=lambda at, _: problems.append(at))
        assert report.accepted == 2
        assert problems == [1]
        assert collection._state.vectors["given"].dictionary() == ["x", "y"]


def test_an_id_that_is_not_unicode_is_that_of_no_document(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=VECTORS, schema=SCHEMA) as collection:
        for _ in range(2):
            collection.write([Document("a", text="words")])
            assert collection.get("\ud800") is None
            assert collection.vector("\ud800", "words") is None
            assert collection.patch("\ud800", {"year": 1}) is None
            assert collection.delete(["\ud800"]).accepted == 0
            found = collection.search("words", using="words", filter={"ids": ["\ud800", "a"]}).hits
            assert [hit.id for hit in found] == ["a"]
            with pytest.raises(QueryError):
                collection.search(SparseByToken({"\ud800": 1.0}), using="given")
            collection.seal()
