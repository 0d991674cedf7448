"""Dense rows: quantised once, kept as they are, scored alike everywhere; damage is named by file."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import DenseRows, quantise, verify_dense
from index.arrays.folder import _checksum, _dump
from index.errors import IndexCorrupt, IndexFormatUnsupported, SearchParameterError, VectorError
from index.kernels import oracle

DIMS = 20
FILES = ["dense.npy", "scale.npy", "manifest.json"]


def vectors(n=300, dims=DIMS, seed=3):
    """Random unit vectors; every seventh is zeros."""
    made = np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    made[::7] = 0
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return DenseRows.build([vectors()[:100], vectors()[100:]], DIMS, tmp_path_factory.mktemp("built") / "rows")


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built._path, tmp_path / "rows")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=9))
def test_quantised_numbers_are_the_nearest_steps(numbers):
    row = np.array([numbers], dtype=np.float32)
    steps, scale = quantise(row)
    assert steps.dtype == np.int8
    if not scale[0]:
        assert not steps.any()
        assert np.abs(row).max() < 1e-38
    else:
        assert scale[0] == np.float32(np.abs(row).max() / np.float32(127))
        assert np.abs(steps).max() == 127 or scale[0] < 1e-37  # a subnormal scale is a coarse one
        if scale[0] >= 1e-37:
            error = np.abs(row.astype(np.float64) - steps.astype(np.float64) * np.float64(scale[0]))
            assert error.max() <= 0.5001 * scale[0]


def test_steps_are_rounded_half_to_even():
    steps, scale = quantise(np.float32([[127, 0.5, 1.5, 2.5, -0.5, -1.5]]))
    assert scale.tolist() == [1.0]
    assert steps.tolist() == [[127, 0, 2, 2, 0, -2]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused(bad):
    with pytest.raises(VectorError, match="NaN or infinity"):
        quantise(np.float32([[0.0, bad]]))


def test_a_score_is_the_canonical_one_in_memory_and_mapped(built):
    memory = DenseRows.build([vectors()], DIMS)
    query = vectors(seed=8)[1]
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 300, 500)
    steps, scale = built.rows(0, 300)
    expected = oracle.dense_scores(ids.tolist(), steps.tolist(), scale.tolist(), query.tolist())
    assert built.score(ids, query).tolist() == memory.score(ids, query).tolist() == expected
    assert (built.score(ids, query) == 0).tolist() == (~built.present(ids)).tolist() == (ids % 7 == 0).tolist()


def test_a_score_depends_neither_on_the_other_documents_nor_on_the_thread(built):
    query, ids = vectors(seed=8)[1], np.arange(300)
    together = built.score(ids, query).tolist()
    assert [float(built.score([doc_id], query)[0]) for doc_id in ids] == together
    with ThreadPoolExecutor(8) as pool:
        assert all(found == together for found in pool.map(lambda _: built.score(ids, query).tolist(), range(64)))


def test_a_canonical_vector_is_steps_times_scale(built):
    for doc_id in (0, 1, 299):
        steps, scale = built.row(doc_id)
        assert built.values(doc_id).tolist() == (steps.astype(np.float32) * scale).tolist()
        assert np.abs(built.values(doc_id) - vectors()[doc_id]).max() <= scale / 2 * 1.001


def test_stored_rows_are_copied_as_they_are(built, tmp_path):
    copy = DenseRows.build((built.rows(at, at + 50) for at in range(0, 300, 50)), DIMS, tmp_path / "copy")
    for name in FILES:
        assert (tmp_path / "copy" / name).read_bytes() == (built._path / name).read_bytes()
    joined = DenseRows.join([(copy, np.arange(300) % 2 == 0), (built, np.arange(300) < 3)])
    assert joined.n_docs == 153
    assert joined.values(1).tolist() == built.values(2).tolist()
    assert joined.values(151).tolist() == built.values(1).tolist()


@pytest.mark.parametrize("folder_too", [False, True])
def test_no_documents_at_all_is_a_case_too(tmp_path, folder_too):
    rows = DenseRows.build([], 5, tmp_path / "none" if folder_too else None)
    assert (rows.n_docs, rows.dims, rows.bytes) == (0, 5, 0)
    assert rows.score([], np.zeros(5, np.float32)).tolist() == []
    assert rows.verify() == []


def test_bytes_are_a_row_and_a_scale_for_each_document(built):
    assert built.bytes == 300 * (DIMS + 4)


@pytest.mark.parametrize("doc_id", [-1, 300, 2**40])
def test_an_unknown_doc_id_is_refused(built, doc_id):
    for call in (built.present, built.values, lambda one: built.score(one, np.zeros(DIMS, np.float32))):
        with pytest.raises(VectorError, match="doc_id"):
            call([doc_id] if call is not built.values else doc_id)


@pytest.mark.parametrize("query", [np.zeros(DIMS - 1), np.zeros((1, DIMS)), np.full(DIMS, np.nan)])
def test_a_query_of_another_shape_or_not_finite_is_refused(built, query):
    with pytest.raises(VectorError, match="query"):
        built.score([0], query)


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((2, DIMS + 1), np.float32),
        np.zeros(DIMS, np.float32),
        np.zeros((2, DIMS), np.float64),
        (np.zeros((2, DIMS), np.int16), np.zeros(2, np.float32)),
        (np.zeros((2, DIMS), np.int8), np.zeros(3, np.float32)),
        (np.zeros((2, DIMS), np.int8), np.float32([1, -1])),
        (np.zeros((2, DIMS), np.int8), np.float32([1, np.nan])),
    ],
)
def test_a_block_of_another_form_is_refused_and_nothing_is_left(tmp_path, block):
    with pytest.raises(VectorError):
        DenseRows.build([vectors()[:3], block], DIMS, tmp_path / "rows")
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_mapped_and_start_on_a_cache_line(built):
    for array in built.rows(0, 300):
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found_and_the_file_named(built, folder, name):
    content = (folder / name).read_bytes()
    rng = np.random.default_rng(len(content))
    for at in {0, len(content) // 2, len(content) - 1, *rng.integers(0, len(content), 20).tolist()}:
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        (folder / name).write_bytes(damaged)
        assert [problem.path.name for problem in verify_dense(folder)] == [name]
        with pytest.raises((IndexCorrupt, IndexFormatUnsupported), match=name.replace(".", r"\.")):
            DenseRows.open(folder, verify="full")
        (folder / name).write_bytes(content)
    assert verify_dense(folder) == built.verify() == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "emptied"])
def test_open_notices_a_file_that_is_missing_or_of_another_size(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": content[:-1], "longer": content + b"\n", "emptied": b""}[damage])
    with pytest.raises(IndexCorrupt) as caught:
        DenseRows.open(folder)
    assert caught.value.path == path


@pytest.mark.parametrize(("count", "change"), [("n_docs", 1), ("n_docs", -1), ("dims", 1), ("dims", None)])
def test_a_shape_that_does_not_fit_its_manifest_is_refused(folder, count, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[count] = None if change is None else manifest[count] + change
    manifest["checksum"] = _checksum(manifest)
    (folder / "manifest.json").write_bytes(_dump(manifest))
    with pytest.raises(IndexCorrupt, match=r"dense|count"):
        DenseRows.open(folder)


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf])
def test_a_scale_that_is_none_is_refused_at_open_even_with_a_size_that_fits(folder, scale):
    array = np.load(folder / "scale.npy")
    array[5] = scale
    np.save(folder / "scale.npy", array)
    with pytest.raises(IndexCorrupt, match=r"scale\.npy"):
        DenseRows.open(folder)


def test_damaged_steps_change_scores_and_nothing_else(folder):
    path = folder / "dense.npy"
    content = bytearray(path.read_bytes())
    content[128:] = np.random.default_rng(9).bytes(len(content) - 128)
    path.write_bytes(content)
    assert np.isfinite(DenseRows.open(folder).score(np.arange(300), vectors()[1])).all()


def test_another_folder_and_a_newer_format_are_refused_as_such(folder, tmp_path):
    with pytest.raises(IndexCorrupt, match="missing"):
        DenseRows.open(tmp_path)
    with pytest.raises(SearchParameterError, match="verify"):
        DenseRows.open(folder, verify="quick")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(IndexFormatUnsupported, match="version 2"):
        DenseRows.open(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": "lsr-sparse-index"}))
    with pytest.raises(IndexCorrupt, match="lsr-dense-rows"):
        DenseRows.open(folder)


def test_a_folder_is_never_written_over(built):
    with pytest.raises(FileExistsError):
        DenseRows.build([vectors()], DIMS, built._path)
