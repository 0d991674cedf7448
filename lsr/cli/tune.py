"""`lsr tune`: search defaults chosen by judgements, with held-out figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.evaluate import OwnDocument, OwnDocumentOption
from lsr.cli.output import JsonFlag, print_json, progress_bar, say


def tune(
    directory: Annotated[Path, typer.Argument(help="The collection.", metavar="DIR")],
    queries: Annotated[
        Path | None,
        typer.Option(help="Queries: id and text separated by a tab, JSON lines, or TREC topics.", metavar="FILE"),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Their judgements, in TREC's or BEIR's format.", metavar="FILE")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="BEIR folder or ir-datasets id, instead of both.", metavar="FOLDER|ID")
    ] = None,
    split: Annotated[str | None, typer.Option(help="With --dataset: which qrels.", metavar="NAME")] = None,
    folds: Annotated[int, typer.Option(help="Parts of the queries; each is held out once.", metavar="N")] = 5,
    depth: Annotated[
        int, typer.Option(help="The most documents of a list that are read, and rescored.", metavar="N")
    ] = 200,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and write nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write also where the held-out mean is lower than at present.")
    ] = False,
    own_document: OwnDocumentOption = OwnDocument.auto,
    json: JsonFlag = False,
) -> int:
    """Choose a collection's search defaults by your judgements.

    Tries weights, normalisation, rescoring and limits. Reports nDCG@10 on held-out queries next to the present
    search defaults and to each vector alone. The defaults chosen on all queries are written to the collection if
    the held-out mean is not lower than at present.
    """
    if (dataset is None) == (queries is None) or (queries is None) != (qrels is None):
        raise typer.BadParameter("give --queries with --qrels, or --dataset", param_hint="--queries")
    if split is not None and dataset is None:
        raise typer.BadParameter("goes with --dataset", param_hint="--split")
    import eval as evaluation
    from lsr.cli.arguments import one_collection
    from lsr.collection import Collection

    folder = one_collection(directory)
    if queries is not None and qrels is not None:
        judged = evaluation.from_trec_files(queries, qrels, drop_own_document=own_document.dropped)
    else:
        judged = evaluation.open_dataset(str(dataset), split=split, drop_own_document=own_document.dropped)
    # A collection that cannot be written now is better refused before the work than after it.
    with Collection.open(folder, "r" if dry_run else "w") as collection:
        with progress_bar() as progress:
            result = evaluation.tune(judged, collection, folds=folds, depth=depth, progress=progress)
        written = not dry_run and result.changed and (result.not_lower or force)
        if written:
            collection.set_search_defaults(result.search)
    if json:
        print_json(result.to_json() | {"written": written})
    else:
        print(result.table())
    for warning in result.warnings:
        say(f"warning: {warning}")
    if written:
        say(f"the search defaults of {directory} are changed")
    elif not result.changed:
        say("the present search defaults stay")
    elif dry_run:
        say("nothing is written (--dry-run)")
    else:
        say("nothing is written: the held-out mean is lower than that of the present defaults (--force writes it)")
    return 0
