"""A cached kernel is used again, unless any kernel file has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import index.kernels

HELPER = """
from numba import njit

@njit(cache=True)
def helper(x):
    return x + {number}
"""
KERNEL = """
from numba import njit
from index.kernels.helper import helper

@njit(cache=True)
def kernel(x):
    return 10 * helper(x)
"""
RUN = "from index.kernels.kernel import kernel; print(kernel(1), sum(kernel.stats.cache_hits.values()))"


def run(folder: Path) -> tuple[int, int]:
    """Return the kernel's result in a new process, and how often it came from the cache."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    value, hits = done.stdout.split()
    return int(value), int(hits)


def test_a_kernel_is_compiled_again_when_a_helper_in_another_file_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "index" / "kernels"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    for name in ("__init__.py", "cache_stamp.py"):
        shutil.copy(Path(index.kernels.__file__).parent / name, package)
    (package / "kernel.py").write_text(KERNEL)
    (package / "helper.py").write_text(HELPER.format(number=1))
    assert run(tmp_path) == (20, 0)
    assert run(tmp_path) == (20, 1)
    (package / "helper.py").write_text(HELPER.format(number=2))
    assert run(tmp_path) == (30, 0)
