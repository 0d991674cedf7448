"""Building an index on a disk without room for it: an error, never a killed process, and no file remains.

Needs a small tmpfs, and so the right to mount; without it the test is skipped with that reason.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from index import IndexConfig, SparseIndex

CONFIG = IndexConfig(n_postings=500, exact_lists=True)


@pytest.fixture(scope="module")
def documents() -> csr_array:
    matrix = random_array((4000, 500), density=0.1, format="csr", rng=np.random.default_rng(1), dtype=np.float32)
    matrix.data += np.float32(0.1)
    matrix.sort_indices()
    return csr_array(matrix)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_build_without_room_is_an_error_at_every_stage(disk: Path, documents: csr_array, tmp_path: Path) -> None:
    whole = SparseIndex.build(documents, CONFIG, path=tmp_path / "index")
    refused = []
    # The disk holds the rows' temporary file, 6 bytes per impact, and the growing index.
    for kib in range(64, (whole.bytes + 6 * whole.nnz) // 1024 + 512, 512):
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(disk)], check=True)
        try:
            index = SparseIndex.build(documents, CONFIG, path=disk / "index")
        except OSError as error:
            refused.append((error.errno, list(disk.iterdir())))
        else:
            break
    assert len(refused) >= 5
    assert set(map(repr, refused)) == {repr((errno.ENOSPC, []))}
    assert index.verify() == []
    assert (index.search(documents[:20]).ids == whole.search(documents[:20]).ids).all()
