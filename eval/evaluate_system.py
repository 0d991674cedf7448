"""`evaluate`: the function behind `lsr eval`.

It evaluates one of three: a collection's folder; an encoder, with which the data set's corpus is indexed into a
temporary collection by the same code as `lsr index`; or an existing run file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.dataset import Dataset, open_dataset
from eval.efficiency import measure_efficiency
from eval.errors import DatasetMismatch, EvaluationError
from eval.evaluation import Evaluation, Progress, depth_for, measure_system
from eval.measures import DEFAULT_MEASURES, Measure, parse_measures, with_relevance
from eval.own_documents import own_document_rule
from eval.pipelines import PipelineSystem
from eval.ranking import TieOrder
from eval.runs import read_run
from eval.systems import BASELINE_ENCODER, CollectionSystem, RunSystem, SearchSettings, System
from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.default_pipeline import vectors_for
from lsr.documents import Document
from lsr.errors import InvalidDocument
from lsr.input_file import STDIN, open_input
from lsr.output_file import is_stdout
from lsr.vectors import VectorConfig
from lsr.writing.bulk_load import Progress as IndexProgress
from lsr.writing.bulk_load import index_corpus

_CHECKED_DOCUMENTS = 1_000  # relevant documents that must be in the collection


def evaluate(
    dataset: str | Path | Dataset,
    *,
    collection: Path | str | None = None,
    encoder: str | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    run: Path | None = None,
    split: str | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int | None = None,
    search: SearchSettings | None = None,
    ties: TieOrder = "id",
    efficiency: bool = False,
    drop_own_document: bool | None = None,
    progress: Progress | None = None,
    index_progress: IndexProgress | None = None,
) -> Evaluation:
    """Evaluate a collection, an encoder or a run on a data set (a BEIR folder, an ir-datasets id, or an open one).

    The rankings are written to `run` as a TREC run. If neither `collection` nor `encoder` is given and the file exists,
    the run is evaluated instead. Without all three, BM25 is evaluated, or the data set's own vectors if it has them.
    Search is exact unless `search` says otherwise; `k` is the depth of the ranking (default: the deepest cutoff of the
    measures, 1,000 for MAP). `efficiency` also measures sizes and times (eval.efficiency). `drop_own_document`: whether
    the document with the query's id is left out of its ranking; None: see eval.own_documents.

    Raises EvaluationError (an lsr.errors.QueryError) for invalid input, and what a collection raises.
    """
    named = parse_measures(measures)
    if collection is not None and encoder is not None:
        raise EvaluationError("give a collection or an encoder, not both", field="encoder")
    if k is not None and k < 1:
        raise EvaluationError(f"k must be at least 1, not {k}", field="k")
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, split=split)
    if drop_own_document is not None:
        rule = own_document_rule(opened.qrels, beir=False, choice=drop_own_document)
        opened = replace(opened, own_document=rule)
    parsed = with_relevance(named, opened.relevance)
    if run is not None and collection is None and encoder is None and _is_read(run, opened):
        if str(run) != STDIN and (not run.exists() or run.is_dir()):
            raise EvaluationError(f"{run}: no such run file; give a collection or --encoder to write one", field="run")
        system: System = _run_system(opened, run, ties)
        return measure_system(system, opened, parsed, depth=depth_for(parsed, k), ties=ties, progress=progress)
    settings = search or SearchSettings()
    if efficiency and not settings.is_plain:
        raise EvaluationError("efficiency is measured for one vector without feedback", field="efficiency")
    index_seconds = None
    with ExitStack() as stack:
        if collection is not None:
            source = stack.enter_context(Collection.open(Path(collection)))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lsr-eval-"))) / "index"
            whole = settings.pipeline is not None
            index_seconds = _index(opened, encoder, encoder_settings or {}, folder, index_progress, whole=whole)
            source = stack.enter_context(Collection.open(folder))
        if settings.pipeline is None:
            _check_vector_name(source, settings.using)
        system = CollectionSystem(source, settings) if settings.is_plain else PipelineSystem(source, settings)
        own = any(source.get(query_id) is not None for query_id in opened.qrels)
        result = _measure_collection(system, opened, parsed, k, settings, ties, run, progress, own_documents_exist=own)
        if efficiency:
            figures = measure_efficiency(source, opened, settings, index_seconds=index_seconds)
            result = replace(result, efficiency=figures)
        return _with_documents(result, opened, source)


def _is_read(run: Path, dataset: Dataset) -> bool:
    """Whether a run file is evaluated rather than written, where nothing else is given to be evaluated."""
    return str(run) == STDIN or (not is_stdout(run) and (run.exists() or not dataset.has_vectors))


def _measure_collection(
    system: System,
    dataset: Dataset,
    measures: Sequence[Measure],
    k: int | None,
    search: SearchSettings,
    ties: TieOrder,
    run: Path | None,
    progress: Progress | None,
    *,
    own_documents_exist: bool,
) -> Evaluation:
    """Compute each measure from a search of the depth it needs; the deepest search is written to `run`."""
    passes = _passes(measures, k, search)
    deepest = max(passes)
    results = {
        depth: measure_system(
            system,
            dataset,
            part,
            depth=depth,
            ties=ties,
            run_path=run if depth == deepest else None,
            own_documents_exist=own_documents_exist,
            progress=progress,
        )
        for depth, part in passes.items()
    }
    values = {measure: found for result in results.values() for measure, found in result.values.items()}
    return replace(
        results[deepest],
        values={measure: values[measure] for measure in measures},
        seconds=sum(result.seconds for result in results.values()),
    )


def _passes(measures: Sequence[Measure], k: int | None, search: SearchSettings) -> dict[int, list[Measure]]:
    """Return the measures to compute for each search depth.

    Exact search runs once, at the largest depth. Approximate search runs separately for every cutoff: a deeper search
    is more thorough, and nDCG@10 must show what a user gets with k = 10. So does a pipeline, and feedback:
    with a larger k, the lists that are fused are longer.
    """
    if k is not None or (search.parameters.exact and search.is_plain):
        return {depth_for(measures, k): list(measures)}
    passes: dict[int, list[Measure]] = {}
    for measure in sorted(measures, key=lambda one: depth_for([one])):
        passes.setdefault(depth_for([measure]), []).append(measure)
    return passes


def _run_system(dataset: Dataset, path: Path, ties: TieOrder) -> RunSystem:
    source = open_input(path)
    run = read_run(path, source=source, ties=ties, query_ids=dataset.queries.keys())
    system = RunSystem(run, path=str(path))
    system.check_queries(dataset.queries)
    if dataset.corpus is not None and Path(dataset.corpus).exists():
        # The run's ids are in memory and the corpus is streamed, because the corpus may be far larger.
        unknown = {doc_id for ranking in run.rankings.values() for doc_id in ranking.doc_ids}
        for line in open_corpus(dataset.corpus):
            if isinstance(line.content, Document):
                unknown.discard(line.content.id)
        if unknown:
            read_run(path, source=source, unknown_ids=unknown)
    return system


def _index(
    dataset: Dataset,
    encoder: str | None,
    encoder_settings: Mapping[str, Any],
    folder: Path,
    progress: IndexProgress | None,
    *,
    whole: bool,
) -> float:
    """Index the data set's corpus, like `lsr index`, and return the seconds.

    Without an encoder: BM25, or the data set's own vectors. `whole`: with all vectors of the encoder's pipeline.
    """
    if dataset.corpus is None:
        raise DatasetMismatch(f"{dataset.name} has no corpus to index; evaluate a collection or a run instead")
    if encoder is None and not dataset.has_vectors:
        encoder = BASELINE_ENCODER
    first_problem: list[str] = []

    def refuse(line: int, problem: InvalidDocument) -> None:
        first_problem.append(f"{dataset.corpus}: line {line}: {problem}")

    vectors = {"default": VectorConfig(encoder=encoder, settings=dict(encoder_settings))}
    if whole and encoder is not None:
        vectors = vectors_for(encoder, encoder_settings)
    report = index_corpus(open_corpus(dataset.corpus), folder, vectors=vectors, progress=progress, on_problem=refuse)
    if first_problem:
        # The figures of an incomplete corpus would look valid and be wrong.
        more = f" ({len(first_problem)} such lines)" if len(first_problem) > 1 else ""
        raise DatasetMismatch(f"the corpus is incomplete: {first_problem[0]}{more}", field="dataset")
    return report.seconds


def _check_vector_name(collection: Collection, using: str) -> None:
    names = [name for name, vector in collection.info().vectors.items() if vector.kind == "sparse"]
    if using not in names:
        raise EvaluationError(f"the collection has no vector {using!r}; its vectors: {', '.join(names)}", field="using")


def _with_documents(result: Evaluation, dataset: Dataset, collection: Collection) -> Evaluation:
    """Add the number of documents, and warn if they are not those of the data set."""
    documents = collection.info().documents
    official = dataset.known.documents if dataset.known is not None else None
    warnings = list(result.warnings)
    if official is not None and documents != official:
        warnings.append(f"{dataset.name} has {documents:,} documents; the official number is {official:,}")
    pairs = ((doc, grade) for judgements in dataset.qrels.values() for doc, grade in judgements.items())
    relevant = list(dict.fromkeys(doc for doc, grade in pairs if grade > 0))[:_CHECKED_DOCUMENTS]
    missing = [doc for doc in relevant if collection.get(doc) is None]
    if missing:
        share = f"{len(missing):,} of {len(relevant):,} relevant documents"
        warnings.append(f"{share} are not in the collection, for example {missing[0]!r}")
    return replace(result, documents=documents, warnings=tuple(warnings))
