"""Numba kernels: plain arrays in and out. The caller allocates and validates; a kernel never raises.

Each is defined by a slow counterpart in `index.kernels.oracle`, which only tests use.
"""
