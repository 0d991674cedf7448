"""`lsr compare`: two runs on one data set, with significance and the queries that differ most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json


def compare(
    first: Annotated[Path, typer.Argument(help="A TREC run.", metavar="RUN")],
    second: Annotated[Path, typer.Argument(help="Another.", metavar="RUN")],
    dataset: Annotated[str, typer.Option(help="BEIR folder or ir-datasets id.", metavar="FOLDER|ID")],
    measures: Annotated[
        list[str] | None, typer.Option(help="Such as nDCG@10; can be repeated or separated by commas.", metavar="NAME")
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Compare two runs: tests, wins and losses."""
    import eval as evaluation
    from eval.measures import DEFAULT_MEASURES

    names = [part.strip() for item in measures or () for part in item.split(",") if part.strip()]
    comparison = evaluation.compare_runs(dataset, first, second, measures=names or DEFAULT_MEASURES)
    if json:
        print_json(comparison.to_json())
    else:
        print(comparison.table(), end="")
    return 0
