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
        str | None,
        typer.Option(
            help="A file of vectors; for a collection with an encoder also texts (JSONL, BEIR folder). An .npz may "
            "hold both.",
            metavar="FILE",
        ),
    ] = None,
    k: Annotated[list[int] | None, typer.Option("-k", help="Hits a query; may be repeated.", metavar="N")] = None,
    limit: Annotated[int, typer.Option(help="Measure at most this many queries.", min=1, metavar="N")] = 500,
    repeat: Annotated[int, typer.Option(help="Timed passes over the queries.", min=1, metavar="N")] = 3,
    using: Annotated[str, typer.Option(help="Which of the collection's named vectors.", metavar="NAME")] = "default",
    peers: Annotated[
        list[str] | None,
        typer.Option(help="Also measure: seismic, sindi, kannolo, qdrant, scipy. VECTORS only.", metavar="NAME"),
    ] = None,
    seismic: Annotated[
        list[str] | None,
        typer.Option(help="A build of the peer seismic: n_postings/centroid_fraction/summary_energy.", metavar="N/F/E"),
    ] = None,
    builds: Annotated[
        Path | None, typer.Option(help="Keep the indexes here and take them from here.", metavar="DIR")
    ] = None,
    build_limit: Annotated[
        float, typer.Option(help="Give up kannolo's build after so many seconds.", min=1, metavar="S")
    ] = 600,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG file.", metavar="FILE")] = None,
    json: JsonFlag = False,
) -> int:
    """Measure recall against time, on one thread.

    For VECTORS, recall is against a brute force over the vectors as given; for a collection, against its exact search.
    Queries beyond the limit, if there are a hundred, calibrate our recall targets, which are then measured, too. A
    query's time is the least of the passes. Tables hold the settings that no other beats in both; --json holds all.
    """
    from lsr.cli.benching.report import plot_curve, print_curves
    from lsr.cli.benching.seismic import SeismicBuild
    from lsr.cli.benching.sweep import sweep
    from lsr.cli.benching.targets import SEISMIC_BUILDS, open_targets
    from lsr.cli.output import print_json
    from lsr.cli.progress import progress_bar

    depths = k or [10]
    if min(depths) < 1 or max(depths) > 1000:
        raise typer.BadParameter("1 to 1000", param_hint="-k")
    if plot is not None and plot.suffix.lower() != ".png":
        raise typer.BadParameter("a file name that ends in .png", param_hint="--plot")
    try:
        chosen = [SeismicBuild.parse(one) for one in seismic or []]
    except ValueError:
        raise typer.BadParameter("like 2000/0.1/0.4", param_hint="--seismic") from None
    curves = []
    targets = open_targets(
        target,
        queries,
        depth=max(depths),
        limit=limit,
        using=using,
        peers=peers or [],
        builds=builds,
        seismic=chosen or SEISMIC_BUILDS,
        build_limit=build_limit,
    )
    for one in targets:
        for depth in depths:
            with progress_bar() as progress:
                curves.append(sweep(one, depth, repeat, progress))
            if json:
                print_json(curves[-1].to_json())
    if not json:
        print_curves(curves)
    if plot is not None:
        plot_curve(curves, plot)
    return 0
