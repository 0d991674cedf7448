"""Masked-LM warm-up: a new vocabulary head learns to predict tokens before it learns to rank.

    L = - mean over chosen positions i of log softmax(logit[i])[token_i]

15 % of a text's ordinary tokens are chosen (Devlin et al. 2019); 80 % of these are masked, 10 % replaced at random and
10 % unchanged, so that the head also learns to copy. Only the chosen positions are projected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.errors import SettingError
from encoders.sides.masked_lm import MaskedLMSide
from encoders.training.schedules import warm_up_then_linear

_CHOSEN, _MASKED, _REPLACED = 0.15, 0.8, 0.1


def warm_up_masked_lm(
    side: MaskedLMSide,
    texts: Sequence[str],
    *,
    mask_id: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    bf16: bool = False,
    record: Callable[[dict[str, float]], None] | None = None,
) -> None:
    """Train the side's body and head on `texts` for `steps` steps; a text may be read more than once."""
    usable = [one for one in side.tokenization.ids(texts) if set(one) - side.tokenization.special_ids]
    if not usable:
        raise SettingError("there is no text to warm up on")
    modules = nn.ModuleList([side.body.model, side.projection.layer])
    modules.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(modules.parameters(), lr=learning_rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * warm_up_then_linear(step, max(steps // 20, 1), steps)
        picked = torch.randint(len(usable), (batch_size,), generator=generator).tolist()
        loss = _loss(side, [usable[i] for i in picked], mask_id, generator, bf16)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
        if record:
            record({"warm_up_step": step + 1, "loss_masked_lm": float(loss.detach())})
    modules.eval().requires_grad_(False)


def _loss(side: MaskedLMSide, ids: list[list[int]], mask_id: int, generator: torch.Generator, bf16: bool) -> Tensor:
    tokens = torch.tensor([token for one in ids for token in one])
    ordinary = ~torch.isin(tokens, torch.tensor(sorted(side.tokenization.special_ids)))
    chosen = ordinary & (torch.rand(len(tokens), generator=generator) < _CHOSEN)
    if not chosen.any():
        chosen[int(ordinary.nonzero()[0])] = True
    how = torch.rand(len(tokens), generator=generator)
    fed = torch.where(chosen & (how < _MASKED), mask_id, tokens)
    random = torch.randint(side.n_terms, (len(tokens),), generator=generator)
    fed = torch.where(chosen & (how >= _MASKED) & (how < _MASKED + _REPLACED), random, fed)
    pieces = [part.tolist() for part in torch.split(fed, [len(one) for one in ids])]
    device = side.body.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        hidden = side.body(pieces)[chosen.to(device)]
    logits = hidden.float() @ side.projection.weight.float().T
    if side.projection.bias is not None:
        logits = logits + side.projection.bias
    return functional.cross_entropy(logits, tokens[chosen].to(device))
