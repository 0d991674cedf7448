"""Reads an open collection's files again, so that damage is found before a search reads it.

`scrub` compares each file with its checksum, segment by segment, then the catalog. A damaged segment is taken out of
use at once: the next generation does not have it, and searches continue over the other segments and report partial
results (`Generation.damage`). Nothing is changed on disk: restore the file and open the collection again, and
everything is back.

Not allowed meanwhile: writes, because an unreachable document might be the one to replace; snapshots; and every
operation whose answer cannot say that something is missing. A merge checks its inputs itself (upkeep/segment_jobs.py):
copied into a new segment, a damaged byte would get a valid checksum.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from index import Problem
from lsr.errors import CollectionCorrupt
from lsr.results import Damage
from lsr.storage import layout
from lsr.storage.files import OnRead
from lsr.storage.live_state import LiveState
from lsr.storage.segment import SEGMENTS_FOLDER, verify_segment

_log = logging.getLogger(__name__)


def scrub(state: LiveState, on_read: OnRead | None = None) -> list[Damage]:
    """Read everything once, take damaged segments out of use, and return the new damage.

    `on_read` is called after each piece with its number of bytes: it may wait, to read slowly, or raise to stop.
    """
    known = {damage.path for damage in state.generation.damage}
    for view in state.generation.segments:
        problem = next(verify_segment(state.path, view.segment.row, on_read), None)
        if problem is not None:
            take_out(state, problem)
    if not any(path == state.catalog.path for path in known):
        for reason in _catalog_problems(state)[:1]:
            take_out(state, Problem(state.catalog.path, reason))
    return [damage for damage in state.generation.damage if damage.path not in known]


def take_out(state: LiveState, problem: Problem) -> None:
    """Take the segment of a damaged file out of use; does nothing if a merge has removed it meanwhile."""
    with state.changing:
        before = state.generation
        hit = [view for view in before.segments if _is_in(problem.path, state.path, view.segment.row.uuid)]
        if state.retired or not (hit or problem.path == state.catalog.path):
            return
        damage = Damage(problem.path, problem.reason, sum(view.live_count for view in hit))
        kept = tuple(view for view in before.segments if view not in hit)
        state.generation = replace(before, segments=kept, damage=(*before.damage, damage))
    _log.error("%s: %s; %d documents are out of reach", damage.path, damage.reason, damage.documents)


@contextlib.contextmanager
def damage_taken_out(state: LiveState) -> Iterator[None]:
    """Take a segment that the block finds damaged out of use; the error is raised to the caller."""
    try:
        yield
    except CollectionCorrupt as error:
        take_out(state, Problem(error.path, error.reason))
        raise


def _is_in(path: Path, collection: Path, uuid: str) -> bool:
    return path.resolve().is_relative_to((collection / SEGMENTS_FOLDER / uuid).resolve())


def _catalog_problems(state: LiveState) -> list[str]:
    """Check the catalog on its own connection, so that the writer does not wait."""
    try:
        catalog = layout.open_catalog(state.path, "r")
    except CollectionCorrupt as error:
        return [error.reason]
    try:
        return catalog.problems()
    finally:
        catalog.close()
