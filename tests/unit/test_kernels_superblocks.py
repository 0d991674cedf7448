"""The kernels of one superblock: its bound, the documents that may be scored, and their scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from index.kernels.bits import count_bits, lowest_bit
from index.kernels.block_bounds import add_two_rows, largest_of_blocks
from index.kernels.block_visits import count_between, find_between
from index.kernels.superblock_scores import SUPERBLOCK, find_above, score_of_place

pytestmark = pytest.mark.kernels


@njit
def found_above(docs, impacts, begin, end, row, weights, held, sums, least):
    return find_above(docs, impacts, begin, end, row, weights, held, sums, least)


@njit
def bits_of(bits):
    return count_bits(bits), lowest_bit(bits)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([0, 3, 40, 64]), st.sampled_from(["f2", "f4"]))
def test_documents_above_are_those_of_a_plain_sum(seed, m, most, dtype):
    """Runs of 0 to 64 postings, the last one at the end of the arrays; impacts in quarters, so that sums are exact."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, most + 1, 2 * m)
    runs = [np.sort(generator.choice(SUPERBLOCK, length, replace=False)) for length in lengths]
    docs = np.concatenate([*runs, []]).astype(np.uint16) + np.uint16(SUPERBLOCK * 5)
    values = (generator.integers(1, 40, len(docs)) / 4).astype(dtype)
    impacts = values.view(np.uint16) if dtype == "f2" else values
    if len(docs) == 0:
        return
    end = np.cumsum(lengths)
    begin = end - lengths
    weights = (generator.integers(1, 20, m) / 4).astype(np.float32)
    for row in (0, 1):
        sums = np.zeros(SUPERBLOCK)
        for i in range(m):
            run = slice(begin[row * m + i], end[row * m + i])
            sums[docs[run] % SUPERBLOCK] += float(weights[i]) * values[run].astype(float)
        least = np.float32(max(np.median(sums), 0.25))
        held = np.zeros(m, np.int64)
        above = found_above(docs, impacts, begin, end, row, weights, held, np.empty(SUPERBLOCK), least)
        for place in range(SUPERBLOCK):
            assert (int(above) >> place) & 1 == (sums[place] >= least)
            assert score_of_place(place, held, begin, row, weights, impacts) == np.float32(sums[place])
        for i in range(m):
            assert int(held[i]) & (2**64 - 1) == sum(1 << int(place) for place in runs[row * m + i])


@pytest.mark.parametrize("bits", [1, 2**62, -(2**63), -1, 0b1010000])
def test_bits_are_counted_whatever_the_sign(bits):
    count, lowest = bits_of(np.int64(bits))
    unsigned = bits % 2**64
    assert (count, lowest) == (unsigned.bit_count(), (unsigned & -unsigned).bit_length() - 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(0, 64_000), st.integers(0, 1000))
def test_rows_are_added_rounded_down(seed, superblocks, factor, second):
    generator = np.random.default_rng(seed)
    n = 8 * superblocks
    blocks, sums = (
        generator.integers(0, 256, 2 * n + 3).astype(np.uint8),
        generator.integers(0, 500, n).astype(np.uint16),
    )
    expected = sums + (blocks[3 : 3 + n].astype(int) * factor >> 8) + (blocks[3 + n :].astype(int) * second >> 8)
    add_two_rows(blocks, 3, 3 + n, np.uint16(factor), np.uint16(second), sums)
    assert sums.tolist() == expected.tolist()
    bounds = np.zeros(superblocks, np.uint16)
    largest_of_blocks(sums, bounds)
    assert bounds.tolist() == expected.reshape(-1, 8).max(axis=1).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 300), st.integers(0, 65_535), st.integers(1, 65_536))
def test_bounds_between_two_levels_are_counted_and_found(seed, n, least, width):
    bounds = np.random.default_rng(seed).integers(0, 65_536, n).astype(np.uint16)
    below = min(least + width, 65_536)
    expected = np.flatnonzero((bounds.astype(int) >= least) & (bounds.astype(int) < below))
    found = np.zeros(n + 1, np.int32)
    assert count_between(bounds, least, below) == find_between(bounds, least, below, found) == len(expected)
    assert found[: len(expected)].tolist() == expected.tolist()
