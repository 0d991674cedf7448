"""A query of a data set: its text, or a ready-made sparse vector."""

from __future__ import annotations

from dataclasses import dataclass

from lsr.documents import SparseInput


@dataclass(frozen=True, slots=True)
class Query:
    """One topic; `sparse` is set if the file has vectors, and then no encoder is needed."""

    id: str
    text: str
    sparse: SparseInput | None = None
