"""What `lsr index` and `lsr demo` share: a corpus goes into a collection, and the user hears how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from lsr.cli.output import human_bytes, print_json
from lsr.cli.progress import progress_bar
from lsr.cli.running import say
from lsr.corpora import Corpus
from lsr.documents import DEFAULT_VECTOR
from lsr.errors import ExitCode, InvalidDocument
from lsr.indexing import IndexReport, index_corpus
from lsr.vectors import VectorConfig

SHOWN_PROBLEMS: Final = 100


def index_and_report(
    corpus: Corpus,
    out: Path,
    *,
    encoder: str | None,
    threads: int | None = None,
    schema: Mapping[str, str] | None = None,
    resume: bool = False,
    as_json: bool = False,
) -> ExitCode:
    """Index `corpus` into `out`; print the report and, on stderr, the lines that were left out.

    Returns PARTIAL when there were such lines, FAILURE when there were no others. Raises what `index_corpus` raises.
    """
    problems = _ProblemLog("stdin" if corpus.name == "-" else corpus.name)
    with progress_bar() as progress:
        report = index_corpus(
            corpus,
            out,
            vectors={DEFAULT_VECTOR: VectorConfig(encoder)},
            threads=threads,
            schema=schema,
            resume=resume,
            progress=progress,
            on_problem=problems.add,
        )
    problems.close()
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report, out)
    if not report.failed:
        return ExitCode.OK
    return ExitCode.PARTIAL if report.accepted else ExitCode.FAILURE


class _ProblemLog:
    """Tells the first bad lines one by one, and of the others how many they were."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def add(self, line_number: int, error: InvalidDocument) -> None:
        self._count += 1
        if self._count <= SHOWN_PROBLEMS:
            say(f"{self._name}:{line_number}: {error}")

    def close(self) -> None:
        if self._count > SHOWN_PROBLEMS:
            say(f"and {self._count - SHOWN_PROBLEMS:,} more lines like these")


def _print_report(report: IndexReport, out: Path) -> None:
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {report.accepted:,} documents in {report.seconds:.1f} s, {human_bytes(size)}")
    if report.empty:
        print(f"  without any term, found by no query: {report.empty:,}")
    if report.failed:
        print(f"  lines left out: {report.failed:,}")
