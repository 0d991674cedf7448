"""An index that does not fit in memory is read page by page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import random_array

from index import IndexConfig, SparseIndex, sparse_index
from index.arrays import memory_advice
from index.arrays.memory_advice import advise_random, available_memory

SMAPS = Path("/proc/self/smaps")


def read_ahead(folder: Path, name: str) -> bool:
    """Whether the kernel reads ahead in the mapping of an array."""
    lines = SMAPS.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.endswith(str(folder / f"{name}.npy")))
    flags = next(line for line in lines[start:] if line.startswith("VmFlags"))
    return " rr" not in flags


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = random_array((300, 200), density=0.3, random_state=1, dtype=np.float32).tocsr()
    SparseIndex.build(rows, IndexConfig(n_postings=40), tmp_path / "index")
    return tmp_path / "index"


@pytest.mark.skipif(not SMAPS.exists(), reason="needs /proc/self/smaps")
@pytest.mark.parametrize(("left", "ahead"), [(0, False), (1 << 40, True), (None, True)])
def test_memory_decides_whether_the_kernel_reads_ahead(
    folder: Path, monkeypatch: pytest.MonkeyPatch, left: int | None, ahead: bool
) -> None:
    monkeypatch.setattr(sparse_index, "available_memory", lambda: left)
    index = SparseIndex.open(folder)
    for name in ("further", "lines", "further_impacts", "block_docs"):
        assert read_ahead(folder, name) is ahead
    assert read_ahead(folder, "posting_docs")  # lists are read from end to end
    assert len(index.search_one(np.array([3]), np.array([1.0]), 5)[0]) == 5


@pytest.mark.parametrize("version", [1, 2])
def test_available_memory_is_what_is_left_of_the_machine_or_of_the_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    meminfo, own = tmp_path / "meminfo", tmp_path / "cgroup"
    folder = tmp_path / "memory/a/b" if version == 1 else tmp_path / "a/b"
    folder.mkdir(parents=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    limit, used = (folder / name for name in names)
    for name, path in (("_MEMINFO", meminfo), ("_OWN_CGROUPS", own), ("_CGROUPS", tmp_path)):
        monkeypatch.setattr(memory_advice, name, path)
    assert available_memory() is None
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:    2048 kB\n")
    assert available_memory() == 2048 * 1024
    own.write_text("8:pids:/a/b\n4:memory:/a/b\n" if version == 1 else "0::/a/b\n")
    used.write_text("500\n")
    for text, left in (("max\n", 2048 * 1024), ("1500\n", 1000), ("400\n", 0)):
        limit.write_text(text)
        assert available_memory() == left


def test_arrays_in_memory_are_left_alone() -> None:
    advise_random([np.zeros(3), np.zeros((2, 2))[:1]])
