"""What a run needs of whoever starts it: a device, threads, somebody to talk to, somebody to evaluate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# (encoder's name or folder, BEIR folder, split, measures) -> means by measure
EvaluateEncoder = Callable[[str, Path, str, tuple[str, ...]], Mapping[str, float]]


@dataclass(frozen=True)
class RunContext:
    """Each may be left out."""

    device: str = "auto"
    threads: int = 1
    say: Callable[[str], None] = lambda _: None
    progress: Callable[[str, int, int | None], None] | None = None
    evaluate: EvaluateEncoder | None = None
    cache: Path | None = None  # of vectors, mined negatives and scores, where several runs share them; else the run's

    def phase(self, name: str) -> Callable[[int, int], None] | None:
        """Return what reports the progress of one phase, as (done, in all)."""
        report = self.progress
        return report and (lambda done, total: report(name, done, total))


def content_hash(**parts: Any) -> str:
    """Return the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
