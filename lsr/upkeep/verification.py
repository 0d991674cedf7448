"""Verification: compares every byte of a collection's files with its checksum, then runs the checks of `open`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from index import Problem
from lsr.errors import CollectionCorrupt, CollectionLocked, CollectionReadOnly
from lsr.storage import layout
from lsr.storage.catalog import CATALOG_FILE
from lsr.storage.catalog_digest import digest_problem
from lsr.storage.files import WriterLock
from lsr.storage.live_state import open_state
from lsr.storage.log_check import log_problem
from lsr.storage.query_sample import open_sample
from lsr.storage.segment import verify_segment


def verify_collection(path: Path | str, level: Literal["metadata", "full"] = "full") -> list[Problem]:
    """Check a collection without opening it, so that damaged ones can be checked; see `Collection.verify`.

    Raises CollectionNotFound.
    """
    folder = Path(path)
    problems: list[Problem] = []
    if level == "full" and (reason := digest_problem(folder)) is not None:
        problems.append(Problem(folder / CATALOG_FILE, reason))
    if level == "full" and (problem := _log_problem(folder)) is not None:
        problems.append(problem)
    try:
        catalog = layout.open_catalog(folder, "r")
    except CollectionCorrupt as error:
        return [*problems, Problem(error.path, error.reason)]
    try:
        if level == "full":
            problems.extend(Problem(catalog.path, reason) for reason in catalog.problems())
            if not problems:
                for row in catalog.segments():
                    problems.extend(verify_segment(folder, row))
    finally:
        catalog.close()
    if not problems:
        try:
            open_state(folder, "r").catalog.close()
        except Exception as error:  # any error of the opening is the problem to report
            problems.append(Problem(Path(getattr(error, "path", folder)), getattr(error, "reason", str(error))))
    if level == "full":
        try:
            open_sample(folder)
        except CollectionCorrupt as error:
            problems.append(Problem(error.path, error.reason))
    return problems


def _log_problem(folder: Path) -> Problem | None:
    """Check the write-ahead log, unless a process writes it."""
    log = folder / f"{CATALOG_FILE}-wal"
    if not log.exists() or not log.stat().st_size:
        return None
    try:
        lock = WriterLock(folder)
    except (CollectionLocked, CollectionReadOnly, OSError):  # a writer is active, or the disk is read-only
        return None
    try:
        reason = log_problem(log)
    finally:
        lock.release()
    return None if reason is None else Problem(log, reason)
