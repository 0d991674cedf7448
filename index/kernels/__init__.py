"""Numba kernels: compiled loops over plain arrays. The caller allocates and validates; a kernel never raises.

A slow counterpart in `index.kernels.oracle`, used by tests only, defines each. Kernels may call functions of other
kernel files (`cache_stamp`).
"""

from index.kernels.cache_stamp import use_for_kernels

use_for_kernels()
