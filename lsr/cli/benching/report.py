"""The curves of `lsr bench` as tables and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsr.cli.benching.sweep import Curve, Point
from lsr.cli.output import human_bytes, print_table
from lsr.errors import QueryError

RECALLS = (0.90, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def print_curves(curves: Sequence[Curve]) -> None:
    """Print a table for each curve (its front, the default, the exact search), and one of all of them side by side."""
    for curve in curves:
        about = curve.description
        size = f"{human_bytes(about['bytes'])}; " if about.get("bytes") else ""
        print(
            f"{curve.name}: {about['documents']:,} documents, {about['queries']:,} queries, k = {curve.k}, one thread, "
            f"{size}recall is against {about['recall_against']}"
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
    """Draw recall against mean time, one panel for each k. Raises QueryError when matplotlib is not installed."""
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
    figure.savefig(path)


def _print_side_by_side(curves: Sequence[Curve]) -> None:
    print(f"mean µs a query at the recall@{curves[0].k} or better, in brackets p99:")
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
