"""How commands write: data to stdout, as text or with `--json` as JSON; everything else to stderr.

Progress bars are drawn on a terminal only. Of the corpus lines that are skipped, the first ones are listed and the
others counted.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from lsr.errors import ExitCode, InvalidDocument

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

Progress = Callable[[str, int, int | None], None]  # (phase, done, total)

SHOWN_PROBLEMS: Final = 100
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


def say(message: str) -> None:
    """Write one line for humans to stderr."""
    print(f"lsr: {message}", file=sys.stderr)


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Yield `report(phase, done, total)`, or None where stderr is no terminal.

    A new phase starts a new line; a total of None shows a bar that only moves.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=False) as bars:

        def report(phase: str, done: int, total: int | None) -> None:
            if phase not in tasks:
                for task in tasks.values():
                    bars.stop_task(task)
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done, total=total)

        yield report


class ProblemLog:
    """Tells the bad lines of one corpus as they come."""

    def __init__(self, corpus_name: str) -> None:
        self.count = 0
        self._name = "stdin" if corpus_name == "-" else corpus_name

    def add(self, line_number: int, error: InvalidDocument) -> None:
        """Tell one line, unless very many were told already."""
        self.count += 1
        if self.count <= SHOWN_PROBLEMS:
            say(f"{self._name}:{line_number}: {error}")

    def close(self) -> None:
        """Tell how many were not told."""
        if self.count > SHOWN_PROBLEMS:
            say(f"and {self.count - SHOWN_PROBLEMS:,} more lines like these")


def exit_code(accepted: int, failed: int) -> ExitCode:
    """Return OK without bad lines, PARTIAL with some, FAILURE when there was no good one."""
    from lsr.errors import ExitCode

    if not failed:
        return ExitCode.OK
    return ExitCode.PARTIAL if accepted else ExitCode.FAILURE
