"""An encoder whose sides compute dense weights with gradients, for the training loop.

    trainable = TrainableEncoder(untrained("splade-max", backbone))
    scores = trainable.queries(queries) @ trainable.documents(documents).T
    ...
    save_encoder(trainable.encoder, folder)

The vocabulary head is `sparse_gradient`, so the cost of a step depends on the active terms. Windows and pruning are
for inference only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from encoders.checkpoints.builder import Builder
from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.sides import build_sides
from encoders.checkpoints.sources import SideSource, Sources
from encoders.compute.transformer import BertBody, TransformersBody
from encoders.learned import LearnedEncoder
from encoders.presets import preset
from encoders.settings import SideSettings
from encoders.sides.epic import EpicSide
from encoders.sides.literal import LiteralSide
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.mlp import MLPSide
from encoders.sides.pooled import PooledSide
from encoders.sides.prosper import ProsperSide
from encoders.sides.side import Side
from encoders.sides.static import StaticSide
from encoders.sides.transformer_side import TransformerSide
from encoders.text.checks import check_texts
from encoders.training.frozen_documents import FrozenDocuments, LiveDocuments
from encoders.vocabulary import FixedVocabulary

_SAMPLED_TERMS = 2048  # added to a batch's query terms, for the regulariser of a pooled side


def untrained(
    preset_name: str, backbone: Path, *, device: str = "auto", max_length: int | None = None
) -> LearnedEncoder:
    """Return an encoder of that method on a backbone: `untrained_sides` of the preset's."""
    method = preset(preset_name)
    return untrained_sides(method.queries, method.documents, backbone, device=device, max_length=max_length)


def untrained_sides(
    queries: SideSettings,
    documents: SideSettings,
    backbone: Path,
    *,
    device: str = "auto",
    max_length: int | None = None,
    separate: bool = False,
) -> LearnedEncoder:
    """Return an encoder of two sides on a backbone, in float32: a masked language model for vocabulary heads, any
    transformer for term weights, whose linear layer starts near 1 for every token.

    `max_length` is that of both sides. Sides with the same kind of model share it, unless `separate`. Raises
    CheckpointError, SettingError, DeviceUnavailable.
    """
    sources = Sources(
        queries=SideSource(backbone, dataclasses.replace(queries, max_length=max_length)),
        documents=SideSource(backbone, dataclasses.replace(documents, max_length=max_length)),
    )
    shared = Builder(device, "float32", new_term_weights=True)
    sides = build_sides(
        sources,
        lambda: Builder(device, "float32", new_term_weights=True) if separate else shared,
        defer=False,
        separate=separate,
    )
    return LearnedEncoder(
        str(backbone),
        documents=sides.documents,
        queries=sides.queries,
        vocabulary=FixedVocabulary(sides.terms),
        fingerprint=fingerprint(
            (sources.queries, sides.queries.settings), (sources.documents, sides.documents.settings)
        ),
        settings={},
    )


class PairWeights(NamedTuple):
    """Weights over some terms: queries float32 [queries, terms], documents float32 [documents, terms].

    terms    int64 [terms], which ones; None: the whole vocabulary in its order
    share    float32 [terms], the number of terms that each represents in a sum over the vocabulary; None: 1 each
    scale    factor of the scores, before they are compared with a teacher's
    base_…   the weights that regularisers see, where they are not those of the scores
    """

    queries: Tensor
    documents: Tensor
    terms: Tensor | None = None
    share: Tensor | None = None
    scale: Tensor | float = 1.0
    base_queries: Tensor | None = None
    base_documents: Tensor | None = None

    @property
    def plain_queries(self) -> Tensor:
        """The queries' weights that regularisers see."""
        return self.queries if self.base_queries is None else self.base_queries

    @property
    def plain_documents(self) -> Tensor:
        """The documents' weights that regularisers see."""
        return self.documents if self.base_documents is None else self.base_documents


class TrainableEncoder(nn.Module):
    """The sides of `encoder` as one module; training changes the encoder itself.

    With `train_static`, a static query side's table is a parameter, with `train_static_documents` that of documents;
    `encoder` has their values after `finish()`.
    """

    def __init__(
        self,
        encoder: LearnedEncoder,
        *,
        train_static: bool = False,
        train_static_documents: bool = False,
        frozen: FrozenDocuments | LiveDocuments | None = None,
    ) -> None:
        """`frozen` are the training documents of a pooled side, whose body is trained only where they are live."""
        super().__init__()
        self.encoder = encoder
        self._frozen = frozen
        # A model that both sides share is registered once, so an optimizer sees each parameter once.
        parts: dict[int, nn.Module] = {}
        for side in (encoder.queries, encoder.documents):
            for module in _modules(side):
                parts[id(module)] = module
        if isinstance(frozen, LiveDocuments) and isinstance(encoder.documents, PooledSide):
            body = encoder.documents.body.model
            parts[id(body)] = body
        self.parts = nn.ModuleList(parts.values())
        for parameter in self.parts.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        for side in (encoder.queries, encoder.documents):
            _freeze_base(side)
        device = next((one.device for one in self.parts.parameters()), torch.device("cpu"))
        # Teachers' scores have their own range. Where most terms get no gradient in a step, this factor adapts to it,
        # not the weights: those of seen terms would shrink, and those of the others would stay.
        self.log_scale = nn.Parameter(torch.zeros((), device=device), requires_grad=frozen is not None)
        self._tables = nn.ParameterDict(
            {
                name: nn.Parameter(torch.from_numpy(side.table).to(device, copy=True), requires_grad=trained)
                for name, side, trained in (
                    ("queries", encoder.queries, train_static),
                    ("documents", encoder.documents, train_static_documents),
                )
                if isinstance(side, StaticSide)
            }
        )

    def pair(self, queries: Sequence[str], documents: Sequence[str]) -> PairWeights:
        """Return the weights of a batch's queries and documents: of all terms, or of a pooled side's sampled ones.

        For a pooled side with frozen documents these are the queries' terms, which is all that scores need, and a
        sample of the others, from torch's own generator.
        """
        side = self.encoder.documents
        if self._frozen is None or not isinstance(side, PooledSide):
            weights = self._with_base("queries", self.encoder.queries, queries)
            answers = self._with_base("documents", side, documents)
            return PairWeights(weights[0], answers[0], base_queries=weights[1], base_documents=answers[1])
        of_queries = self.queries(queries)
        asked = (of_queries.detach() > 0).any(dim=0)
        others = torch.nonzero(~asked & (side.ordinary > 0).to(asked.device))[:, 0]
        sampled = others[torch.randperm(len(others))[:_SAMPLED_TERMS].to(others.device)]
        terms = torch.cat([torch.nonzero(asked)[:, 0], sampled])
        share = torch.ones(len(terms), device=terms.device)
        share[len(terms) - len(sampled) :] = len(others) / max(len(sampled), 1)
        pooled, impacts = self._frozen.read(documents, terms.cpu())
        of_documents: Tensor = side.head(pooled.to(terms.device), impacts.to(terms.device), terms)
        return PairWeights(of_queries[:, terms], of_documents, terms, share, self.log_scale.exp())

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
        """Copy the trained tables into the encoder; it shares the models anyway."""
        for name, table in self._tables.items():
            side = self.encoder.queries if name == "queries" else self.encoder.documents
            if isinstance(side, StaticSide):
                # The weights of a query are not negative: a token that would count against a document is dropped.
                side.table[:] = table.detach().clamp_min(0.0).cpu().numpy()

    def tables(self) -> list[nn.Parameter]:
        """Return the static sides' tables."""
        return list(self._tables.values())

    def query_table(self) -> Tensor | None:
        """Return the table of a static query side, float32 [terms]; None for another side."""
        return next((table for name, table in self._tables.items() if name == "queries"), None)

    def term_weights(self) -> list[nn.Module]:
        """Return the layers besides the models; they start untrained and may learn faster than the rest."""
        sides = (self.encoder.queries, self.encoder.documents)
        return [
            *(side.linear for side in sides if isinstance(side, EpicSide | LiteralSide | MLPSide)),
            *(side.residual for side in sides if isinstance(side, ProsperSide)),
            *(side.head for side in sides if isinstance(side, PooledSide)),
        ]

    def _with_base(self, name: str, side: Side, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Return the weights of scores, and those that regularisers see, where they are others."""
        if isinstance(side, ProsperSide):
            return side.weights_and_base(side.ids(check_texts(texts)))
        return self._dense(name, side, check_texts(texts)), None

    def _dense(self, name: str, side: Side, texts: list[str]) -> Tensor:
        if isinstance(side, TransformerSide):
            return side.weights(side.ids(texts))
        if not isinstance(side, StaticSide):
            raise TypeError(f"a {type(side).__name__} cannot be trained")
        table = self._tables[name]
        present = torch.zeros((len(texts), len(table)), device=table.device)
        for row, (terms, factors) in zip(present, side.occurrences(texts), strict=True):
            row[torch.from_numpy(terms).to(table.device)] = torch.from_numpy(factors).to(table.device)
        weights: Tensor = present * table.clamp_min(0.0)
        return weights


def _modules(side: Side) -> list[nn.Module]:
    """Return the modules with a side's parameters."""
    if isinstance(side, EpicSide | LiteralSide):
        return [side.body.model, side.projection.layer, side.linear]
    if isinstance(side, ProsperSide):
        return [side.body.model, side.projection.layer, side.residual]
    if isinstance(side, MaskedLMSide):
        return [side.body.model, side.projection.layer]
    if isinstance(side, MLPSide):
        return [side.body.model, side.linear]
    if isinstance(side, PooledSide):
        return [side.head]  # its body is not trained
    return []


def _freeze_base(side: Side) -> None:
    """Of a model with an adapter only that is trained: neither the model's own weights nor its vocabulary head."""
    body = side.body if isinstance(side, TransformerSide) else None
    if not isinstance(body, TransformersBody | BertBody) or not body.is_adapted:
        return
    for name, parameter in body.model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    if isinstance(side, MaskedLMSide):
        side.projection.layer.requires_grad_(False)
