"""`tune`: search defaults for a user's own judgements, and what they are worth on queries they were not chosen by.

    queries -> candidates with all their scores (values.py) -> for each fold: the best setting of the other folds
    (descent.py), and its values on this one -> the best setting of all queries

A setting that was chosen by some queries looks better on them than it is. So the figure of the tuned defaults is the
mean over folds that had no part in the choice; it is compared query by query with the present defaults and with each
list alone (eval/comparison/significance.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.comparison.significance import Difference, paired_difference
from eval.dataset import Dataset, open_dataset
from eval.errors import DatasetMismatch, EvaluationError
from eval.tuning.descent import best_setting
from eval.tuning.setting import LIMITS, Lists, alone, lists_of, present_setting, to_search
from eval.tuning.values import Judged, Values, judge
from lsr.collection import Collection
from lsr.search.request import MAX_CANDIDATES, MAX_LEGS

MEASURE: Final = "nDCG@10"
FOLDS: Final = 5
DEPTH: Final = 200
LEAST_QUERIES: Final = 10
_SIGNIFICANT: Final = 0.01  # not .05: the settings of the folds are chosen by queries that the folds share
_SEED: Final = 20_240_229

PRESENT: Final = "present defaults"
TUNED: Final = "tuned, held out"

Progress = Callable[[str, int, int], None]  # (phase, done, total)


@dataclass(frozen=True)
class Fold:
    """One fold: the setting that the other folds chose, its mean there (`chosen_by`) and here, and the present mean."""

    query_ids: tuple[str, ...]
    search: Mapping[str, Any]
    chosen_by: float
    held_out: float
    present: float


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    values     float64[queries] by system, in the order of `query_ids`: present defaults, each list alone, tuned
    search     the search defaults that all queries choose; `in_sample` is their mean on the same queries: too high
    """

    dataset: str
    query_ids: tuple[str, ...]
    depth: int
    present: Mapping[str, Any]
    search: Mapping[str, Any]
    changed: bool
    values: Mapping[str, NDArray[np.float64]]
    in_sample: float
    folds: tuple[Fold, ...]
    settings: int  # that were tried
    warnings: tuple[str, ...] = ()

    @property
    def held_out(self) -> float:
        """The mean of the tuned defaults over the folds that had no part in their choice."""
        return float(self.values[TUNED].mean())

    @property
    def not_lower(self) -> bool:
        """Whether the held-out mean reaches that of the present defaults."""
        return self.held_out >= float(self.values[PRESENT].mean())

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `no clear difference` of the tuned from the present defaults, on held-out queries."""
        difference = self.differences[PRESENT]
        if difference.p_randomisation >= _SIGNIFICANT:
            return "no clear difference"
        return "better" if difference.mean > 0 else "worse"

    @property
    def differences(self) -> dict[str, Difference]:
        """The tuned defaults, held out, minus every other system."""
        tuned = self.values[TUNED]
        return {name: paired_difference(tuned, found) for name, found in self.values.items() if name != TUNED}

    def to_json(self) -> dict[str, Any]:
        """Return all of it but the values by query, as JSON values."""
        differences = self.differences
        return {
            "dataset": self.dataset,
            "measure": MEASURE,
            "queries": len(self.query_ids),
            "depth": self.depth,
            "settings_tried": self.settings,
            "means": {name: float(found.mean()) for name, found in self.values.items()},
            "in_sample": self.in_sample,
            "tuned_minus": {
                name: {
                    "mean": one.mean,
                    "interval": [one.low, one.high],
                    "p_randomisation": one.p_randomisation,
                }
                for name, one in differences.items()
            },
            "verdict": self.verdict,
            "present": dict(self.present),
            "search": dict(self.search),
            "changed": self.changed,
            "folds": [
                {
                    "queries": len(fold.query_ids),
                    "chosen_by": fold.chosen_by,
                    "held_out": fold.held_out,
                    "present": fold.present,
                    "search": dict(fold.search),
                }
                for fold in self.folds
            ],
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """Return a text for people: the systems, the folds, and both settings."""
        width = max(map(len, self.values))
        differences = self.differences
        lines = [
            f"{self.dataset}: {len(self.query_ids)} judged queries, {len(self.folds)} folds, {MEASURE}, "
            f"{self.settings:,} settings tried",
            f"  {'':<{width}}  {MEASURE}  tuned minus it  95 % interval     p",
        ]
        for name, found in self.values.items():
            line = f"  {name:<{width}}  {found.mean():>7.4f}"
            if name in differences:
                one = differences[name]
                line += f"  {one.mean:>+14.4f}  {one.low:+.4f} {one.high:+.4f}  {one.p_randomisation:.4f}"
            lines.append(line)
        if self.changed:
            lines.append(f"  chosen and measured on all queries: {self.in_sample:.4f}, an overestimate")
        for at, fold in enumerate(self.folds, start=1):
            lines.append(
                f"  fold {at}: {len(fold.query_ids)} queries, {fold.held_out:.4f} (present {fold.present:.4f}) by "
                f"{described(fold.search)}"
            )
        lines.append(f"present  {described(self.present)}")
        lines.append(f"tuned    {described(self.search)}" if self.changed else "tuned    the same")
        lines.append(f"on held-out queries: {self.verdict}")
        return "\n".join(lines)


def tune(
    dataset: str | Path | Dataset,
    collection: Collection | Path | str,
    *,
    split: str | None = None,
    folds: int = FOLDS,
    depth: int = DEPTH,
    progress: Progress | None = None,
) -> Tuning:
    """Choose search defaults for a collection by the judgements of a data set; nothing is written.

    depth  how many documents of a list a setting may read: the greatest rescoring depth and list limit that is tried

    First stages are exact. Raises EvaluationError (an lsr.errors.QueryError) for judgements that cannot decide: fewer
    than 10 queries with a relevant document, or none that is in the collection; and what a search raises.
    """
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, split=split)
    usable = sum(any(grade > 0 for grade in grades.values()) for grades in opened.qrels.values())
    if usable < LEAST_QUERIES:
        raise EvaluationError(
            f"{usable} queries have a relevant document; tuning needs {LEAST_QUERIES} at least", field="qrels"
        )
    if not 2 <= folds <= len(opened.qrels):
        raise EvaluationError(f"folds: from 2 to {len(opened.qrels)}, the number of judged queries", field="folds")
    if not LIMITS[0] <= depth <= MAX_CANDIDATES:
        raise EvaluationError(f"depth: from {LIMITS[0]} to {MAX_CANDIDATES}", field="depth")
    with ExitStack() as stack:
        if not isinstance(collection, Collection):
            collection = stack.enter_context(Collection.open(Path(collection)))
        warnings = list(opened.warnings) + _missing(opened, collection)
        lists, notes = _lists(collection)
        present = present_setting(collection.search_defaults, lists)
        reached = max(depth, *present.reached)
        pairs = list(_judged(opened, collection, lists, reached, progress))
        judged = [one for one, _ in pairs]
        if (own := opened.own_document.warning(sum(found for _, found in pairs))) is not None:
            warnings.append(own)
        return _tuned(opened, collection, lists, judged, folds, depth, [*warnings, *notes], progress)


def _tuned(
    dataset: Dataset,
    collection: Collection,
    lists: Lists,
    judged: list[Judged],
    folds: int,
    depth: int,
    warnings: list[str],
    progress: Progress | None,
) -> Tuning:
    """Choose by all queries, and by all but each fold."""
    defaults = collection.search_defaults
    present = present_setting(defaults, lists)
    values = Values(judged, defaults.k)
    every = np.random.default_rng(_SEED).permutation(len(judged))
    chosen = best_setting(values, present, lists, depth, every)
    query_ids = tuple(dataset.qrels)
    held_out = np.zeros(len(judged))
    reported: list[Fold] = []
    for at, fold in enumerate(np.array_split(every, folds)):
        if progress is not None:
            progress("folds", at, folds)
        others = np.setdiff1d(every, fold)
        setting = best_setting(values, present, lists, depth, others)
        held_out[fold] = values.of(setting)[fold]
        search = to_search(setting, lists, defaults)
        means = (values.of(one)[part].mean() for one, part in ((setting, others), (setting, fold), (present, fold)))
        reported.append(Fold(tuple(query_ids[one] for one in fold.tolist()), search, *map(float, means)))
    if progress is not None:
        progress("folds", folds, folds)
    by_system = {PRESENT: values.of(present)}
    by_system |= {f"{name} alone": values.of(alone(at, lists)) for at, name in enumerate(lists.using)}
    return Tuning(
        dataset=dataset.name,
        query_ids=query_ids,
        depth=depth,
        present=defaults.to_json(),
        search=to_search(chosen, lists, defaults) if chosen != present else defaults.to_json(),
        changed=chosen != present,
        values=by_system | {TUNED: held_out},
        in_sample=float(values.of(chosen).mean()),
        folds=tuple(reported),
        settings=len(values),
        warnings=tuple(warnings),
    )


def _lists(collection: Collection) -> tuple[Lists, list[str]]:
    """Return what can be combined, and what was left out."""
    defaults = collection.search_defaults
    vectors = collection.info().vectors
    others = [name for name, one in vectors.items() if one.kind == "sparse" and one.encoder is not None]
    dense = [name for name, one in vectors.items() if one.kind == "dense" and collection.can_rescore(name)]
    lists = lists_of(defaults, others, dense)
    lists = Lists(lists.using[:MAX_LEGS], lists.dense)
    unused = [name for name in vectors if name not in lists.using and name != lists.dense]
    return lists, [
        f"the vector {name!r} is left out: it is a second dense one, or cannot encode a query" for name in unused
    ]


def _judged(
    dataset: Dataset, collection: Collection, lists: Lists, depth: int, progress: Progress | None
) -> Iterator[tuple[Judged, bool]]:
    """Yield each query's judged candidates, and whether the document with its own id was among them."""
    queries = list(dataset.judged_queries())
    for query in queries:
        if not query.text.strip():
            raise DatasetMismatch(f"query {query.id!r} has no text, and a pipeline reads texts", field="queries")
    texts = [query.text for query in queries]
    found = collection.candidates(texts, using=lists.using, dense=lists.dense, depth=depth)
    for at, (query, candidates) in enumerate(zip(queries, found, strict=True), start=1):
        own = query.id in candidates.ids
        yield judge(candidates, dataset.qrels[query.id], query.id if dataset.own_document.dropped else None), own
        if progress is not None:
            progress("queries", at, len(queries))


def _missing(dataset: Dataset, collection: Collection) -> list[str]:
    """Return a warning where relevant documents are not in the collection; raise DatasetMismatch where all are not."""
    relevant = {doc for grades in dataset.qrels.values() for doc, grade in grades.items() if grade > 0}
    missing = sorted(doc for doc in relevant if collection.get(doc) is None)
    if len(missing) == len(relevant):
        raise DatasetMismatch(
            f"none of the {len(relevant):,} relevant documents is in the collection, such as {missing[0]!r}; "
            "do the judgements belong to it?",
            field="qrels",
        )
    if not missing:
        return []
    return [
        f"{len(missing):,} of {len(relevant):,} relevant documents are not in the collection, such as {missing[0]!r}"
    ]


def described(search: Mapping[str, Any]) -> str:
    """Return search defaults on one line: `scaled: 1 default + 1 bm25, 100 rescored by 5 meaning`."""
    parts = [
        f"{weight:g} {leg['using']}" + (f" (first {leg['limit']})" if "limit" in leg else "")
        for leg, weight in zip(search["queries"], search["weights"], strict=True)
    ]
    rescore = search["rescore"]
    if rescore is None:
        return parts[0].split(" ", 1)[1] if len(parts) == 1 else f"{search['method']}: {' + '.join(parts)}"
    last = f"{rescore['candidates']} rescored by {rescore['weight']:g} {rescore['using']}"
    return f"{search['method']}: {' + '.join(parts)}, {last}"
