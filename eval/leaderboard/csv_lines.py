"""The leaderboard as CSV: a line a figure, with all digits, for whoever computes on with it."""

from __future__ import annotations

import csv
import io

from eval.leaderboard.table import Row, Table

COLUMNS = (
    "system", "dataset", "measure", "value", "low", "high", "delta", "p_holm", "zero_shot", "published", "source",
)  # fmt: skip


def to_csv(table: Table) -> str:
    """Return one line a figure; what is not known is empty, and a missing figure has no line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.rows:
        for dataset in table.datasets:
            figure = row.figures.get(dataset)
            if figure is None:
                continue
            optional = (
                "" if value is None else repr(value) for value in (figure.low, figure.high, figure.delta, figure.p)
            )
            value = [row.system, dataset, table.measures[dataset], repr(figure.value)]
            writer.writerow([*value, *optional, int(figure.zero_shot), *_origin(row)])
        if row.mean_of_13 is not None:
            value = [row.system, "BEIR-13 mean", "nDCG@10", repr(row.mean_of_13)]
            writer.writerow([*value, "", "", "", "", "", *_origin(row)])
    return out.getvalue()


def _origin(row: Row) -> list[object]:
    return [int(row.source is not None), row.source or ""]
