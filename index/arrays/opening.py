"""Mapping the arrays of a folder, with the checks that make them safe for kernels.

A kernel never checks bounds: an offset outside its array is memory corruption. So the offset arrays are checked
whenever an index is opened. The far larger arrays of values are not checked: kernels cut off what they read there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays.folder import MANIFEST, holds_block_maxima, holds_further_lines, map_array
from index.arrays.segment import ARRAYS, BLOCK_MAXIMA, NEIGHBOURS, NO_NEIGHBOURS, Segment, frozen_maxima
from index.errors import IndexCorrupt
from index.kernels.block_max import SUPERBLOCK
from index.kernels.exhaustive import WINDOW
from index.kernels.further import largest_shift, remainder_type
from index.kernels.lines import LINE_BYTES, terms_per_line

_TWO_DIMENSIONS = ("lines", "impacts", "block_docs", "summaries")
# What is different in an index of version 3 or 4.
_IN_LINES: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "further": (("uint8",), None),
    "block_docs": (("uint32",), None),
}
_NOT_IN_LINES: Mapping[str, NDArray[Any]] = {
    "remainders": np.zeros(0, dtype=np.uint8),
    "impact_code": np.zeros(2, dtype=np.int64),
}
_TWO_DIMENSIONS_IN_LINES = ("lines", "impacts", "further", "summaries")


def open_segment(folder: Path, manifest: Mapping[str, Any]) -> Segment:
    """Map the arrays of a folder; raises IndexCorrupt naming the file that is not what the manifest says."""
    try:
        counts = {name: int(manifest[name]) for name in ("n_docs", "n_terms", "n_local", "nnz")}
        max_impact, beta = float(manifest["max_impact"]), float(manifest["beta"])
    except (KeyError, TypeError, ValueError) as error:
        raise IndexCorrupt(folder / MANIFEST, f"a count is missing or not a number ({error})") from None
    lengths = counts | {"n_local + 1": counts["n_local"] + 1, "n_windows + 1": -(-counts["n_docs"] // WINDOW) + 1}
    arrays: dict[str, NDArray[Any]] = {}
    old = holds_further_lines(manifest)
    for name, (dtypes, length) in ({**ARRAYS, **_IN_LINES} if old else ARRAYS).items():
        if old and name in _NOT_IN_LINES:
            arrays[name] = _NOT_IN_LINES[name]
            continue
        array = map_array(folder, manifest, name)
        path = folder / f"{name}.npy"
        dimensions = 2 if name in (_TWO_DIMENSIONS_IN_LINES if old else _TWO_DIMENSIONS) else 1
        if array.dtype.name not in dtypes or array.ndim != dimensions:
            wanted = f"{' or '.join(dtypes)} in {dimensions}"
            raise IndexCorrupt(path, f"holds {array.dtype} in {array.ndim} dimensions, not {wanted}")
        if length is not None and len(array) != lengths[length]:
            raise IndexCorrupt(path, f"holds {len(array)} values, not {lengths[length]}")
        arrays[name] = array
    _check_documents(folder, arrays, counts["n_docs"])
    _check_offsets(folder / "list_block.npy", arrays["list_block"], len(arrays["block_start"]) - 1)
    _check_offsets(folder / "list_summary.npy", arrays["list_summary"], len(arrays["summaries"]))
    _check_below(folder / "lookup_numbers.npy", arrays["lookup_numbers"], counts["n_local"])
    _check_windows(folder, arrays, counts["nnz"])
    return Segment(
        n_docs=counts["n_docs"],
        n_terms=counts["n_terms"],
        nnz=counts["nnz"],
        max_impact=max_impact,
        beta=beta,
        neighbours=_map_neighbours(folder, manifest, counts["n_docs"]),
        **arrays,
        **_map_block_maxima(folder, manifest, arrays, counts),
    )


def _map_neighbours(folder: Path, manifest: Mapping[str, Any], n_docs: int) -> NDArray[np.uint32]:
    """Map the graph, if there is one. Its values need no check: kernels cut them off."""
    if f"{NEIGHBOURS}.npy" not in manifest["files"]:
        return NO_NEIGHBOURS
    neighbours = map_array(folder, manifest, NEIGHBOURS)
    if neighbours.dtype != np.uint32 or neighbours.ndim != 2 or len(neighbours) != n_docs:
        raise IndexCorrupt(
            folder / f"{NEIGHBOURS}.npy", f"holds {neighbours.dtype} {neighbours.shape}, not a row per document"
        )
    return neighbours


def _map_block_maxima(
    folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], counts: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Map the block maxima, if the version says that they exist. Their values need no check: kernels cut them off."""
    if not holds_block_maxima(manifest):
        return {name: frozen_maxima({}, name) for name in BLOCK_MAXIMA}
    if len(arrays["posting_docs"]) != counts["nnz"] or not counts["nnz"]:
        raise IndexCorrupt(folder / MANIFEST, "an index with block maxima has no unpruned postings")
    n_superblocks = -(-counts["n_docs"] // SUPERBLOCK)
    found: dict[str, NDArray[Any]] = {}
    for name, (dtype, width) in BLOCK_MAXIMA.items():
        array = found[name] = map_array(folder, manifest, name)
        n_frequent = len(found["superblock_starts"])
        wanted = (n_frequent, width * n_superblocks)
        if array.dtype != dtype or array.shape != wanted or not 0 < n_frequent <= counts["n_local"]:
            raise IndexCorrupt(folder / f"{name}.npy", f"holds {array.dtype} {array.shape}, not {wanted}")
    return found


def _check_documents(folder: Path, arrays: Mapping[str, NDArray[Any]], n_docs: int) -> None:
    if arrays["summaries"].shape[1] != LINE_BYTES:
        raise IndexCorrupt(folder / "summaries.npy", f"holds {arrays['summaries'].shape}, not lines of 64 bytes")
    _check_further(folder, arrays)
    width = terms_per_line(arrays["entry_terms"].dtype)
    for name, wanted in (("lines", (n_docs, LINE_BYTES)), ("impacts", (n_docs, width))):
        if arrays[name].shape != wanted:
            raise IndexCorrupt(folder / f"{name}.npy", f"holds {arrays[name].shape}, not {wanted}")


def _check_further(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    if arrays["further"].ndim == 2:
        if arrays["further"].shape[1] != LINE_BYTES:
            raise IndexCorrupt(folder / "further.npy", f"holds {arrays['further'].shape}, not lines of 64 bytes")
        return
    if arrays["block_docs"].shape[1] not in (3, 4):
        raise IndexCorrupt(folder / "block_docs.npy", f"holds {arrays['block_docs'].shape}, not 3 or 4 bytes each")
    remainders, code, impact_type = arrays["remainders"], arrays["impact_code"], arrays["impacts"].dtype
    if remainders.dtype != remainder_type(impact_type) or len(remainders) != len(arrays["further"]):
        wanted = f"{len(arrays['further'])} {remainder_type(impact_type)}"
        raise IndexCorrupt(folder / "remainders.npy", f"holds {len(remainders)} {remainders.dtype}, not {wanted}")
    if len(code) != 2 or not (0 <= code[0] < 2**31 and 0 <= code[1] <= largest_shift(impact_type)):
        raise IndexCorrupt(folder / "impact_code.npy", f"holds {code[:3].tolist()}, which divides no impacts")


def _check_windows(folder: Path, arrays: Mapping[str, NDArray[Any]], nnz: int) -> None:
    docs, impacts = arrays["posting_docs"], arrays["posting_impacts"]
    if len(docs) not in (0, nnz):
        raise IndexCorrupt(folder / "posting_docs.npy", f"holds {len(docs)} values, not {nnz}")
    if len(impacts) != len(docs):
        raise IndexCorrupt(folder / "posting_impacts.npy", "is not as long as posting_docs.npy")
    if impacts.dtype != arrays["impacts"].dtype:
        raise IndexCorrupt(folder / "posting_impacts.npy", "holds impacts of another type than impacts.npy")
    if len(arrays["entry_terms"]) != len(arrays["entry_start"]) - 1:
        raise IndexCorrupt(folder / "entry_terms.npy", "does not have a term for each entry of entry_start.npy")
    _check_offsets(folder / "window_entry.npy", arrays["window_entry"], len(arrays["entry_terms"]))
    _check_offsets(folder / "entry_start.npy", arrays["entry_start"], len(docs))


def _check_offsets(path: Path, offsets: NDArray[Any], end: int) -> None:
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
        raise IndexCorrupt(path, f"the offsets do not ascend from 0 to {end}")


def _check_below(path: Path, values: NDArray[Any], limit: int) -> None:
    if len(values) and values.max() >= limit:
        raise IndexCorrupt(path, f"holds {values.max()}, which is not below {limit}")
