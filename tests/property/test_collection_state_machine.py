"""The collection as a state machine, against a dict of documents and an exact dot product.

Whatever the order of writes, deletions, patches, new metadata fields, seals, merges and reopenings: the documents are
those of the dict, every ranking is the exact one, with ties by id, every filter finds what plain Python finds, and
every dense score is that of the vector written last.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lsr.collection import Collection, verify_collection
from lsr.dense_vectors import unit_rows
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.vectors import VectorConfig

IDS = st.sampled_from([f"d{number}" for number in range(8)])
WEIGHTS = st.floats(0.0, 100.0, width=32)
VECTORS = st.dictionaries(st.sampled_from("abcd"), WEIGHTS, max_size=4)
DIMS = 5
DENSE = st.lists(st.integers(-9, 9), min_size=DIMS, max_size=DIMS)
YEARS = st.one_of(st.none(), st.integers(2018, 2021))
LANGUAGES = st.sampled_from([None, "de", "fr"])


@st.composite
def documents(draw: st.DrawFn) -> Document:
    year, language = draw(YEARS), draw(LANGUAGES)
    dense = draw(DENSE)  # a list of zeros: no dense vector
    return Document(
        draw(IDS),
        text=draw(st.sampled_from(["", "lobster", "lobster roll", "roll roll crab"])),
        metadata={key: value for key, value in (("year", year), ("lang", language)) if value is not None},
        vectors={
            "given": SparseByToken(draw(VECTORS)),
            **({"meaning": DenseInput(tuple(map(float, dense)))} if any(dense) else {}),
        },
    )


def exact_score(weights: dict[str, float], query: dict[str, float]) -> float | None:
    """The canonical dot product: float16 impacts, products and sum in float64, one rounding to float32."""
    shared = [token for token in weights if np.float16(weights[token]) > 0 and query.get(token, 0.0) > 0]
    if not shared:
        return None
    # Each product is exact in float64, and the sum of so few differs between orders only in the last bit.
    return float(np.float32(sum(np.float64(np.float16(weights[t])) * np.float64(np.float32(query[t])) for t in shared)))


class CollectionMachine(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        vectors = {
            "given": VectorConfig(None),
            "text": VectorConfig("bm25", {"average_length": 2.0}),
            "meaning": VectorConfig(None, dense=True, dimensions=DIMS),
        }
        self.collection = Collection.create(self.folder / "c", vectors=vectors, schema={"year": "int"})
        self.expected: dict[str, Document] = {}
        self.seq = 0

    @rule(batch=st.lists(documents(), max_size=5))
    def upsert(self, batch: list[Document]) -> None:
        result = self.collection.write(batch)
        assert result.accepted == len(batch)
        assert result.seq >= self.seq
        self.seq = result.seq
        for document in batch:
            self.expected[document.id] = document

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids: list[str]) -> None:
        result = self.collection.delete(ids)
        assert result.accepted == len(set(ids) & set(self.expected))
        for identifier in ids:
            self.expected.pop(identifier, None)

    @rule(identifier=IDS, year=YEARS)
    def patch(self, identifier: str, year: int | None) -> None:
        result = self.collection.patch(identifier, {"year": year})
        assert (result is None) == (identifier not in self.expected)
        if identifier in self.expected:
            before = {key: value for key, value in self.expected[identifier].metadata.items() if key != "year"}
            metadata = before if year is None else {**before, "year": year}
            self.expected[identifier] = replace(self.expected[identifier], metadata=metadata)

    @rule()
    def declare_the_language(self) -> None:
        self.collection.extend_schema({"lang": "keyword"})

    @rule()
    def seal(self) -> None:
        self.collection.seal()

    @rule()
    def merge(self) -> None:
        self.collection.merge()

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", "w")

    @rule(query=VECTORS, k=st.integers(1, 10), year=YEARS)
    def search(self, query: dict[str, float], k: int, year: int | None) -> None:
        self.check_search(query, k, year)

    def check_search(self, query: dict[str, float], k: int, year: int | None) -> None:
        scores = {
            identifier: exact_score(document.vectors["given"].weights, query)  # type: ignore[union-attr]
            for identifier, document in self.expected.items()
            if year is None or document.metadata.get("year") == year
        }
        matches = sorted((-score, identifier) for identifier, score in scores.items() if score is not None)
        for exact in (True, False):
            found = self.collection.search(
                SparseByToken(query), using="given", k=k, exact=exact, filter=None if year is None else {"year": year}
            )
            got = [(-hit.score, hit.id) for hit in found.hits]
            assert len(got) == min(k, len(matches))
            np.testing.assert_allclose([s for s, _ in got], [s for s, _ in matches[:k]], rtol=1e-6)
            assert got == sorted(got)
            assert {identifier for _, identifier in got} <= {identifier for _, identifier in matches}

    @rule(query=DENSE)
    def dense_scores(self, query: list[int]) -> None:
        self.check_dense_scores(np.array(query, dtype=np.float32))

    def check_dense_scores(self, query: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        generation = self.collection._state.generation
        places = [place for place in map(generation.find, sorted(self.expected)) if place is not None]
        scores, present = generation.dense_scores("meaning", places, query)
        given = [self.expected[identifier].vectors.get("meaning") for identifier in sorted(self.expected)]
        rows = [one.values if isinstance(one, DenseInput) else (0.0,) * DIMS for one in given]
        steps, scale = unit_rows(np.array(rows).reshape(-1, DIMS))
        # Small integers times integers: every order of additions gives the same sum.
        sums = steps.astype(np.float64) @ query.astype(np.float64)
        assert scores.tolist() == (scale.astype(np.float64) * sums).astype(np.float32).tolist()
        assert present.tolist() == [one is not None for one in given]

    @rule()
    def document_frequencies(self) -> None:
        tokens = ["lobster", "roll", "crab"]
        statistics = self.collection.statistics("text")
        term_ids = self.collection.encoder("text").vocabulary.ids(tokens)
        found = statistics.document_frequencies(term_ids)
        for token, term_id, frequency in zip(tokens, term_ids.tolist(), found.tolist(), strict=True):
            wanted = sum(token in document.text.split() for document in self.expected.values())
            assert term_id < 0 or frequency == wanted
        assert statistics.document_count == len(self.expected)

    @invariant()
    def the_documents_are_those_written(self) -> None:
        if not hasattr(self, "collection"):
            return
        for identifier in (f"d{number}" for number in range(8)):
            found = self.collection.get(identifier)
            wanted = self.expected.get(identifier)
            assert found == (None if wanted is None else replace(wanted, vectors={}))
        assert self.collection.info().documents == len(self.expected)
        self.check_search(dict.fromkeys("abcd", 1.0), 10, None)
        if "lang" in self.collection.schema.fields:
            wanted = [one for one, document in self.expected.items() if document.metadata.get("lang") == "de"]
            assert sorted(self.collection.matching({"lang": "de"})) == sorted(wanted)
        self.check_dense_scores(np.arange(1, DIMS + 1, dtype=np.float32))

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
            assert verify_collection(self.folder / "c") == []
            shutil.rmtree(self.folder)


CollectionMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTheCollectionIsADictWithAnExactSearch = CollectionMachine.TestCase
