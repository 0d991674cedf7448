"""What can go wrong in the index.

SparseIndexError                 the root: catch this to catch all
├── VectorError                  a vector or matrix that cannot be indexed or searched with
├── SearchParameterError         k, query_cut, heap_factor, … out of range
├── ConfigError                  an IndexConfig that makes no sense
├── IndexCorrupt                 a file is missing, damaged or differs from its manifest
├── SearchStopped                a search stopped on request, for example at its deadline
├── IndexFormatUnsupported       written in a format version that this program does not read
└── IndexBuildInterrupted        a build stopped on request; no file remains
"""

from __future__ import annotations

from pathlib import Path


class SparseIndexError(Exception):
    """Root of the index's errors."""


class VectorError(SparseIndexError, ValueError):
    """A vector or matrix that cannot be indexed or searched with; the message names the row and the reason."""


class SearchParameterError(SparseIndexError, ValueError):
    """A search parameter out of its range; the message names it."""


class ConfigError(SparseIndexError, ValueError):
    """A build parameter that is unknown or out of its range; the message names it, and so does `field`."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class IndexCorrupt(SparseIndexError):
    """A file of the index is missing, damaged, or differs from its manifest."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class IndexFormatUnsupported(SparseIndexError):
    """The index was written in a format version that this program does not read."""

    def __init__(self, path: Path | str, found: int, supported: int) -> None:
        remedy = (
            "install a newer lsr" if found > supported else "build it again from its corpus: lsr index CORPUS --out DIR"
        )
        super().__init__(f"{path}: format version {found}, but this program reads version {supported}: {remedy}")
        self.path = Path(path)
        self.found = found
        self.supported = supported


class SearchStopped(SparseIndexError):
    """The caller's `should_stop` returned True, for example because a deadline passed."""


class IndexBuildInterrupted(SparseIndexError):
    """The build was stopped on request; no file remains."""
