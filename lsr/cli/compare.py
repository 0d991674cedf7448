"""`lsr compare`: two runs on one data set, with significance tests and the queries that differ most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.evaluate import OwnDocument, OwnDocumentOption
from lsr.cli.output import JsonFlag, print_json, say


def compare(
    first: Annotated[Path, typer.Argument(help="A TREC run.", metavar="RUN")],
    second: Annotated[Path, typer.Argument(help="Another TREC run.", metavar="RUN")],
    dataset: Annotated[str, typer.Option(help="BEIR folder or ir-datasets id.", metavar="FOLDER|ID")],
    measures: Annotated[
        list[str] | None, typer.Option(help="Such as nDCG@10; can be repeated or separated by commas.", metavar="NAME")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Only show this query's best documents in both runs.", metavar="QID")
    ] = None,
    own_document: OwnDocumentOption = OwnDocument.auto,
    json: JsonFlag = False,
) -> int:
    """Compare two runs: significance tests, wins and losses."""
    import eval as evaluation
    from eval.measures import DEFAULT_MEASURES

    if query is not None:
        if json:
            raise typer.BadParameter("--query prints text only: it does not work with --json")
        print(evaluation.side_by_side_table(evaluation.open_dataset(dataset), first, second, query), end="")
        return 0
    names = [part.strip() for item in measures or () for part in item.split(",") if part.strip()]
    comparison = evaluation.compare_runs(
        dataset, first, second, measures=names or DEFAULT_MEASURES, drop_own_document=own_document.dropped
    )
    if json:
        print_json(comparison.to_json())
    else:
        print(comparison.table(), end="")
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    return 0
