"""`lsr bench`: how much recall a search gives for how much time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag


def bench(
    target: Annotated[
        str, typer.Argument(help="A collection, or a file of ready-made vectors.", metavar="DIR|VECTORS")
    ],
    queries: Annotated[
        str,
        typer.Option(
            help="A file of vectors; for a collection with an encoder also texts (JSONL, BEIR folder).", metavar="FILE"
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="Hits a query.", min=1, max=1000, metavar="N")] = 10,
    limit: Annotated[int, typer.Option(help="At most this many queries.", min=1, metavar="N")] = 1000,
    repeat: Annotated[int, typer.Option(help="Timed passes over the queries.", min=1, metavar="N")] = 3,
    using: Annotated[str, typer.Option(help="Which of the collection's named vectors.", metavar="NAME")] = "default",
    peers: Annotated[
        list[str] | None,
        typer.Option(help="Also measure: seismic (the pyseismic-lsr package). VECTORS only.", metavar="NAME"),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into this PNG file.", metavar="FILE")] = None,
    json: JsonFlag = False,
) -> int:
    """Measure recall against time, on one thread.

    For VECTORS, recall is against a brute force over the vectors as given; for a collection, against its exact search.
    The table holds the settings that no other beats in both, the default and the exact search; --json holds all.
    """
    from lsr.cli.bench_report import plot_curve, print_curves
    from lsr.cli.bench_sweep import sweep
    from lsr.cli.bench_targets import open_targets
    from lsr.cli.output import print_json
    from lsr.cli.progress import progress_bar

    if plot is not None and plot.suffix.lower() != ".png":
        raise typer.BadParameter("a file name that ends in .png", param_hint="--plot")
    with open_targets(target, queries, limit=limit, using=using, peers=peers or []) as targets:
        curves = []
        for one in targets:
            with progress_bar() as progress:
                curves.append(sweep(one, k, repeat, progress))
    if json:
        for curve in curves:
            print_json(curve.to_json())
    else:
        print_curves(curves)
    if plot is not None:
        plot_curve(curves, plot)
    return 0
