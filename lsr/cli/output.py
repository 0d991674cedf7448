"""The output of commands: data on stdout, as text or with `--json` as JSON; everything else on stderr.

Progress bars appear on a terminal only.
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
    from lsr.errors import ExitCode

JsonFlag = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]

Progress = Callable[[str, int, int | None], None]  # (phase, done, total)

_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # an ASCII terminal, or a file name that is not UTF-8
        text = json.dumps(value, allow_nan=False)
    print(text)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print columns padded with spaces; the columns whose positions are in `right` are right-aligned.

    Lines are cut at the terminal's width; nothing is cut in a pipe.
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
    """Return `line`, cut to the terminal's width if stdout is a terminal."""
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else line[: width - 1] + "…"


def plain(text: str) -> str:
    """Return `text` on one line without control characters, which a hostile document could send to the terminal."""
    return " ".join(text.split()).translate(_CONTROL)


def emphasise(text: str) -> str:
    """Return `text` in bold if stdout is a terminal and colour is allowed."""
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
    """Yield `report(phase, done, total)`, or None if stderr is not a terminal.

    A new phase starts a new line; a total of None shows a bar without a percentage.
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


def exit_code(accepted: int, failed: int) -> ExitCode:
    """Return OK without invalid lines, PARTIAL with some, FAILURE if all are invalid."""
    from lsr.errors import ExitCode

    if not failed:
        return ExitCode.OK
    return ExitCode.PARTIAL if accepted else ExitCode.FAILURE
