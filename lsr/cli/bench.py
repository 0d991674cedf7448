"""`lsr bench`: recall against search time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lsr.cli.output import JsonFlag, human_bytes, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from eval.bench.sweep import Curve, Point


RECALLS = (0.90, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def bench(
    target: Annotated[
        str, typer.Argument(help="A collection, or a file of ready-made vectors.", metavar="DIR|VECTORS")
    ],
    queries: Annotated[
        str | None,
        typer.Option(
            help="A file of vectors; for a collection with an encoder also texts (JSONL, BEIR folder). An .npz file of "
            "VECTORS may contain the queries.",
            metavar="FILE",
        ),
    ] = None,
    k: Annotated[list[int] | None, typer.Option("-k", help="Hits per query; can be repeated.", metavar="N")] = None,
    limit: Annotated[int, typer.Option(help="Measure at most this many queries.", min=1, metavar="N")] = 500,
    repeat: Annotated[int, typer.Option(help="Timed passes over the queries.", min=1, metavar="N")] = 3,
    using: Annotated[str, typer.Option(help="The collection's named vector to search.", metavar="NAME")] = "default",
    peers: Annotated[
        list[str] | None,
        typer.Option(help="Also measure seismic, sindi, kannolo, qdrant, scipy; VECTORS only.", metavar="NAME"),
    ] = None,
    seismic: Annotated[
        list[str] | None,
        typer.Option(help="A build of seismic: n_postings/centroid_fraction/summary_energy.", metavar="N/F/E"),
    ] = None,
    builds: Annotated[
        Path | None, typer.Option(help="Keep the indexes in this folder and reuse them.", metavar="DIR")
    ] = None,
    build_limit: Annotated[
        float, typer.Option(help="Stop kannolo's build after this many seconds.", min=1, metavar="S")
    ] = 600,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG file.", metavar="FILE")] = None,
    json: JsonFlag = False,
) -> int:
    """Measure recall against time, on one thread.

    For VECTORS, recall is relative to a brute-force search over the given vectors; for a collection, to its exact
    search. If at least 100 queries remain beyond the limit, they calibrate the recall targets, which are then measured
    too. A query's time is the minimum over the passes. Tables show the settings that no other setting beats in both
    recall and time; --json prints all.
    """
    from eval.bench.seismic import SeismicBuild
    from eval.bench.sweep import sweep
    from eval.bench.targets import SEISMIC_BUILDS, open_targets

    depths = k or [10]
    if min(depths) < 1 or max(depths) > 1000:
        raise typer.BadParameter("give a number from 1 to 1000", param_hint="-k")
    if plot is not None and plot.suffix.lower() != ".png":
        raise typer.BadParameter("give a file name that ends in .png", param_hint="--plot")
    try:
        chosen = [SeismicBuild.parse(one) for one in seismic or []]
    except ValueError:
        raise typer.BadParameter("give three numbers, such as 2000/0.1/0.4", param_hint="--seismic") from None
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
        on_skipped=say,
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


def print_curves(curves: Sequence[Curve]) -> None:
    """Print a table for each curve (its front, the default, exact search), and one table with all curves."""
    for curve in curves:
        about = curve.description
        size = f"{human_bytes(about['bytes'])}; " if about.get("bytes") else ""
        print(
            f"{curve.name}: {about['documents']:,} documents, {about['queries']:,} queries, k = {curve.k}, one thread, "
            f"{size}recall is relative to {about['recall_against']}"
        )
        front = curve.front()
        named = [point for point in curve.points if "query_cut" not in point.settings and point not in front]
        shown = sorted([*front, *named], key=lambda point: point.mean_us)
        print_table(
            ("recall", "mean µs", "p50 µs", "p99 µs", "settings"), [_row(point) for point in shown], (0, 1, 2, 3)
        )
        print()
    if len(curves) > 1:
        for k in sorted({curve.k for curve in curves}):
            _print_side_by_side([curve for curve in curves if curve.k == k])


def plot_curve(curves: Sequence[Curve], path: Path) -> None:
    """Draw recall against mean time, one panel for each k. Raises QueryError if matplotlib is not installed."""
    from lsr.errors import QueryError
    from lsr.output_file import output_file

    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise QueryError("a plot needs matplotlib: pip install matplotlib", field="plot") from None
    depths = sorted({curve.k for curve in curves})
    colours = {name: f"C{at}" for at, name in enumerate(dict.fromkeys(curve.name for curve in curves))}
    figure = Figure(figsize=(1 + 5 * len(depths), 4.5), dpi=110, layout="constrained")
    for at, k in enumerate(depths):
        axes = figure.add_subplot(1, len(depths), at + 1)
        for curve in curves:
            front = [point for point in curve.front() if point.recall >= 0.85]
            if curve.k == k and front:
                axes.plot(
                    [p.recall for p in front],
                    [p.mean_us for p in front],
                    marker="o",
                    color=colours[curve.name],
                    label=curve.name,
                )
        axes.set_xlabel(f"recall@{k}")
        axes.set_ylabel("mean time of a query, µs, one thread")
        axes.set_yscale("log")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
    figure.suptitle(f"{curves[0].description['documents']:,} documents, {curves[0].description['queries']:,} queries")
    with output_file(path) as file:
        figure.savefig(file, format="png")


def _print_side_by_side(curves: Sequence[Curve]) -> None:
    print(f"mean µs per query at this recall@{curves[0].k} or better, p99 in brackets:")
    rows = [
        (f"{recall:g}", *(_cell(point) if (point := curve.fastest(recall)) else "-" for curve in curves))
        for recall in RECALLS
    ]
    print_table(("recall", *(curve.name for curve in curves)), rows, tuple(range(len(curves) + 1)))
    print()


def _cell(point: Point) -> str:
    return f"{point.mean_us:.0f} ({point.p99_us:.0f})"


def _row(point: Point) -> tuple[str, str, str, str, str]:
    settings = ", ".join(f"{name}={value}" for name, value in point.settings.items()) or "default"
    return f"{point.recall:.4f}", f"{point.mean_us:.0f}", f"{point.p50_us:.0f}", f"{point.p99_us:.0f}", settings
