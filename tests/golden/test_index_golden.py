"""Every later version opens the indexes of formats 3 and 5, and finds the same as when they were written."""

from __future__ import annotations

import json
import runpy
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from index import SparseIndex
from index.arrays.folder import replace_manifest
from index.errors import IndexCorrupt, IndexFormatUnsupported

MAKERS = {version: runpy.run_path(str(Path(__file__).with_name(f"make_indexes_v{version}.py"))) for version in (3, 5)}
ANSWERS = {version: json.loads(maker["ANSWERS"].read_text()) for version, maker in MAKERS.items()}
EXPECTED = ANSWERS[3]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(3, tmp_path_factory.mktemp("indexes"))


def unpacked(version: int, folder: Path) -> Path:
    with tarfile.open(MAKERS[version]["ARCHIVE"]) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize(("version", "name"), [(version, name) for version in ANSWERS for name in ANSWERS[version]])
@pytest.mark.parametrize("resident", [False, True])
def test_an_index_of_an_earlier_version_answers_as_it_did(
    tmp_path: Path, version: int, name: str, resident: bool
) -> None:
    index = SparseIndex.open(unpacked(version, tmp_path) / name, verify="full", resident=resident)
    assert json.loads(json.dumps(MAKERS[version]["answers"](index))) == ANSWERS[version][name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_documents_of_an_index_of_format_3_build_the_same_index(folders: Path, name: str, tmp_path: Path) -> None:
    old = SparseIndex.open(folders / name)
    new = SparseIndex.build(old.rows(0, old.n_docs), old.config, path=tmp_path / "new")
    assert np.array_equal(new._segment.lines[:, :60], old._segment.lines[:, :60])
    for part in ("impacts", "terms", "scale", "posting_docs", "posting_impacts"):
        assert np.array_equal(getattr(new._segment, part), getattr(old._segment, part))
    assert (new.rows(0, new.n_docs) != old.rows(0, old.n_docs)).nnz == 0


def test_a_damaged_index_of_format_3_is_refused_at_opening(folders: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(folders / "uint16-float32", tmp_path / "damaged"))
    path = damaged / "lines.npy"
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(IndexCorrupt, match="lines"):
        SparseIndex.open(damaged)


@pytest.mark.parametrize(("version", "remedy"), [(1, "lsr index CORPUS"), (2, "lsr index CORPUS"), (6, "newer lsr")])
def test_an_index_of_another_format_is_refused_by_name(
    folders: Path, tmp_path: Path, version: int, remedy: str
) -> None:
    other = Path(shutil.copytree(folders / "uint16-float16", tmp_path / "other"))
    replace_manifest(other, {"version": version})
    expected = f"format version {version}, but .* reads version [35]: .*{remedy}"
    with pytest.raises(IndexFormatUnsupported, match=expected):
        SparseIndex.open(other)
