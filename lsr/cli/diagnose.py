"""`lsr diagnose`: the terms that each system matched for one query of a data set, with the judgements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json


def diagnose(
    collections: Annotated[list[Path], typer.Argument(help="Collections of the data set's documents.", metavar="DIR")],
    dataset: Annotated[str, typer.Option(help="BEIR folder or ir-datasets id.", metavar="FOLDER|ID")],
    query: Annotated[str, typer.Option(help="The query's id in the data set.", metavar="QID")],
    k: Annotated[int, typer.Option("-k", help="Number of documents.", metavar="N", min=1, max=1000)] = 10,
    using: Annotated[str, typer.Option(help="The named vector to search.", metavar="NAME")] = "default",
    json: JsonFlag = False,
) -> int:
    """Show the terms that one query matched."""
    import eval as evaluation

    diagnoses = evaluation.diagnose_query(collections, dataset, query, using=using, k=k)
    if json:
        print_json([diagnosis.to_json() for diagnosis in diagnoses])
    else:
        print("\n".join(diagnosis.table() for diagnosis in diagnoses), end="")
    return 0
