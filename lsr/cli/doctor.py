"""`lsr doctor`: what a bug report needs, and what commonly goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json, print_table


def doctor(
    directory: Annotated[
        Path | None,
        typer.Argument(help="A collection, or a folder of collections.", metavar="DIR", show_default=False),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Check the installation, and collections if named.

    Packages, the cache of compiled kernels, SQLite, disk, devices; of a collection what can be told without reading
    all of it (lsr verify does that). The exit code is 1 on a failure.
    """
    from lsr.cli.installation import examine_collections, examine_installation

    findings = list(examine_installation())
    if directory is not None:
        findings.extend(examine_collections(directory))
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(("checked", "verdict", "detail"), findings)
    return 1 if any(finding.verdict == "failure" for finding in findings) else 0
