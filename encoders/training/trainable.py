"""An encoder whose sides give dense weights with gradients: what a training loop needs.

    trainable = TrainableEncoder(untrained("splade-max", backbone))
    scores = trainable.queries(queries) @ trainable.documents(documents).T
    ...
    save_encoder(trainable.encoder, folder)

The vocabulary head is `sparse_gradient`, so a step costs what is active. Windows and pruning belong to inference and
are left out here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from encoders.checkpoints.build import Builder
from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.source import SideSource, Sources
from encoders.device import resolve_device
from encoders.learned import LearnedEncoder
from encoders.presets import preset
from encoders.sides.epic import EpicSide
from encoders.sides.literal import LiteralSide
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.mlp import MLPSide
from encoders.sides.side import Side
from encoders.sides.static import StaticSide
from encoders.sides.transformer_side import TransformerSide
from encoders.texts import check_texts
from encoders.vocabulary import FixedVocabulary


def untrained(
    preset_name: str, backbone: Path, *, device: str = "auto", max_length: int | None = None
) -> LearnedEncoder:
    """Return an encoder of that method on a backbone, in float32: a masked language model for vocabulary heads, any
    transformer for term weights, whose linear layer starts near 1 for every token."""
    method = preset(preset_name)
    sources = Sources(
        queries=SideSource(backbone, dataclasses.replace(method.queries, max_length=max_length)),
        documents=SideSource(backbone, dataclasses.replace(method.documents, max_length=max_length)),
    )
    builder = Builder(resolve_device(device), torch.float32, new_term_weights=True)
    queries, documents, tokens = builder.build(sources)
    return LearnedEncoder(
        str(backbone),
        documents=documents,
        queries=queries,
        vocabulary=FixedVocabulary(tokens),
        fingerprint=fingerprint((sources.queries, queries.settings), (sources.documents, documents.settings)),
        settings={},
    )


class TrainableEncoder(nn.Module):
    """The sides of `encoder` as one module; training changes the encoder itself.

    With `train_static`, a static query side's table is a parameter; `encoder` has its values after `finish()`.
    """

    def __init__(self, encoder: LearnedEncoder, *, train_static: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        # A model that both sides share is registered once, so an optimizer sees each parameter once.
        parts: dict[int, nn.Module] = {}
        for side in (encoder.queries, encoder.documents):
            for module in _modules(side):
                parts[id(module)] = module
        self.parts = nn.ModuleList(parts.values())
        for parameter in self.parts.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        device = next((one.device for one in self.parts.parameters()), torch.device("cpu"))
        self._tables = nn.ParameterDict(
            {
                name: nn.Parameter(torch.from_numpy(side.table).to(device, copy=True), requires_grad=train_static)
                for name, side in (("queries", encoder.queries), ("documents", encoder.documents))
                if isinstance(side, StaticSide)
            }
        )

    def queries(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [len(texts), vocabulary], with gradients."""
        return self._dense("queries", self.encoder.queries, check_texts(texts))

    def documents(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [len(texts), vocabulary], with gradients."""
        return self._dense("documents", self.encoder.documents, check_texts(texts))

    def finish(self) -> LearnedEncoder:
        """Return the encoder, ready for inference, with the trained tables in it."""
        self.update_tables()
        self.eval().requires_grad_(False)
        return self.encoder

    def update_tables(self) -> None:
        """Put the trained tables into the encoder as it stands; models are shared with it anyway."""
        for name, table in self._tables.items():
            side = self.encoder.queries if name == "queries" else self.encoder.documents
            if isinstance(side, StaticSide):
                # A query's weights are not negative: a token that would count against a document is left out.
                side.table[:] = table.detach().clamp_min(0.0).cpu().numpy()

    def tables(self) -> list[nn.Parameter]:
        """Return the static sides' tables."""
        return list(self._tables.values())

    def term_weights(self) -> list[nn.Module]:
        """Return the linear layers to one weight a token; they start untrained and may learn faster than the rest."""
        sides = (self.encoder.queries, self.encoder.documents)
        return [side.linear for side in sides if isinstance(side, EpicSide | LiteralSide | MLPSide)]

    def _dense(self, name: str, side: Side, texts: list[str]) -> Tensor:
        if isinstance(side, TransformerSide):
            return side.weights(side.ids(texts))
        table = self._tables[name]
        ids = side.tokenization.ids(texts, special_tokens=False)
        presence = torch.zeros((len(texts), len(table)), device=table.device)
        for row, one in zip(presence, ids, strict=True):
            row[one] = 1.0
        weights: Tensor = presence * table.clamp_min(0.0)
        return weights


def _modules(side: Side) -> list[nn.Module]:
    """Return the modules with a side's parameters."""
    if isinstance(side, EpicSide | LiteralSide):
        return [side.body.model, side.projection.layer, side.linear]
    if isinstance(side, MaskedLMSide):
        return [side.body.model, side.projection.layer]
    if isinstance(side, MLPSide):
        return [side.body.model, side.linear]
    return []
