"""The lines of a text file with their numbers, whether it is plain, gzip or Zstandard.

Every reader of an evaluation goes through here, so that a missing file, bytes that are no UTF-8 and an archive that was
cut short are reported in one way, with file and line. Decompression is that of `lsr index`.
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
    """Yield (line number from 1, line without its end) for every line of `path` that is not blank.

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
    """Return `folder/name`, or its `.gz` or `.zst` form, or None when there is none of the three."""
    for suffix in COMPRESSIONS:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def content_hash(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the bytes of the files, in the order given; what a result cell calls its data hash."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
