"""catalog.sha256: the hash of a catalog at rest, so that a damaged byte is found wherever in the file it is.

The checksums of its rows cover what catalog.sqlite means; a page also has gaps, and free pages hold what was deleted.
While a writer is open the file changes, and there is no hash; a writer that closes in good order leaves one behind.
It can be checked with `sha256sum -c catalog.sha256`, too.
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
    """Write the hash of a closed catalog; on a full disk, or with a log that a reader still needs, there is none."""
    if _log_is_in_use(folder):
        return
    temporary = folder / f"creating-{uuid.uuid4()}"
    with contextlib.suppress(OSError):
        write_file(temporary, f"{sha256_of(folder / CATALOG_FILE)}  {CATALOG_FILE}\n".encode())
        temporary.replace(folder / DIGEST_FILE)
        sync_file(folder)


def digest_problem(folder: Path) -> str | None:
    """Return what is wrong when the catalog does not match its hash; None when it does, or when there is none."""
    path = folder / DIGEST_FILE
    try:
        expected = path.read_bytes()
        found = f"{sha256_of(folder / CATALOG_FILE)}  {CATALOG_FILE}\n".encode()
    except FileNotFoundError:
        return None
    # A writer that opens meanwhile removes the hash before it changes anything.
    if found == expected or not path.exists() or _log_is_in_use(folder):
        return None
    return f"its bytes do not match the checksum in {DIGEST_FILE}"


def _log_is_in_use(folder: Path) -> bool:
    log = folder / f"{CATALOG_FILE}-wal"
    return log.exists() and log.stat().st_size > 0
