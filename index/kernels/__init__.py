"""Numba kernels: plain arrays in and out. The caller allocates and validates; a kernel never raises.

Each is defined by a slow counterpart in `index.kernels.oracle`, which only tests use. A kernel may call helpers of
other kernel files (`cache_stamp`).
"""

from index.kernels.cache_stamp import use_for_kernels

use_for_kernels()
