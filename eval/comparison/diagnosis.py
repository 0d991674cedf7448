"""Why a document was found or not: one query, term by term, in one system or several.

For each system it shows the best documents, and the relevant documents that are not among them, each with the terms
that it shares with the query and their contributions. A contribution is the product of the stored weights, so the
contributions add up to the score.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.dataset import Dataset, open_dataset
from eval.errors import EvaluationError
from eval.qrels import Judgements
from eval.sources.queries import Query
from eval.systems import SearchSettings
from lsr.collection import Collection


@dataclass(frozen=True, slots=True)
class TermMatch:
    """A term that query and document share."""

    token: str
    query_weight: float
    doc_weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class DiagnosedDocument:
    """A document with its rank (None below `depth`), grade (None: unjudged) and shared terms, strongest first."""

    doc_id: str
    rank: int | None
    score: float
    grade: int | None
    matches: tuple[TermMatch, ...]


@dataclass(frozen=True)
class Diagnosis:
    """A query in one system: its terms, the documents, and the query terms that are in no relevant document."""

    system: str
    query_id: str
    text: str
    query_terms: tuple[tuple[str, float], ...]
    documents: tuple[DiagnosedDocument, ...]
    unmatched_terms: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object."""
        return asdict(self)

    def table(self, terms: int = 6) -> str:
        """Return a text, with the strongest `terms` of each document."""
        shown = ", ".join(f"{token} {weight:.2f}" for token, weight in self.query_terms)
        lines = [f"{self.system}, query {self.query_id}: {self.text}", f"  terms: {shown}"]
        if self.unmatched_terms:
            lines.append(f"  in no relevant document: {', '.join(self.unmatched_terms)}")
        for document in self.documents:
            rank = f"{document.rank:>5}" if document.rank is not None else "    –"
            grade = "unjudged" if document.grade is None else f"grade {document.grade}"
            matched = ", ".join(f"{match.token} {match.contribution:.2f}" for match in document.matches[:terms])
            lines.append(
                f"  {rank}  {document.score:9.4f}  {grade:<9} {document.doc_id}: {matched or 'no term in common'}"
            )
        return "\n".join(lines) + "\n"


def diagnose(
    collection: Collection,
    query: Query,
    judgements: Judgements,
    *,
    search: SearchSettings | None = None,
    k: int = 10,
    depth: int = 1000,
    name: str | None = None,
) -> Diagnosis:
    """Explain a query's top `k`, and all other relevant documents. Raises what a search raises."""
    settings = search or SearchSettings()
    entered = query.sparse if query.sparse is not None else query.text
    # The terms come from a search with k = 1; the ranks from `rank`, which fetches no documents.
    terms = collection.search(entered, **(settings.as_keywords() | {"k": 1})).query_terms
    weights = {term.token: term.weight for term in terms if term.weight > 0}
    (ids, scores) = collection.rank([entered], k=depth, **settings.as_keywords())[0]
    ranks = {
        doc_id: (rank, float(score)) for rank, (doc_id, score) in enumerate(zip(ids, scores, strict=True), start=1)
    }
    relevant = [doc_id for doc_id, grade in judgements.items() if grade > 0]
    wanted = dict.fromkeys([*ids[:k], *relevant])
    documents = [_document(collection, settings.using, doc_id, weights, ranks, judgements) for doc_id in wanted]
    documents.sort(key=lambda document: (document.rank or depth + 1, -document.score, document.doc_id))
    held = {match.token for d in documents if (d.grade or 0) > 0 for match in d.matches}
    return Diagnosis(
        system=name or collection.info().vectors[settings.using].encoder or "vectors",
        query_id=query.id,
        text=query.text,
        query_terms=tuple(sorted(weights.items(), key=lambda item: (-item[1], item[0]))),
        documents=tuple(documents),
        unmatched_terms=tuple(token for token in weights if token not in held) if relevant else (),
    )


def diagnose_query(
    collections: Sequence[Path], dataset: str | Path | Dataset, query_id: str, *, using: str = "default", k: int = 10
) -> list[Diagnosis]:
    """Diagnose a query of a data set in several collections of its documents, named by their folders.

    Raises EvaluationError for a query that the data set does not have, and what opening and searching raise.
    """
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    query = opened.queries.get(query_id)
    if query is None:
        near = difflib.get_close_matches(query_id, opened.queries, n=3)
        hint = f"; similar ids: {', '.join(near)}" if near else ""
        raise EvaluationError(f"{opened.name} has no query {query_id!r}{hint}", field="query")
    diagnoses = []
    for path in collections:
        with Collection.open(path) as collection:
            settings = SearchSettings(using=using)
            judgements = opened.qrels.get(query_id, {})
            diagnoses.append(diagnose(collection, query, judgements, search=settings, k=k, name=collection.name))
    return diagnoses


def _document(
    collection: Collection,
    using: str,
    doc_id: str,
    weights: dict[str, float],
    ranks: dict[str, tuple[int, float]],
    judgements: Judgements,
) -> DiagnosedDocument:
    vector = collection.vector(doc_id, using) or {}
    matches = [
        TermMatch(token, weight, vector[token], weight * vector[token])
        for token, weight in weights.items()
        if token in vector
    ]
    matches.sort(key=lambda match: (-match.contribution, match.token))
    rank, score = ranks.get(doc_id, (None, sum(match.contribution for match in matches)))
    return DiagnosedDocument(doc_id, rank, score, judgements.get(doc_id), tuple(matches))
