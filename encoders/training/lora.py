"""Low-rank adapters (LoRA) of the models of an encoder: only they are trained, and only they are saved.

    W x  becomes  W x + alpha / rank * B A x        A [rank, inputs] random, B [outputs, rank] zero at the start

A decoder of billions of parameters then needs no optimizer state for them, and many trained encoders share one base
model. The layers are those of the package peft, so that an adapter that was trained here opens there, too. Hu et al.
2021, arXiv:2106.09685; with echo embeddings Doshi et al. 2024 (Mistral-SPLADE, arXiv:2408.11119).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from encoders.compute.transformer import BertBody, TransformersBody
from encoders.errors import ModelsMissing, SettingError
from encoders.learned import LearnedEncoder
from encoders.sides.transformer_side import TransformerSide


@dataclass(frozen=True)
class LoraSettings:
    """rank, alpha, dropout    of the adapters
    targets                 the ends of the names of the linear layers that get one; empty: all of the body
    """

    rank: int
    alpha: int
    dropout: float = 0.0
    targets: tuple[str, ...] = ()


def add_adapters(encoder: LearnedEncoder, settings: LoraSettings, seed: int) -> None:
    """Put an adapter into each model of `encoder`, which then computes and saves with it.

    A model must have been read from the folder that its adapter will name. Raises SettingError where no side has a
    model, or no layer one of the target names; ModelsMissing without peft.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ModelsMissing("training with LoRA needs the package peft: install lsr[lora]") from None
    bodies = {
        id(side.body): side.body
        for side in (encoder.queries, encoder.documents)
        if isinstance(side, TransformerSide) and isinstance(side.body, TransformersBody | BertBody)
    }
    if not bodies:
        raise SettingError("LoRA needs a side with a model")
    torch.manual_seed(seed)
    for body in bodies.values():
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(settings.targets) or "all-linear",
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft uses a deprecated name of transformers
                body.adapt(get_peft_model(body.model, config))
        except ValueError as error:
            raise SettingError(f"LoRA: {str(error).splitlines()[0][:300]}") from None
