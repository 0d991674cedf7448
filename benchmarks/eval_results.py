"""Update docs/results: BM25 (and the given encoders) on SciFact, which is in the repository, and on other folders.

    python benchmarks/eval_results.py [--encoder NAME …] [BEIR-FOLDER …]

Writes one JSON cell per figure, the leaderboard as Markdown and CSV, and one page with plots. Existing cells with the
same request and data are kept, unless `--fresh` is given. Times are reliable only on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from eval import (
    SearchSettings,
    SystemSpec,
    build_table,
    evaluate_all,
    read_cells,
    to_csv,
    to_html,
    to_markdown,
    to_text,
)

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
SCIFACT = ROOT / "tests" / "data" / "scifact"
MEASURES = ["nDCG@10", "Recall@100", "MRR@10", "MAP", "P@10", "Judged@10"]
TITLE = "lsr: leaderboard"
HEAD = """\
# Results

Written by `python benchmarks/eval_results.py FOLDERS`; do not edit. `index.html` is the page with plots, costs and
sources; `leaderboard.csv` has all digits, `cells/` one JSON file per figure. Larger collections: `scale.md`.

"""


def main() -> int:
    """Evaluate the missing cells and write the reports; return 4 if a cell failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--encoder", action="append", default=[])
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    systems = [
        SystemSpec("bm25"),
        SystemSpec("bm25, approximate", search=SearchSettings(exact=False)),
        SystemSpec("bm25, k1 1.2, b 0.75", encoder_settings={"k1": 1.2, "b": 0.75}),
        *(SystemSpec(Path(name).name, name) for name in options.encoder),
    ]
    failed = False
    cells = RESULTS / "cells"
    folders = [SCIFACT, *options.folders]
    outcomes = evaluate_all(
        folders,
        systems,
        cells,
        measures=MEASURES,
        efficiency=True,
        resume=not options.fresh,
        command=["python", "benchmarks/eval_results.py", *(folder.name for folder in options.folders)],
        on_start=lambda dataset, system: print(f"{dataset}: {system}", file=sys.stderr),
    )
    for outcome in outcomes:
        print(f"{outcome.dataset}: {outcome.system}: {outcome.status} {outcome.reason}".rstrip(), file=sys.stderr)
        failed |= outcome.status == "failed"
    table = build_table(read_cells([cells]))
    (RESULTS / "index.html").write_text(to_html(table, title=TITLE), encoding="utf-8")
    (RESULTS / "leaderboard.csv").write_text(to_csv(table), encoding="utf-8")
    (RESULTS / "README.md").write_text(HEAD + to_markdown(table), encoding="utf-8")
    print(to_text(table))
    return 4 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
