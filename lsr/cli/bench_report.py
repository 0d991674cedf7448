"""The curves of `lsr bench` as tables and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsr.cli.bench_sweep import Curve, Point
from lsr.cli.output import human_bytes, print_table
from lsr.errors import QueryError


def print_curves(curves: Sequence[Curve]) -> None:
    """Print a table for each curve: its front, the default and the exact search."""
    for curve in curves:
        about = curve.description
        print(
            f"{curve.name}: {about['documents']:,} documents, {about['queries']:,} queries, k = {curve.k}, one thread, "
            f"{human_bytes(about['bytes'])}; recall is against {about['recall_against']}"
        )
        front = curve.front()
        named = [point for point in curve.points if "query_cut" not in point.settings and point not in front]
        shown = sorted([*front, *named], key=lambda point: point.mean_us)
        print_table(
            ("recall", "mean µs", "p50 µs", "p99 µs", "settings"), [_row(point) for point in shown], (0, 1, 2, 3)
        )
        print()


def plot_curve(curves: Sequence[Curve], path: Path) -> None:
    """Draw recall against mean time. Raises QueryError when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise QueryError("a plot needs matplotlib: pip install matplotlib", field="plot") from None
    figure = Figure(figsize=(7, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        front = [point for point in curve.front() if not point.settings.get("exact")]
        axes.plot([p.recall for p in front], [p.mean_us for p in front], marker="o", label=curve.name)
    axes.set_xlabel(f"recall@{curves[0].k}")
    axes.set_ylabel("mean time of a query, µs, one thread")
    axes.set_yscale("log")
    axes.set_title(f"{curves[0].description['documents']:,} documents, {curves[0].description['queries']:,} queries")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path)


def _row(point: Point) -> tuple[str, str, str, str, str]:
    settings = ", ".join(f"{name}={value}" for name, value in point.settings.items()) or "default"
    return f"{point.recall:.4f}", f"{point.mean_us:.0f}", f"{point.p50_us:.0f}", f"{point.p99_us:.0f}", settings
