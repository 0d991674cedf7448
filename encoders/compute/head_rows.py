"""The largest weights of many texts from a pooled head, on a CPU: a product of matrices, then one pass over it.

    weight[v] = factor[v] * impact[v] + relu(u_v . p + b_v)

With `halves` the product is of bfloat16 numbers, at four times the speed where the processor has instructions for it.
Each u_v is divided by its largest number and multiplied by 127 first, so that a head that is stored in int8
(encoders.checkpoints.int8) loses nothing: bfloat16 has every integer up to 256.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from encoders.compute.largest_weights import largest_weights
from encoders.compute.packed_linear import PackedLinear

Floats = NDArray[np.float32]

_STEPS = 127.0  # of an int8 number


class HeadRows:
    """A copy of a head, for inference. Safe to call from many threads."""

    def __init__(self, weight: Tensor, bias: Tensor, factor: Tensor, silent: Tensor, *, halves: bool) -> None:
        """weight float32 [n_terms, size] (kept, not copied, without `halves`), bias and factor float32 [n_terms];
        the terms `silent` int64 have no expansion."""
        self._factor = torch.relu(factor).numpy()
        self._bias = bias.numpy().copy()
        self._bias[silent.numpy()] = -np.inf
        self._scale: Floats = np.ones(len(self._bias), dtype=np.float32)
        self._weight, self._packed = weight, None
        if halves:
            scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _STEPS
            integers = (weight / scale[:, None]).bfloat16()
            self._scale = scale.numpy()
            self._packed = PackedLinear(integers, torch.zeros(len(scale), dtype=torch.bfloat16))

    def __call__(
        self,
        pooled: Floats,
        has_expansion: NDArray[np.bool_],
        keys: NDArray[np.int64],
        impacts: Floats,
        limit: int | None,
    ) -> csr_array:
        """Return float32 csr_array [texts, n_terms], at most `limit` weights in a row.

        pooled         float32 [texts, size]
        has_expansion  bool [texts]
        keys           ascending, text * n_terms + term, of the impacts float32 of the same length
        """
        rows, n_terms = len(pooled), len(self._bias)
        terms_of_texts, texts = keys % n_terms, np.arange(rows + 1)
        limit = n_terms if limit is None else min(limit, n_terms)
        indptr = np.empty(rows + 1, dtype=np.int64)
        terms = np.empty(rows * limit, dtype=np.int32)
        weights = np.empty(rows * limit, dtype=np.float32)
        largest_weights(
            *self._products(torch.from_numpy(pooled)),
            self._scale,
            self._bias,
            has_expansion,
            np.searchsorted(keys, texts * n_terms),
            terms_of_texts,
            impacts * self._factor[terms_of_texts],
            limit,
            indptr,
            terms,
            weights,
        )
        end = int(indptr[-1])
        return csr_array((weights[:end].copy(), terms[:end].copy(), indptr), shape=(rows, n_terms))

    def _products(self, pooled: Tensor) -> tuple[Floats, NDArray[np.uint16]]:
        """Return the products in float32 or in bfloat16, and an empty array in the other's place."""
        n_terms = len(self._bias)
        if self._packed is None:
            return functional.linear(pooled, self._weight).numpy(), np.empty((0, n_terms), dtype=np.uint16)
        halves = self._packed(pooled.bfloat16()).view(torch.uint16).numpy()
        return np.empty((0, n_terms), dtype=np.float32), halves
