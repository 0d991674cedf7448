"""How commands write: data to stdout, as text or with `--json` as JSON; everything else to stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print columns padded with blanks; the columns whose positions are in `right` are set to the right.

    The last column is cut at the terminal's width; nothing is cut in a pipe.
    """
    table = [header, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(fit("  ".join(cells).rstrip()))


def fit(line: str) -> str:
    """Return `line` cut to the terminal's width; whole where stdout is none."""
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else line[: width - 1] + "…"


def plain(text: str) -> str:
    """Return `text` on one line and without control characters, which a hostile document could steer a terminal by."""
    return " ".join(text.split()).translate(_CONTROL)


def emphasise(text: str) -> str:
    """Return `text` in bold where stdout is a terminal that may have colour."""
    return f"\x1b[1m{text}\x1b[0m" if _colour() else text


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def human_bytes(count: int) -> str:
    """Return a number of bytes with a unit."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
