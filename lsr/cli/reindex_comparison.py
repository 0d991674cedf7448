"""What `lsr reindex` shows of the old and the new collection: how their searches differ, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.cli.output import fit, plain, say
from lsr.comparing import QueryText, RankedHit, SearchComparison, compare_searches

if TYPE_CHECKING:
    from eval.comparison.significance import Difference

SAMPLED = 100  # documents whose titles are queries


@dataclass(frozen=True)
class Quality:
    """nDCG@10 of both over the judged queries, and their difference, new minus old."""

    old: float
    new: float
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        d = self.difference
        return {
            "queries": d.queries,
            "nDCG@10": {"old": self.old, "new": self.new},
            "difference": d.mean,
            "interval": [d.low, d.high],
            "p_t": d.p_t,
            "p_randomisation": d.p_randomisation,
        }


@dataclass(frozen=True)
class Comparison:
    """The searches of both collections, and their quality where there are judgements."""

    searches: SearchComparison | None
    quality: Quality | None

    def to_json(self) -> dict[str, Any] | None:
        """Return a JSON object; None where there was no query."""
        if self.searches is None:
            return None
        return self.searches.to_json() | ({} if self.quality is None else {"quality": self.quality.to_json()})


def compare_and_print(
    old: Path, new: Path, queries: Sequence[QueryText] | None, qrels: Path | None, quiet: bool
) -> Comparison:
    """Compare two collections by queries, without them by titles of the old one; print it unless `quiet`.

    `qrels` are judgements of the queries. Raises what a search raises, InputFileError, DatasetMismatch.
    """
    from lsr.collection import Collection

    asked = queries
    with Collection.open(old) as first, Collection.open(new) as second:
        if asked is None:
            asked = [QueryText(None, text) for text in first.sample_texts(SAMPLED)]
        searches = compare_searches(first, second, asked)
    quality = None if qrels is None or searches is None else _quality(searches, qrels)
    if not quiet:
        _print(searches, quality, old, new, "titles" if queries is None else "queries")
    if searches is None:
        say(f"{old} has no text to compare searches by")
    return Comparison(searches, quality)


def _quality(searches: SearchComparison, path: Path) -> Quality:
    """Measure nDCG@10 of both over the judged queries. Raises InputFileError, DatasetMismatch."""
    import numpy as np

    from eval.comparison.significance import paired_difference
    from eval.errors import DatasetMismatch
    from eval.measures import parse_measures, score
    from eval.qrels import read_qrels
    from eval.ranking import Ranking

    qrels = read_qrels(path)
    judged = [one for one in searches.queries if one.query.id in qrels]
    if not judged:
        raise DatasetMismatch(
            f"{path} judges none of the queries: their ids are needed, as _id in JSONL or before a tab"
        )
    (measure,) = parse_measures(["nDCG@10"])

    def values(hits: Sequence[Sequence[RankedHit]]) -> Any:
        rankings = [
            Ranking(str(one.query.id), [hit.id for hit in found], np.array([hit.score for hit in found]))
            for one, found in zip(judged, hits, strict=True)
        ]
        return score(rankings, [qrels[str(one.query.id)] for one in judged], [measure])[measure]

    old, new = values([one.old for one in judged]), values([one.new for one in judged])
    return Quality(float(old.mean()), float(new.mean()), paired_difference(new, old))


def _print(searches: SearchComparison | None, quality: Quality | None, old: Path, new: Path, kind: str) -> None:
    if searches is None:
        return
    shift = "-" if searches.rank_shift is None else f"{searches.rank_shift:.2f}"
    print(f"{new} against {old}, {len(searches.queries):,} {kind}, first {searches.k} hits:")
    print(f"  in both           {searches.overlap:.1%}")
    print(f"  mean rank shift   {shift}")
    print(f"  p50               {searches.old_p50_ms:.1f} -> {searches.new_p50_ms:.1f} ms")
    if quality is not None:
        d = quality.difference
        print(
            f"  nDCG@10           {quality.old:.4f} -> {quality.new:.4f} ({d.mean:+.4f}, 95 % from {d.low:+.4f} to "
            f"{d.high:+.4f}, p = {d.p_randomisation:.4f}, {d.queries:,} judged queries)"
        )
    for warning in searches.warnings:
        say(f"warning: {warning}")
    different = searches.most_different()
    if different:
        print("  differ most:")
    for one in different:
        print(fit(f"    {plain(one.query.text)}  ({one.overlap:.0%} in both)"))
        for name, hits in (("old", one.old), ("new", one.new)):
            for rank, hit in enumerate(hits[:3], start=1):
                print(fit(f"      {name} {rank}  {plain(hit.id)}  {plain(hit.title)}"))
