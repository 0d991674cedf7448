"""What the index of a named vector was built with: the settings, and what the build chose for the largest segment."""

from __future__ import annotations

from index import IndexConfig, SparseIndex
from lsr.results import IndexInfo, RecallInfo
from lsr.storage.generation import Generation


def largest_index(generation: Generation, name: str) -> SparseIndex | None:
    """Return the index of a sparse vector in the segment with the most live documents; None without a segment."""
    largest = max(generation.segments, key=lambda view: view.live_count, default=None)
    return None if largest is None else largest.segment.indexes[name]


def index_info(generation: Generation, name: str, config: IndexConfig) -> IndexInfo:
    """Return the description of a sparse vector's index, whose settings are `config`."""
    index = largest_index(generation, name)
    settings = config.to_json()
    if index is None:
        return IndexInfo(settings)
    choice, curve = index.choice, index.calibration
    built = index.config
    return IndexInfo(
        settings,
        documents=index.n_docs,
        bytes=index.bytes,
        structures=index.structures,
        n_postings=built.n_postings or 0,
        observed=None if choice is None else choice.to_json()["observed"],
        reasons={} if choice is None else dict(choice.reasons),
        recall=None if curve is None or not curve.curves else RecallInfo(curve.source, curve.queries, curve.made),
    )
