"""An index on disk: what is opened is what was built, and damage is named by file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from index import IndexConfig, SparseIndex, verify_index
from index.arrays.folder import _checksum, _dump
from index.arrays.segment import ARRAYS
from index.errors import IndexCorrupt, IndexFormatUnsupported, SearchParameterError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    matrix = random_array((300, 80), density=0.1, format="csr", rng=np.random.default_rng(4), dtype=np.float32)
    matrix.sort_indices()
    path = tmp_path_factory.mktemp("built") / "index"
    return SparseIndex.build(csr_array(matrix), IndexConfig(n_postings=100), path=path), csr_array(matrix)


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built[0].path, tmp_path / "index")


def flip(path, at, bit):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def test_an_opened_index_answers_as_the_one_in_memory(built):
    mapped, matrix = built
    memory = SparseIndex.build(matrix, IndexConfig(n_postings=100))
    for exact in (True, False):
        a, b = mapped.search(matrix[:40], exact=exact), memory.search(matrix[:40], exact=exact)
        assert (a.ids == b.ids).all()
        assert (a.scores == b.scores).all()
    assert mapped.verify() == memory.verify() == []
    assert mapped.bytes == memory.bytes


def test_arrays_are_mapped_and_start_on_a_cache_line(built):
    for name in ARRAYS:
        array = getattr(built[0]._segment, name)
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "manifest.json"])
def test_every_flipped_bit_is_found_and_the_file_named(built, folder, name):
    size = (folder / name).stat().st_size
    rng = np.random.default_rng(size)
    for at in {0, size // 2, size - 1, *rng.integers(0, size, 20).tolist()}:
        flip(folder / name, at, bit=int(rng.integers(8)))
        assert [problem.path.name for problem in verify_index(folder)] == [name]
        with pytest.raises((IndexCorrupt, IndexFormatUnsupported), match=name.replace(".", r"\.")):
            SparseIndex.open(folder, verify="full")
        shutil.copy(built[0].path / name, folder / name)


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "emptied"])
def test_open_notices_a_file_that_is_missing_or_of_another_size(folder, name, damage):
    path = folder / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": data[:-1], "longer": data + b"\n", "emptied": b""}[damage])
    with pytest.raises(IndexCorrupt) as caught:
        SparseIndex.open(folder)
    assert caught.value.path == path
    assert [problem.path for problem in verify_index(folder)] == [path]


@pytest.mark.parametrize("name", ["list_block", "list_summary", "window_entry", "entry_start", "lookup_numbers"])
def test_wild_offsets_are_refused_at_open_even_with_a_checksum_that_fits(folder, name):
    array = np.load(folder / f"{name}.npy")
    array[len(array) // 2] = np.iinfo(array.dtype).max
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(IndexCorrupt, match=name):
        SparseIndex.open(folder)


@pytest.mark.parametrize(
    "name",
    [
        "doc_lines",
        "line_docs",
        "lines",
        "impacts",
        "further",
        "entry_terms",
        "block_start",
        "block_docs",
        "summaries",
        "posting_docs",
        "posting_impacts",
    ],
)
def test_damaged_values_never_lead_a_kernel_outside_its_arrays(folder, built, name):
    path = folder / f"{name}.npy"
    data = bytearray(path.read_bytes())
    data[128:] = np.random.default_rng(9).bytes(len(data) - 128)
    path.write_bytes(data)
    index = SparseIndex.open(folder)
    top = index.search(built[1][:50], query_cut=20)
    assert top.ids.max() < 300
    index.search(built[1][:50], exact=True)
    index.search(built[1][:50], allowed=np.arange(300) % 2 == 0)
    index.rows(0, 300)


def test_a_header_that_does_not_fit_its_manifest_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["n_docs"] += 1
    manifest["checksum"] = _checksum(manifest)
    (folder / "manifest.json").write_bytes(_dump(manifest))
    with pytest.raises(IndexCorrupt, match=r"lines|window_entry"):
        SparseIndex.open(folder)


def test_a_flipped_bit_that_reverses_the_byte_order_is_refused_at_opening(folder):
    refused = []
    for path in sorted(folder.glob("*.npy")):
        content = path.read_bytes()
        if b"'<" not in content[:128]:  # bytes have no order
            continue
        path.write_bytes(content.replace(b"'<", b"'>", 1))
        with pytest.raises(IndexCorrupt, match="byte order") as caught:
            SparseIndex.open(folder)
        assert caught.value.path == path
        path.write_bytes(content)
        refused.append(path.name)
    assert {"impacts.npy", "block_docs.npy", "scale.npy"} <= set(refused)


def test_a_newer_format_is_refused_as_such(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["version"] = 99
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IndexFormatUnsupported, match="99"):
        SparseIndex.open(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "other"}', "[" * 100_000, "\x00" * 10])
def test_a_file_that_is_not_a_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(IndexCorrupt, match="manifest"):
        SparseIndex.open(folder)


def test_a_folder_that_is_not_an_index_is_refused(tmp_path):
    with pytest.raises(IndexCorrupt, match="is this folder an index"):
        SparseIndex.open(tmp_path)
    with pytest.raises(SearchParameterError, match="verify"):
        SparseIndex.open(tmp_path, verify="quick")
