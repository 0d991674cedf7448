"""MarginMSE: the student's margins between positive and negative are the teacher's (Hofstätter et al. 2020,
arXiv:2010.02666).

    L = mean over q and its negatives d- of ( [s(q, d+) - s(q, d-)] - [t(q, d+) - t(q, d-)] )^2
"""

from __future__ import annotations

from torch import Tensor


def margin_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the loss, a scalar. Both are float32 [queries, 1 + negatives], the positive first."""
    return ((student[:, :1] - student[:, 1:]) - (teacher[:, :1] - teacher[:, 1:])).pow(2).mean()
