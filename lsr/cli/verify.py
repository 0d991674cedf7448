"""`lsr verify`: checks every byte of a collection against its checksums, and says how its indexes were built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lsr.cli.output import JsonFlag, print_json, say

if TYPE_CHECKING:
    from lsr.results import IndexInfo

_STRUCTURES = {
    "candidate_lists": "candidate lists",
    "unpruned_postings": "unpruned postings",
    "block_maxima": "block maxima",
    "graph": "graph",
}


def verify(
    directory: Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")],
    json: JsonFlag = False,
) -> int:
    """Check every byte of a collection against its checksums.

    Damaged files are reported on stderr; the exit code is then 3. For an undamaged collection, the structures of each
    index are shown, with the numbers by which the build chose them.
    """
    from lsr.cli.arguments import one_collection
    from lsr.collection import verify_collection
    from lsr.errors import ExitCode

    problems = verify_collection(one_collection(directory))
    indexes = _indexes(directory) if not problems else {}
    if json:
        found = [{"path": str(problem.path), "reason": problem.reason} for problem in problems]
        shown = {name: index.to_json() for name, index in indexes.items()}
        print_json({"ok": not problems, "problems": found, "indexes": shown})
    elif not problems:
        print(f"{directory}: all files are undamaged")
        for name, index in indexes.items():
            _print_index(name, index)
    for problem in problems:
        say(f"{problem.path}: {problem.reason}")
    return ExitCode.CORRUPT if problems else ExitCode.OK


def _indexes(directory: Path) -> Mapping[str, IndexInfo]:
    from lsr.collection import Collection

    with Collection.open(directory) as collection:
        return {name: one.index for name, one in collection.info().vectors.items() if one.index is not None}


def _print_index(name: str, index: IndexInfo) -> None:
    given = {key: value for key, value in _given(index).items() if value is not None}
    settings = f"; settings {', '.join(f'{key}={value}' for key, value in given.items())}" if given else ""
    if not index.documents:
        print(f"  {name}: no segment yet{settings}")
        return
    seen = index.observed
    if seen is None:
        print(f"  {name}: largest segment of {index.documents:,} documents, built by an older version{settings}")
    else:
        queries = f"{seen['queries']:,} sample queries"
        if seen["query_terms"] is not None:
            queries += f" of {seen['query_terms']:g} terms and {seen['query_postings']:,.0f} postings"
        print(
            f"  {name}: largest segment of {index.documents:,} documents, {seen['impacts']:,} impacts, "
            f"concentration {seen['concentration']:.2f}, {queries}{settings}"
        )
    for key, kept in index.structures.items():
        reason = index.reasons.get(key, "")
        print(f"    {_STRUCTURES[key]:<18} {'yes' if kept else 'no':<4} {reason}".rstrip())
    if index.recall is not None:
        print(f"    {'recall targets':<18} measured on {index.recall.queries:,} queries: {index.recall.source}")


def _given(index: IndexInfo) -> dict[str, object]:
    """Return the settings that differ from the defaults."""
    from index import IndexConfig

    defaults = IndexConfig().to_json()
    return {key: value for key, value in index.settings.items() if value != defaults.get(key)}
