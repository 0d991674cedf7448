"""The runs of a sweep side by side: development figures against document length, as JSON lines and a plot.

python benchmarks/training_sweep.py runs/lambda-* --out docs/images/lsr-mini-sweep.png

A run is a folder of `lsr train`; its last evaluation in log.jsonl counts, and the terms of its documents are those that
the last steps' batches show (document_terms), before max_active_dims.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def last_figures(run: Path) -> dict[str, Any]:
    """Return regulariser, lambda, terms and development figures of a finished run."""
    config = json.loads((run / "config.json").read_text())["config"]
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    terms = [one["document_terms"] for one in records if "document_terms" in one][-20:]
    evaluation = [one["evaluation"] for one in records if "evaluation" in one][-1]
    return {
        "run": run.name,
        "regulariser": config["loss"]["regulariser"],
        "lambda": config["loss"]["document_lambda"],
        "document_terms": round(sum(terms) / len(terms), 1),
        **{name: round(value, 4) for name, value in evaluation.items()},
        "mean": round(sum(evaluation.values()) / len(evaluation), 4),
    }


def main() -> None:
    """Print the runs, draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = sorted((last_figures(run) for run in given.runs), key=lambda row: float(row["document_terms"]))
    for row in rows:
        print(json.dumps(row))
    if given.out is None:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for regulariser in sorted({row["regulariser"] for row in rows}):
        chosen = [row for row in rows if row["regulariser"] == regulariser]
        axes.plot([row["document_terms"] for row in chosen], [row["mean"] for row in chosen], "o-", label=regulariser)
        for row in chosen:
            axes.annotate(f"λ {row['lambda']:g}", (row["document_terms"], row["mean"]), fontsize=8)
    axes.set_xlabel("terms a document")
    axes.set_ylabel("mean nDCG@10, development sets")
    axes.legend()
    figure.tight_layout()
    figure.savefig(given.out, dpi=120)


if __name__ == "__main__":
    main()
