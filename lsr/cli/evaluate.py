"""`lsr eval`: the usual measures of a collection, an encoder or a run file on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json


def evaluate(
    dataset: Annotated[
        list[str], typer.Option(help="BEIR folder or ir-datasets id; can be repeated.", metavar="FOLDER|ID")
    ],
    directory: Annotated[
        Path | None, typer.Argument(help="The collection that is searched.", metavar="DIR", show_default=False)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Index the data set's documents with this instead.  [default: bm25]", metavar="NAME|PATH"),
    ] = None,
    measures: Annotated[
        list[str] | None, typer.Option(help="Such as nDCG@10; can be repeated or separated by commas.", metavar="NAME")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which qrels.  [default: test]", metavar="NAME")] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="TREC run: written, or read when neither DIR nor --encoder is given.", metavar="FILE"),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="Hits a query; default: what the measures need.")] = None,
    using: Annotated[str, typer.Option(help="Which of the collection's named vectors.", metavar="NAME")] = "default",
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Search approximately; evaluation's default is exact.")
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Measure a collection, an encoder or a run file.

    The default measures are nDCG@10, Recall@100, MRR@10 and MAP.
    """
    import eval as evaluation
    from eval.measures import DEFAULT_MEASURES
    from lsr.cli.progress import progress_bar
    from lsr.cli.running import say

    if run is not None and len(dataset) > 1:
        raise typer.BadParameter("one run file holds one data set; give one --dataset", param_hint="--run")
    names = [name.strip() for item in measures or () for name in item.split(",") if name.strip()]
    for one in dataset:
        with progress_bar() as progress:
            result = evaluation.evaluate(
                one,
                collection=directory,
                encoder=encoder,
                run=run,
                split=split,
                measures=names or DEFAULT_MEASURES,
                k=k,
                search=evaluation.SearchSettings(using=using, exact=not approximate),
                progress=progress and (lambda done, total, report=progress: report("queries", done, total)),
                index_progress=progress,
            )
        if json:
            print_json(result.to_json())
        else:
            print(result.table())
        for warning in result.warnings:
            say(f"warning: {warning}")
    return 0
