"""`lsr eval`: the standard measures of a collection, an encoder or a run file on data sets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lsr.cli.arguments import SettingOption, parse_settings
from lsr.cli.output import JsonFlag, print_json, progress_bar, say

if TYPE_CHECKING:
    from eval import Dataset, SearchSettings
    from lsr.errors import ExitCode


class OwnDocument(StrEnum):
    """Whether the document with the query's own id is left out of the query's ranking."""

    auto = "auto"
    drop = "drop"
    keep = "keep"

    @property
    def dropped(self) -> bool | None:
        """True, False, or None for the default of the data set."""
        return None if self is OwnDocument.auto else self is OwnDocument.drop


OwnDocumentOption = Annotated[
    OwnDocument,
    typer.Option(
        "--own-document",
        help="The document with the query's own id: drop it from the ranking, or keep it; auto: drop it from BEIR's "
        "data sets, unless it is judged relevant.",
    ),
]


class FeedbackTime(StrEnum):
    """When a query is expanded, see lsr/search/feedback.py."""

    before = "before"
    after = "after"
    both = "both"


def evaluate(
    directory: Annotated[
        Path | None, typer.Argument(help="The collection to evaluate.", metavar="DIR", show_default=False)
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="BEIR folder or ir-datasets id; can be repeated.", metavar="FOLDER|ID")
    ] = None,
    every: Annotated[
        Path | None, typer.Option("--all", help="All BEIR folders in this folder; needs --results.", metavar="FOLDER")
    ] = None,
    topics: Annotated[Path | None, typer.Option(help="TREC topics, instead of --dataset.", metavar="FILE")] = None,
    qrels: Annotated[Path | None, typer.Option(help="TREC qrels, with --topics.", metavar="FILE")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="With --topics and --encoder: the corpus to index.", metavar="CORPUS")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Without DIR: index the data set's documents with this encoder.  [default: bm25]", metavar="NAME|PATH"
        ),
    ] = None,
    setting: SettingOption = None,
    measures: Annotated[
        list[str] | None, typer.Option(help="Such as nDCG@10; can be repeated or separated by commas.", metavar="NAME")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the qrels.  [default: test]", metavar="NAME")] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="TREC run: written, or read if neither DIR nor --encoder is given.", metavar="FILE"),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Store each result as a file here, for lsr leaderboard.", metavar="DIR")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the system in tables.", metavar="NAME")] = None,
    efficiency: Annotated[bool, typer.Option("--efficiency", help="Also measure sizes and times.")] = False,
    k: Annotated[int | None, typer.Option("-k", help="Hits per query; default: what the measures need.")] = None,
    using: Annotated[
        str | None, typer.Option(help="The collection's named vector to search.  [default: default]", metavar="NAME")
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(help="Rank by the search defaults, or by those in a JSON file.", metavar="default|FILE"),
    ] = None,
    feedback: Annotated[
        FeedbackTime | None,
        typer.Option(help="Expand queries from their first hits: before or after the fusion, or both."),
    ] = None,
    own_document: OwnDocumentOption = OwnDocument.auto,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Search approximately; the default of lsr eval is exact.")
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Evaluate a collection, an encoder or a run file.

    The default measures are nDCG@10, Recall@100, MRR@10 and MAP. With --all, existing results are kept, and a data set
    that fails does not stop the others; the exit code is then 4.
    """
    if pipeline is not None and using is not None:
        raise typer.BadParameter("names one vector, and --pipeline its own: give one of them", param_hint="--using")
    if efficiency and (pipeline is not None or feedback is not None):
        raise typer.BadParameter("measures one vector, without --pipeline and --feedback", param_hint="--efficiency")
    from eval import SearchSettings
    from eval.measures import DEFAULT_MEASURES
    from eval.pipelines import read_pipeline
    from lsr.search.request import Feedback

    names = tuple(part.strip() for item in measures or () for part in item.split(",") if part.strip())
    request = Request(
        collection=directory,
        encoder=encoder,
        encoder_settings=parse_settings(setting),
        run=run,
        split=split,
        measures=names or tuple(DEFAULT_MEASURES),
        k=k,
        search=SearchSettings(
            using=using or "default",
            pipeline=None if pipeline is None else read_pipeline(pipeline),
            feedback=None if feedback is None else Feedback(when=feedback.value),
            exact=not approximate,
        ),
        efficiency=efficiency,
        drop_own_document=own_document.dropped,
        results=results,
        name=name,
    )
    given = [*(dataset or ()), *([str(topics)] if topics is not None else ()), *([str(every)] if every else ())]
    if not given:
        raise typer.BadParameter("give a BEIR folder or an ir-datasets id", param_hint="--dataset")
    if every is not None:
        if len(given) > 1 or results is None or directory is not None or run is not None:
            raise typer.BadParameter(
                "needs --results and does not work with DIR, --dataset, --topics or --run", param_hint="--all"
            )
        return evaluate_folder(every, request, as_json=json)
    if (topics is None) != (qrels is None):
        raise typer.BadParameter("give --topics and --qrels together", param_hint="--topics")
    if run is not None and len(given) > 1:
        raise typer.BadParameter("a run file is for one data set; give one --dataset", param_hint="--run")
    for one in dataset or ():
        evaluate_one(one, request, as_json=json)
    if topics is not None and qrels is not None:
        from eval import from_trec_files

        evaluate_one(from_trec_files(topics, qrels, corpus=corpus), request, as_json=json)
    return 0


@dataclass(frozen=True)
class Request:
    """The evaluation to run; see the options of `lsr eval`."""

    collection: Path | None
    encoder: str | None
    encoder_settings: Mapping[str, Any]
    run: Path | None
    split: str | None
    measures: tuple[str, ...]
    k: int | None
    search: SearchSettings
    efficiency: bool
    drop_own_document: bool | None
    results: Path | None
    name: str | None


def evaluate_one(dataset: str | Dataset, request: Request, *, as_json: bool) -> None:
    """Evaluate on one data set; print the measures, and warnings on stderr. Raises what `evaluate` raises."""
    from eval import cell_content, evaluate, write_cell

    with progress_bar() as progress:
        result = evaluate(
            dataset,
            collection=request.collection,
            encoder=request.encoder,
            encoder_settings=request.encoder_settings,
            run=request.run,
            split=request.split,
            measures=request.measures,
            k=request.k,
            search=request.search,
            efficiency=request.efficiency,
            drop_own_document=request.drop_own_document,
            progress=None if progress is None else lambda done, total: progress("queries", done, total),
            index_progress=progress,
        )
    if as_json:
        print_json(result.to_json())
    elif _is_written_to_stdout(request):
        print(result.table(), file=sys.stderr)  # stdout has the run
    else:
        print(result.table())
    for warning in result.warnings:
        say(f"warning: {warning}")
    if request.results is not None:
        path = write_cell(request.results, cell_content(result, command=sys.argv, name=request.name))
        say(f"stored as {path}")


def _is_written_to_stdout(request: Request) -> bool:
    from lsr.output_file import is_stdout

    made = request.collection is not None or request.encoder is not None
    return is_stdout(request.run) and (made or str(request.run) != "-")


def evaluate_folder(folder: Path, request: Request, *, as_json: bool) -> ExitCode:
    """Evaluate on every BEIR folder in `folder`; PARTIAL if some failed, FAILURE if all did."""
    from eval import SystemSpec, evaluate_all, find_datasets
    from eval.pipelines import new_pipeline_name
    from eval.systems import BASELINE_ENCODER
    from lsr.errors import ExitCode

    encoder = request.encoder or BASELINE_ENCODER
    name = request.name or new_pipeline_name(encoder, request.encoder_settings, request.search)
    system = SystemSpec(name, encoder, request.encoder_settings, request.search)
    outcomes = evaluate_all(
        find_datasets(folder),
        [system],
        request.results or Path(),
        measures=request.measures,
        k=request.k,
        efficiency=request.efficiency,
        drop_own_document=request.drop_own_document,
        command=sys.argv,
        on_start=lambda dataset, name: say(f"{name} on {dataset} …"),
    )
    good = bad = 0
    for outcome in outcomes:
        if outcome.cell is None:
            bad += 1
            say(f"{outcome.dataset}: {outcome.reason}")
            continue
        good += 1
        measures = dict(outcome.cell.measures)
        if as_json:
            print_json({"dataset": outcome.dataset, "system": outcome.system, "status": outcome.status, **measures})
        else:
            figures = "  ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
            print(f"{outcome.dataset:<24}  {figures}  ({outcome.status})")
    if not bad:
        return ExitCode.OK
    return ExitCode.PARTIAL if good else ExitCode.FAILURE
