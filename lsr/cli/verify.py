"""`lsr verify`: checks every byte of a collection against its checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json, say


def verify(
    directory: Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")],
    json: JsonFlag = False,
) -> int:
    """Check every byte of a collection against its checksums.

    Damaged files are reported on stderr; the exit code is then 3.
    """
    from lsr.cli.arguments import one_collection
    from lsr.collection import verify_collection
    from lsr.errors import ExitCode

    problems = verify_collection(one_collection(directory))
    if json:
        found = [{"path": str(problem.path), "reason": problem.reason} for problem in problems]
        print_json({"ok": not problems, "problems": found})
    elif not problems:
        print(f"{directory}: all files are undamaged")
    for problem in problems:
        say(f"{problem.path}: {problem.reason}")
    return ExitCode.CORRUPT if problems else ExitCode.OK
