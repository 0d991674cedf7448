"""What a run needs from its caller: device, threads, messages, progress, a function that evaluates."""

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
    """Each field is optional."""

    device: str = "auto"
    threads: int = 1
    say: Callable[[str], None] = lambda _: None
    progress: Callable[[str, int, int | None], None] | None = None
    evaluate: EvaluateEncoder | None = None
    cache: Path | None = None  # for vectors, mined negatives and scores that several runs share; None: in the run

    def phase(self, name: str) -> Callable[[int, int], None] | None:
        """Return the function that reports the progress of one phase, as (done, in all)."""
        report = self.progress
        return report and (lambda done, total: report(name, done, total))


def content_hash(**parts: Any) -> str:
    """Return the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
