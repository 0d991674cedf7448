"""Kullback-Leibler distillation: the student's distribution over a query's candidates is the teacher's (used so in
SPLADE-v3, arXiv:2403.06789).

    L = mean over q of sum over candidates d of p_t(d) * (log p_t(d) - log p_s(d)),   p = softmax(scores / T)

BM25's scores lie tens apart, so at T = 1 both distributions are all but one-hot and nothing is learned.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the loss, a scalar. Both are scores, float32 [queries, candidates]."""
    own, wanted = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    return functional.kl_div(own, wanted, reduction="batchmean", log_target=True)
