"""catalog.sha256: the hash of a closed catalog, so that damage is found in every byte of the file.

The row checksums cover the content of catalog.sqlite, but not the gaps in its pages or its free pages. While a writer
has the catalog open, the file changes and has no hash; a writer that closes normally writes one. `sha256sum -c
catalog.sha256` checks it too.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from lsr.storage.catalog import CATALOG_FILE
from lsr.storage.files import sha256_of, sync_file, write_file

DIGEST_FILE = "catalog.sha256"


def remove_digest(folder: Path) -> None:
    """Remove the hash, durably, before the catalog is changed; raises OSError."""
    path = folder / DIGEST_FILE
    if path.exists():
        path.unlink()
        sync_file(folder)


def write_digest(folder: Path) -> None:
    """Write the hash of a closed catalog; on a full disk, or if a reader still needs the log, write none."""
    if _log_is_in_use(folder):
        return
    temporary = folder / f"creating-{uuid.uuid4()}"
    with contextlib.suppress(OSError):
        write_file(temporary, f"{sha256_of(folder / CATALOG_FILE)}  {CATALOG_FILE}\n".encode())
        temporary.replace(folder / DIGEST_FILE)
        sync_file(folder)


def digest_problem(folder: Path) -> str | None:
    """Return the problem if the catalog does not match its hash; None if it matches or has no hash."""
    path = folder / DIGEST_FILE
    try:
        expected = path.read_bytes()
        found = f"{sha256_of(folder / CATALOG_FILE)}  {CATALOG_FILE}\n".encode()
    except FileNotFoundError:
        return None
    # A writer that opens the catalog meanwhile removes the hash before it changes anything.
    if found == expected or not path.exists() or _log_is_in_use(folder):
        return None
    return f"its bytes do not match the checksum in {DIGEST_FILE}"


def _log_is_in_use(folder: Path) -> bool:
    log = folder / f"{CATALOG_FILE}-wal"
    return log.exists() and log.stat().st_size > 0
