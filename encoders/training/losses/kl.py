"""Kullback-Leibler distillation: the student's distribution over a query's candidates is the teacher's (used so in
SPLADE-v3, arXiv:2403.06789).

    L = mean over q of sum over candidates d of p_t(d) * (log p_t(d) - log p_s(d)),   p = softmax(scores)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def kl_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the loss, a scalar. Both are scores, float32 [queries, candidates]."""
    return functional.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
