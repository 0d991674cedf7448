"""STUB until the branch dense is merged."""

from __future__ import annotations

from typing import Any


class DenseVector:
    name: str
    dimensions: int
    fingerprint: str | None
    can_encode: bool

    def encode_query(self, text: str) -> Any: ...
