"""Two collections of the same documents side by side: how much do their default searches differ, and in what time?

For each query, of the first k hits of both:

    overlap     the documents that both have, divided by the longer list's length; 1 where both are empty
    rank shift  the mean of |rank in one - rank in the other| over the documents that both have

Both answer each query alternately, after a warm-up, without their caches; a query's time is that of one search from
the call to the answer, documents included.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

from lsr.collection import Collection
from lsr.corpora.line_source import LineSource
from lsr.errors import CorpusUnreadable, InvalidJson
from lsr.strict_json import loads

DEPTH: Final = 10
SHOWN: Final = 3
MOST_DIFFERENT: Final = 5


class QueryText(NamedTuple):
    """A query; `id` is None where the file gives none."""

    id: str | None
    text: str


class RankedHit(NamedTuple):
    """A hit: its id, its score, and the document's title or the start of its text."""

    id: str
    score: float
    title: str


@dataclass(frozen=True, slots=True)
class ComparedQuery:
    """One query's hits in both collections. `rank_shift` is None where no document is in both."""

    query: QueryText
    old: tuple[RankedHit, ...]
    new: tuple[RankedHit, ...]
    overlap: float
    rank_shift: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with the top 3 of both."""
        shown = {
            name: [{"id": hit.id, "score": hit.score, "title": hit.title} for hit in hits[:SHOWN]]
            for name, hits in (("old", self.old), ("new", self.new))
        }
        return {
            "id": self.query.id,
            "query": self.query.text,
            "overlap": self.overlap,
            "rank_shift": self.rank_shift,
            **shown,
        }


@dataclass(frozen=True, slots=True)
class SearchComparison:
    """All queries in both collections; times are milliseconds. `warnings` are those of the searches, each once."""

    queries: tuple[ComparedQuery, ...]
    k: int
    old_p50_ms: float
    new_p50_ms: float
    warnings: tuple[str, ...]

    @property
    def overlap(self) -> float:
        """The mean overlap over all queries."""
        return statistics.fmean(one.overlap for one in self.queries)

    @property
    def rank_shift(self) -> float | None:
        """The mean rank shift over the queries that have one."""
        shifts = [one.rank_shift for one in self.queries if one.rank_shift is not None]
        return statistics.fmean(shifts) if shifts else None

    def most_different(self, count: int = MOST_DIFFERENT) -> list[ComparedQuery]:
        """Return the queries that differ, by ascending overlap, then descending rank shift, then their order."""
        different = [one for one in self.queries if _ids(one.old) != _ids(one.new)]
        return sorted(different, key=lambda one: (one.overlap, -(one.rank_shift or 0.0)))[:count]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object: the means, the times, and the queries that differ most."""
        return {
            "queries": len(self.queries),
            "k": self.k,
            "overlap": self.overlap,
            "rank_shift": self.rank_shift,
            "p50_ms": {"old": self.old_p50_ms, "new": self.new_p50_ms},
            "most_different": [one.to_json() for one in self.most_different()],
            "warnings": list(self.warnings),
        }


def compare_searches(
    old: Collection, new: Collection, queries: Sequence[QueryText], k: int = DEPTH
) -> SearchComparison | None:
    """Search both collections by their defaults for each query; None without queries. Raises as a search does."""
    if not queries:
        return None
    for collection in (old, new):
        collection.warm()
        collection.search(queries[0].text, k=k, cache=False)
    times: tuple[list[float], list[float]] = ([], [])
    warnings: dict[str, None] = {}
    compared = []
    for query in queries:
        hits = []
        for collection, milliseconds in zip((old, new), times, strict=True):
            started = perf_counter()
            result = collection.search(query.text, k=k, cache=False)
            milliseconds.append((perf_counter() - started) * 1000)
            warnings.update(dict.fromkeys(result.warnings))
            hits.append(
                tuple(
                    RankedHit(hit.id, hit.score, hit.document.title or " ".join(hit.document.text.split())[:80])
                    for hit in result.hits
                )
            )
        compared.append(ComparedQuery(query, hits[0], hits[1], *_difference(_ids(hits[0]), _ids(hits[1]))))
    p50 = [statistics.median(milliseconds) for milliseconds in times]
    return SearchComparison(tuple(compared), k, p50[0], p50[1], tuple(warnings))


def read_queries(path: Path) -> list[QueryText]:
    """Read queries, one per line: a JSON object with text and perhaps _id or id; id TAB text; or the text itself.

    All lines of a file are of one kind, which the first one decides. Blank lines are left out. Raises
    CorpusUnreadable, which names the line.
    """
    try:
        lines = [(number, (line or b"").decode()) for number, line in LineSource(path)]
    except UnicodeDecodeError as error:
        raise CorpusUnreadable(f"{path}: not UTF-8: {error.reason}") from error
    numbered = [(number, line.strip("\r\n")) for number, line in lines if line.strip()]
    if not numbered:
        raise CorpusUnreadable(f"{path}: holds no query")
    first = numbered[0][1]
    parse = _parse_json if first.lstrip().startswith("{") else _parse_tabs if "\t" in first else _parse_plain
    return [parse(f"{path}:{number}", line) for number, line in numbered]


def _parse_json(where: str, line: str) -> QueryText:
    try:
        value = loads(line)
    except InvalidJson as error:
        raise CorpusUnreadable(f"{where}: {error}") from None
    text = value.get("text", value.get("query")) if isinstance(value, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise CorpusUnreadable(f'{where}: a query is a JSON object {{"_id": …, "text": …}}')
    identifier = value.get("_id", value.get("id"))
    return QueryText(None if identifier is None else str(identifier), text)


def _parse_tabs(where: str, line: str) -> QueryText:
    identifier, tab, text = line.partition("\t")
    if not tab or not text.strip():
        raise CorpusUnreadable(f"{where}: a query is an id, a tab and a text, as in the first line")
    return QueryText(identifier.strip(), text.strip())


def _parse_plain(_: str, line: str) -> QueryText:
    return QueryText(None, line.strip())


def _ids(hits: Sequence[RankedHit]) -> list[str]:
    return [hit.id for hit in hits]


def _difference(old: Sequence[str], new: Sequence[str]) -> tuple[float, float | None]:
    """Return overlap and mean rank shift of two lists."""
    longest = max(len(old), len(new))
    rank = {identifier: at for at, identifier in enumerate(new)}
    shifts = [abs(at - rank[identifier]) for at, identifier in enumerate(old) if identifier in rank]
    return (len(shifts) / longest if longest else 1.0), (statistics.fmean(shifts) if shifts else None)
