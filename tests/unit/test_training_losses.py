"""Each loss against its formula in plain loops, and the schedules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from encoders.training.losses import (
    ensemble,
    flops,
    focus,
    idf_queries,
    infonce,
    kl_divergence,
    l1,
    margin_mse,
    thresholded_flops,
)
from encoders.training.schedules import quadratic_ramp, warm_up_then_linear, window_at

SCORES = torch.tensor([[2.0, 1.0, -0.5], [0.3, 0.1, 4.0]])
TEACHER = torch.tensor([[1.0, 0.2, 0.0], [3.0, 2.5, -1.0]])
WEIGHTS = torch.tensor([[1.0, 0.0, 2.0, 0.0], [3.0, 0.5, 0.0, 0.0]])


def test_infonce_is_the_negative_log_share_of_the_positive_and_skips_excluded_documents() -> None:
    mask = torch.tensor([[True, True, True], [True, False, True]])
    expected = []
    for row, (scores, kept) in enumerate(zip(SCORES.tolist(), mask.tolist(), strict=True)):
        share = [math.exp(score / 0.5) if keep else 0.0 for score, keep in zip(scores, kept, strict=True)]
        expected.append(-math.log(share[(0, 2)[row]] / sum(share)))
    assert infonce(SCORES, torch.tensor([0, 2]), mask, 0.5).item() == pytest.approx(sum(expected) / 2)


def test_margin_mse_compares_margins_not_scores() -> None:
    margins = [(2 - 1) - (1 - 0.2), (2 + 0.5) - 1.0, (0.3 - 0.1) - 0.5, (0.3 - 4.0) - 4.0]
    assert margin_mse(SCORES, TEACHER).item() == pytest.approx(sum(m * m for m in margins) / 4)
    assert margin_mse(SCORES + 7, TEACHER).item() == pytest.approx(margin_mse(SCORES, TEACHER).item())


def test_kl_is_zero_for_equal_distributions_and_the_formula_otherwise() -> None:
    assert kl_divergence(TEACHER + 3, TEACHER).item() == pytest.approx(0, abs=1e-6)
    p, q = torch.softmax(TEACHER, 1), torch.softmax(SCORES, 1)
    assert kl_divergence(3 * SCORES, 3 * TEACHER, 3.0).item() == pytest.approx(kl_divergence(SCORES, TEACHER).item())
    assert kl_divergence(SCORES, TEACHER).item() == pytest.approx((p * (p / q).log()).sum(1).mean().item())


def test_regularisers_are_their_formulas() -> None:
    assert flops(WEIGHTS).item() == pytest.approx(2.0**2 + 0.25**2 + 1.0**2)
    assert l1(WEIGHTS).item() == pytest.approx(6.5 / 2)
    assert thresholded_flops(WEIGHTS, 1).item() == pytest.approx(flops(WEIGHTS).item())
    assert thresholded_flops(WEIGHTS, 2).item() == 0.0
    longer = torch.tensor([[1.0, 1.0, 1.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    assert thresholded_flops(longer, 2).item() == pytest.approx(3 * 0.5**2)


def test_a_regulariser_pushes_only_what_is_active() -> None:
    weights = WEIGHTS.clone().requires_grad_()
    flops(weights).backward()
    assert torch.equal(weights.grad == 0, WEIGHTS == 0)


def test_idf_takes_the_place_of_the_query_weights() -> None:
    idf = torch.tensor([0.1, 5.0, 2.0, 9.0])
    assert idf_queries(WEIGHTS, idf).tolist() == [pytest.approx(row) for row in ([0.1, 0, 2.0, 0], [0.1, 5.0, 0, 0])]


def test_ensemble_makes_teachers_comparable_before_it_averages() -> None:
    dense = np.array([[0.9, 0.5, 0.1], [0.3, 0.3, 0.3]], dtype=np.float32)
    sparse = np.array([[10, 30, 20], [1, 2, 3]], dtype=np.float32)
    expected = [[(1 + 0) / 2 * 30, (0.5 + 1) / 2 * 30, (0 + 0.5) / 2 * 30], [0, 7.5, 15]]
    assert ensemble([dense, sparse]) == pytest.approx(np.array(expected), rel=1e-5)
    assert ensemble([dense, 1000 * sparse - 7]) == pytest.approx(ensemble([dense, sparse]), rel=1e-5)


def test_lambda_rises_with_the_square_and_then_stays() -> None:
    assert [quadratic_ramp(step, 10, 4.0) for step in (0, 5, 10, 99)] == [0.0, 1.0, 4.0, 4.0]
    assert quadratic_ramp(0, 0, 4.0) == 4.0


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    assert [warm_up_then_linear(step, 2, 10) for step in (0, 1, 2, 6, 10)] == [0.5, 1.0, 1.0, 0.5, 0.0]


def test_a_window_keeps_the_largest_weights_and_gives_the_others_no_gradient() -> None:
    weights = torch.tensor([[1.0, 3.0, 2.0, 0.0], [0.0, 0.5, 0.0, 0.0]], requires_grad=True)
    found = focus(weights, 2)
    assert found.tolist() == [[0.0, 3.0, 2.0, 0.0], [0.0, 0.5, 0.0, 0.0]]
    found.sum().backward()
    assert weights.grad is not None
    assert weights.grad[0].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert focus(weights, 4) is weights
    assert focus(weights, None) is weights


def test_windows_follow_each_other_in_equal_parts_of_the_steps() -> None:
    assert [window_at((512, 256, 128), step / 6) for step in range(6)] == [512, 512, 256, 256, 128, 128]
    assert window_at((9,), 0.99) == 9
    assert window_at((), 0.5) is None
