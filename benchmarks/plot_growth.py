"""Draws how exact search grows with the collection, from what index_exact.py printed for several sizes.

usage: python benchmarks/plot_growth.py OUT.png LINES.jsonl ... [-k 10 100]

LINES.jsonl are the outputs of `python benchmarks/index_exact.py … --docs N` for each N. Both axes are logarithmic; a
dotted line through the first point of each curve shows linear growth.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

NAMES = {"maxima": "block maxima", "sindi": "SINDI, nothing pruned"}


def main() -> None:
    """Write OUT.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("-k", type=int, nargs="+", default=[10, 100])
    given = parser.parse_args()
    curves: dict[tuple[int, str], list[tuple[int, float]]] = defaultdict(list)
    for path in given.lines:
        for line in path.read_text().splitlines():
            point = json.loads(line)
            name = NAMES.get(point["what"], "unpruned postings")
            curves[point["k"], name].append((point["docs"], point["mean_us"]))
    figure = Figure(figsize=(4.5 * len(given.k), 4), layout="constrained")
    for place, k in enumerate(given.k):
        axes = figure.add_subplot(1, len(given.k), place + 1, title=f"k = {k}")
        axes.set(xscale="log", yscale="log", xlabel="documents", ylabel="mean µs per query, one thread")
        for (of, name), points in sorted(curves.items()):
            if of == k:
                docs, micro = zip(*sorted(points), strict=True)
                (drawn,) = axes.plot(docs, micro, marker="o", label=name)
                linear = [micro[0] * n / docs[0] for n in docs]
                axes.plot(docs, linear, linestyle="dotted", color=drawn.get_color(), linewidth=1)
        axes.legend()
    figure.savefig(given.out, dpi=120)


if __name__ == "__main__":
    main()
