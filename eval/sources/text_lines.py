"""The numbered lines of a text file: plain, gzip or Zstandard.

All readers of an evaluation use this module, so that a missing file, bytes that are not UTF-8 and a truncated archive
are reported in the same way, with file and line. Decompression is that of `lsr index`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from eval.errors import InputFileError
from lsr.corpora.line_source import LineSource, refuse_array
from lsr.errors import LsrError
from lsr.input_file import InputFile, is_read_once

COMPRESSIONS = ("", ".gz", ".zst")


def numbered_lines(path: Path, *, source: InputFile | None = None, objects: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for all lines of `path` that are not blank.

    source   the input if it is open already, so that a pipe can be read again
    objects  the lines are JSON objects: a file that is one JSON array is refused as a whole

    Raises InputFileError for a file that is missing, damaged or not UTF-8.
    """
    number = 0
    try:
        lines = LineSource(path if source is None else source)
        if objects:
            refuse_array(lines)
        for number, line in lines:
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
        if path.exists() and not path.is_dir():
            return path
    return None


def content_hash(paths: Iterable[Path]) -> str | None:
    """Return the SHA-256 over the files' own SHA-256 digests, in the given order: the data hash of a result cell.

    None if one of them can be read only once, and was.
    """
    digest = hashlib.sha256()
    for path in paths:
        if is_read_once(path):
            return None
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
