"""The numbered lines of a text file: plain, gzip or Zstandard.

All readers of an evaluation use this module, so that a missing file, bytes that are not UTF-8 and a truncated archive
are reported in the same way, with file and line. Decompression is that of `lsr index`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from eval.errors import InputFileError
from lsr.corpora.line_source import LineSource
from lsr.errors import LsrError

COMPRESSIONS = ("", ".gz", ".zst")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for all lines of `path` that are not blank.

    Raises InputFileError for a file that is missing, damaged or not UTF-8.
    """
    number = 0
    try:
        for number, line in LineSource(path):
            if line is None:
                raise InputFileError(path, "the line is too long", line=number)
            text = line.decode("utf-8").rstrip("\r\n")
            if text.strip():
                yield number, text
    except UnicodeDecodeError as error:
        raise InputFileError(path, f"not UTF-8: {error.reason}", line=number) from None
    except InputFileError:
        raise
    except LsrError as error:
        # LineSource names the file itself.
        raise InputFileError(path, str(error).removeprefix(f"{path}: ")) from None
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from None


def find_file(folder: Path, name: str) -> Path | None:
    """Return `folder/name`, or its `.gz` or `.zst` form, or None if none of the three exists."""
    for suffix in COMPRESSIONS:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def content_hash(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the files' own SHA-256 digests, in the given order: the data hash of a result cell."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
