from __future__ import annotations

from pathlib import Path

import numpy as np

from lsr.upkeep.free_memory import return_free_memory


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def test_what_is_free_between_what_is_used_goes_back_to_the_system() -> None:
    return_free_memory()
    # Small enough for the heap, which by itself only shrinks from its end.
    pieces = [np.ones(8_000) for _ in range(2_000)]
    used = [pieces[i] for i in range(0, len(pieces), 50)]
    full = resident()
    del pieces
    return_free_memory()
    assert full - resident() > 80_000_000
    assert all(piece.sum() == 8_000 for piece in used)
