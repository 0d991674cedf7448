"""Evaluates a system on a data set: search, rank, drop the documents that the benchmark excludes, measure, average.

`measure_system` is the loop; it keeps one batch of rankings in memory, for any number of queries. The result is an
`Evaluation`: means and values by query, with everything that is needed to reproduce it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.dataset import Dataset
from eval.measures import Measure, score
from eval.qrels import count_judgements
from eval.ranking import Ranking, TieOrder, rank, top, without
from eval.runs import RunWriter, run_writer
from eval.sources.queries import Query
from eval.systems import System

BATCH_SIZE = 128  # queries; at k = 1,000 a batch of rankings takes about 15 MB
DEFAULT_DEPTH = 1000  # documents per query for measures without a cutoff, as in TREC runs

Progress = Callable[[int, int], None]  # (queries done, all queries)


@dataclass(frozen=True)
class Evaluation:
    """The values of a system on a data set.

    `values[measure]` is float64[len(query_ids)], in the order of `query_ids`.
    """

    dataset: str
    split: str
    system: str
    settings: Mapping[str, Any]
    depth: int
    query_ids: tuple[str, ...]
    values: Mapping[Measure, NDArray[np.float64]]
    without_results: int
    seconds: float
    judgements: int = 0
    documents: int | None = None
    files: tuple[Path, ...] = ()  # of the data set, for its hash
    efficiency: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    own_document_dropped: bool = False  # whether the document with the query's id is left out of its ranking
    own_documents: int = 0  # queries whose ranking has, or had, that document

    @property
    def means(self) -> dict[str, float]:
        """The means over all judged queries, by the measures' usual names."""
        return {str(measure): float(values.mean()) for measure, values in self.values.items()}

    def per_query(self, measure: Measure) -> dict[str, float]:
        """Return the measure's value for each query."""
        return dict(zip(self.query_ids, self.values[measure].tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return one flat JSON object: the request, and the measures under their usual names."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "system": self.system,
            "queries": len(self.query_ids),
            "documents": self.documents,
            **self.means,
            "without_results": self.without_results,
            "depth": self.depth,
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 3),
            **({"efficiency": dict(self.efficiency)} if self.efficiency is not None else {}),
            "own_document": {"dropped": self.own_document_dropped, "queries": self.own_documents},
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """Return a short text: a heading and a line for each measure."""
        split = f" ({self.split})" if self.split else ""
        heading = f"{self.system} on {self.dataset}{split}: {len(self.query_ids)} queries, {self.seconds:.1f} s"
        width = max(len(name) for name in self.means)
        lines = [f"  {name:<{width}}  {value:.4f}" for name, value in self.means.items()]
        if self.own_documents:
            how = "left out" if self.own_document_dropped else "ranked"
            lines.append(f"  the document with the query's own id is {how}: {self.own_documents:,} queries")
        return "\n".join([heading, *lines])


def depth_for(measures: Sequence[Measure], k: int | None = None) -> int:
    """Return the search depth that the measures need: the deepest cutoff, or 1,000 if a measure has none."""
    cutoffs = [measure.cutoff for measure in measures]
    needed = DEFAULT_DEPTH if None in cutoffs else max(cutoff for cutoff in cutoffs if cutoff is not None)
    return needed if k is None else k


def measure_system(
    system: System,
    dataset: Dataset,
    measures: Sequence[Measure],
    *,
    depth: int,
    ties: TieOrder = "id",
    run_path: Path | None = None,
    batch_size: int = BATCH_SIZE,
    own_documents_exist: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank the data set's judged queries and measure the rankings; with `run_path`, also write them as a TREC run.

    own_documents_exist   False: no query's id is a document's, so that nothing is searched deeper for it
    """
    queries = list(dataset.judged_queries())
    values: dict[Measure, list[NDArray[np.float64]]] = {measure: [] for measure in measures}
    empty = own_documents = 0
    searching = 0.0
    with ExitStack() as stack:
        writer = stack.enter_context(run_writer(run_path, system.name)) if run_path is not None else None
        for batch in _batches(queries, batch_size):
            started = time.perf_counter()
            found, own = _rank_batch(system, dataset, batch, depth, ties, deeper=own_documents_exist)
            own_documents += own
            searching += time.perf_counter() - started
            rankings = [found[query.id] for query in batch]
            empty += sum(not ranking.doc_ids for ranking in rankings)
            _write(writer, rankings)
            for measure, scores in score(rankings, [dataset.qrels[query.id] for query in batch], measures).items():
                values[measure].append(scores)
            if progress is not None:
                progress(sum(len(part) for part in values[measures[0]]), len(queries))
    own_warning = dataset.own_document.warning(own_documents)
    return Evaluation(
        dataset=dataset.name,
        split=dataset.split,
        system=system.name,
        settings=system.settings,
        depth=depth,
        query_ids=tuple(query.id for query in queries),
        values={measure: np.concatenate(parts) for measure, parts in values.items()},
        without_results=empty,
        seconds=searching,
        judgements=count_judgements(dataset.qrels),
        files=dataset.files,
        warnings=(*dataset.warnings, *([] if own_warning is None else [own_warning])),
        own_document_dropped=dataset.own_document.dropped,
        own_documents=own_documents,
    )


def _rank_batch(
    system: System, dataset: Dataset, batch: Sequence[Query], depth: int, ties: TieOrder, *, deeper: bool
) -> tuple[dict[str, Ranking], int]:
    """Return (a ranking for every query of the batch, in our order and cut at `depth`; how many found their own id)."""
    nothing, own = np.empty(0), 0
    dropped = dataset.own_document.dropped
    found = {query.id: Ranking(query.id, [], nothing) for query in batch}
    # One document more if the query's own document must be removed.
    for ranking in system.rank(batch, depth + 1 if dropped and deeper else depth):
        ordered = rank(ranking.query_id, ranking.doc_ids, ranking.scores, ties=ties)
        own += ranking.query_id in ranking.doc_ids
        if dropped:
            ordered = without(ordered, ranking.query_id)
        found[ranking.query_id] = top(ordered, depth)
    return found, own


def _batches(queries: Sequence[Query], size: int) -> Iterator[list[Query]]:
    remaining = iter(queries)
    while batch := list(islice(remaining, size)):
        yield batch


def _write(writer: RunWriter | None, rankings: Sequence[Ranking]) -> None:
    if writer is not None:
        for ranking in rankings:
            writer.write(ranking)
