"""Stored impacts as kernels read them: float32, or float16 as its bits in uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

_TWO_TO_112 = np.float32(2.0**112)


def impact_values(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return stored impacts as float32."""
    return stored.view(np.float16).astype(np.float32) if stored.dtype == np.uint16 else stored


def impact_value(stored):
    """Return a stored impact as a float32. Oracle: numpy's view as float16.

    Numba's CPU target has no float16. Its bits, shifted to the place of float32's exponent, are the value times
    2**-112, subnormals included.
    """
    if isinstance(stored, np.uint16):
        return np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * _TWO_TO_112
    return np.float32(stored)


@overload(impact_value, inline="always")
def _impact_value(stored):
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * _TWO_TO_112
    return lambda stored: np.float32(stored)


def impact_bits(stored):
    """Return the bits of a stored impact as an int64."""
    return np.int64(stored) if isinstance(stored, np.uint16) else np.int64(np.float32(stored).view(np.uint32))


@overload(impact_bits, inline="always")
def _impact_bits(stored):
    if stored == types.uint16:
        return lambda stored: np.int64(stored)
    return lambda stored: np.int64(np.float32(stored).view(np.uint32))
