"""Recall targets measured again, in the background, on the sample of real queries that a collection keeps.

A segment's curve is measured when the segment is written: on sampled queries where there are enough, else on short
texts of its documents, else on queries built from documents. `due_curves` says which curves are worth measuring again:

* the sample has ENOUGH queries, and the curve was measured on something else;
* the sample has the MEASURED queries that a measurement uses at most, and the curve was measured on fewer;
* the collection has grown by half (GROWN) since the curve was measured.

A measurement reads a segment once and takes seconds to minutes per million documents, so a service runs it in a child
process of low priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from index.searching.calibration import SAMPLE, Calibration
from lsr.storage.catalog_schema import SegmentRow
from lsr.storage.generation import Generation
from lsr.storage.layout import RECALL_SETTING
from lsr.storage.live_state import LiveState
from lsr.storage.query_sample import QuerySample
from lsr.storage.recall_curves import Curves, MeasuredCurve, curves_setting, use_curves
from lsr.storage.sample_queries import REAL_QUERIES
from lsr.storage.segment import Segment, SegmentShape
from lsr.upkeep.segment_jobs import load_arrays

ENOUGH: Final = 200
MEASURED: Final = max(SAMPLE.values())
GROWN: Final = 1.5


class Due(NamedTuple):
    """A curve to measure: of one vector in one segment."""

    row: SegmentRow
    vector: str


@dataclass(frozen=True, slots=True)
class RecallJob:
    """Curves to measure, and the path of a file with the queries (see `save_arrays`)."""

    due: tuple[Due, ...]
    arrays: str
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        due = [{"row": asdict(one.row), "vector": one.vector} for one in self.due]
        return {"due": due, "arrays": self.arrays, "threads": self.threads}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RecallJob:
        """Return the job that `to_json` has written."""
        due = tuple(Due(SegmentRow(**one["row"]), one["vector"]) for one in values["due"])
        return cls(due, values["arrays"], values["threads"])


def due_curves(generation: Generation, sample: QuerySample, measured: Curves) -> list[Due]:
    """Return the curves that are worth measuring now.

    measured   with how many documents the collection had then; a curve of real queries that is missing counts as new
    """
    found = []
    for view in generation.segments:
        for name, index in view.segment.indexes.items():
            queries = sample.count(name)
            if not index.needs_calibration or queries < ENOUGH:
                continue
            curve, before = index.calibration, measured.get((view.segment.row.segment, name))
            if (
                curve is None
                or curve.source != REAL_QUERIES
                or curve.queries < MEASURED <= queries
                or (before is not None and generation.document_count >= GROWN * before.documents)
            ):
                found.append(Due(view.segment.row, name))
    return found


def measure_curves(collection: Path, job: RecallJob, shape: SegmentShape) -> list[Calibration]:
    """Measure the curves of a job, in its order; nothing is stored. Raises CollectionCorrupt, IndexCorrupt."""
    _, queries = load_arrays(job.arrays)
    found = []
    for row, vector in job.due:
        index = Segment(collection, row, shape).indexes[vector]
        sample = queries[vector]
        found.append(index.measure(sample.queries, source=sample.source, threads=job.threads))
    return found


def store_curves(state: LiveState, job: RecallJob, curves: list[Calibration]) -> int:
    """Store the measured curves and use them from the next search on; return how many. Raises StorageFull.

    Curves of segments that do not exist any more are dropped.
    """
    with state.changing:
        before = state.generation
        live = {view.segment.row.segment for view in before.segments}
        documents = before.document_count
        new = {
            (due.row.segment, due.vector): MeasuredCurve(documents, curve)
            for due, curve in zip(job.due, curves, strict=True)
            if due.row.segment in live
        }
        kept = {key: one for key, one in {**state.curves, **new}.items() if key[0] in live}
        with state.catalog.transaction() as change:
            change.set_setting(RECALL_SETTING, curves_setting(kept))
            seq = change.seq
        state.curves = kept
        use_curves(new, before.segments)
        state.generation = replace(before, seq=seq)  # answers that are kept name the recall of before
    return len(new)
