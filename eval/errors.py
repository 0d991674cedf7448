"""The errors of an evaluation. All but one mean invalid input, with exit code 2.

lsr.errors.LsrError
├── DatasetUnavailable          a known data set that could not be downloaded; exit code 1
└── lsr.errors.QueryError
    └── EvaluationError
        ├── InputFileError      a file that does not have the expected format; names file and line
        ├── UnknownDataset      a data set that is neither a folder nor a known id; names similar ones
        ├── DatasetMismatch     queries, judgements, documents or rankings that do not belong together
        └── UnknownMeasure      an unknown measure name
"""

from __future__ import annotations

from pathlib import Path

from lsr.errors import LsrError, QueryError


class EvaluationError(QueryError):
    """Root of the evaluation's errors."""


class InputFileError(EvaluationError):
    """A file that does not have the expected format. `line` counts from 1; None: the whole file."""

    def __init__(self, path: Path | str, reason: str, *, line: int | None = None) -> None:
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {reason}")
        self.path = Path(path)
        self.line = line
        self.reason = reason


class UnknownDataset(EvaluationError):
    """A dataset that is neither a folder nor a known id."""


class DatasetUnavailable(LsrError):
    """A known data set whose files are missing and could not be downloaded."""


class DatasetMismatch(EvaluationError):
    """Queries, judgements, documents or rankings that do not belong together."""


class UnknownMeasure(EvaluationError):
    """An unknown measure name."""
