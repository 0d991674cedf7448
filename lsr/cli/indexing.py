"""What `lsr index`, `lsr demo` and `lsr reindex` share: a corpus goes into a collection, with a bar and a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from lsr.cli.output import human_bytes, print_json
from lsr.cli.problem_log import ProblemLog, exit_code
from lsr.cli.progress import progress_bar
from lsr.corpora import Corpus
from lsr.errors import ExitCode
from lsr.indexing import index_corpus
from lsr.results import IndexReport
from lsr.vectors import VectorConfig


def index_and_report(
    corpus: Corpus,
    out: Path,
    vectors: Mapping[str, VectorConfig],
    *,
    schema: Mapping[str, str] | None = None,
    resume: bool = False,
    threads: int | None = None,
    device: str = "auto",
    as_json: bool = False,
) -> ExitCode:
    """Index `corpus` into `out`; print the report and, on stderr, the lines that were left out.

    Returns PARTIAL when there were such lines, FAILURE when there were no others. Raises what `index_corpus` raises.
    """
    problems = ProblemLog(corpus.name)
    with progress_bar() as progress:
        report = index_corpus(
            corpus,
            out,
            vectors=vectors,
            schema=schema,
            resume=resume,
            threads=threads,
            device=device,
            progress=progress,
            on_problem=problems.add,
        )
    problems.close()
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report, out)
    return exit_code(report.accepted, report.failed)


def _print_report(report: IndexReport, out: Path) -> None:
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {report.accepted:,} documents in {report.seconds:.1f} s, {human_bytes(size)}")
    if report.empty:
        print(f"  without any term, found by no query: {report.empty:,}")
    if report.failed:
        print(f"  lines left out: {report.failed:,}")
    if report.failed and not report.accepted:
        print(f"  nothing was indexed: remove {out} before the next try")
