"""Recall curves that were measured after a segment was written: kept in the catalog, since a segment never changes.

A segment's own curve is in its index. One that is measured later, on real queries, takes its place for as long as the
segment exists. The setting `recall_curves`: the segment's number -> vector -> {"documents", "curve"}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.searching.calibration import Calibration
from lsr.errors import CollectionCorrupt
from lsr.storage.generation import SegmentView
from lsr.storage.layout import RECALL_SETTING


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """A curve of one vector in one segment, and how many documents the collection had when it was measured."""

    documents: int
    curve: Calibration


Curves = Mapping[tuple[int, str], MeasuredCurve]  # by the segment's number and the vector


def curves_setting(curves: Curves) -> dict[str, Any]:
    """Return the curves as the catalog stores them."""
    stored: dict[str, Any] = {}
    for (segment, vector), one in curves.items():
        stored.setdefault(str(segment), {})[vector] = {"documents": one.documents, "curve": one.curve.to_json()}
    return stored


def curves_from_setting(path: Path, stored: Any) -> dict[tuple[int, str], MeasuredCurve]:
    """Return the curves that `curves_setting` gave, None for none; raises CollectionCorrupt naming the catalog."""
    try:
        return {
            (int(segment), vector): MeasuredCurve(int(one["documents"]), Calibration.from_json(one["curve"]))
            for segment, by_vector in (stored or {}).items()
            for vector, one in by_vector.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CollectionCorrupt(path, f"table settings, {RECALL_SETTING}: {error!r}") from error


def use_curves(curves: Curves, views: Iterable[SegmentView]) -> None:
    """Let the segments' searches use these curves in place of their own."""
    for view in views:
        for name, index in view.segment.indexes.items():
            found = curves.get((view.segment.row.segment, name))
            if found is not None:
                index.use_calibration(found.curve)
