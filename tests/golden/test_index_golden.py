"""Every later version opens the indexes that earlier versions wrote, and finds in them what those found."""

from __future__ import annotations

import json
import runpy
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import IndexConfig, SparseIndex
from index.errors import IndexCorrupt

MAKER = runpy.run_path(str(Path(__file__).with_name("make_indexes_v1_v2.py")))
EXPECTED = json.loads(MAKER["ANSWERS"].read_text())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexes")
    with tarfile.open(MAKER["ARCHIVE"]) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("resident", [False, True])
def test_an_index_of_an_older_format_answers_as_it_did(folders: Path, name: str, resident: bool) -> None:
    index = SparseIndex.open(folders / name, verify="full", resident=resident)
    check(json.loads(json.dumps(MAKER["answers"](index))), EXPECTED[name])


def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Approximate search gives a document up after other numbers of terms than it did: nearly the same is found."""
    (ids, _), (old_ids, _) = found.pop("approximate"), (expected := dict(expected)).pop("approximate")
    assert found == expected
    same = [len(set(one) & set(old)) for one, old in zip(ids, old_ids, strict=True)]
    assert np.mean(same) >= 9


def test_the_documents_of_an_older_index_make_the_same_new_one(folders: Path, tmp_path: Path) -> None:
    old = SparseIndex.open(folders / "v2-uint16-float16")
    new = SparseIndex.build(
        old.rows(0, old.n_docs), IndexConfig(n_postings=40, exact_lists=False), path=tmp_path / "new"
    )
    check(json.loads(json.dumps(MAKER["answers"](new))), EXPECTED["v2-uint16-float16"])
    for made, read in zip(new._segment.documents, old._segment.documents, strict=True):
        assert np.array_equal(made, read)


def test_a_damaged_index_of_an_older_format_is_refused_at_opening(folders: Path) -> None:
    path = folders / "v2-uint16-float32" / "lines.npy"
    content = bytearray(path.read_bytes())
    content[128:] = np.random.default_rng(1).bytes(len(content) - 128)
    path.write_bytes(content)
    with pytest.raises(IndexCorrupt, match="lines"):
        SparseIndex.open(path.parent)
