"""Literal and pooled document sides, and queries with conflated words, as modules of a sentence-transformers pipeline;
only that package imports this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from encoders.checkpoints.saving import save_encoder
from encoders.checkpoints.tokenizer_files import read_with_transformers
from encoders.compute.static_body import StaticBody
from encoders.learned import LearnedEncoder
from encoders.loading import load_encoder
from encoders.sides.literal import LiteralSide
from encoders.sides.pooled import PooledSide
from encoders.sides.static import StaticSide


class DocumentSide(InputModule):
    """Texts to document vectors, with the same weights as from `load_encoder`."""

    save_in_root = False

    def __init__(self, encoder: LearnedEncoder, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        side = encoder.documents
        if isinstance(side, LiteralSide):
            parts = [side.body.model, side.projection.layer, side.linear]
        elif isinstance(side, PooledSide):
            parts = [side.body if isinstance(side.body, StaticBody) else side.body.model, side.head]
        else:
            raise TypeError(f"the document side is a {type(side).__name__}, neither literal nor pooled")
        self._encoder = encoder
        self._side: LiteralSide | PooledSide = side
        self.parts = torch.nn.ModuleList(parts)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **_: Any) -> DocumentSide:  # type: ignore[override]
        """Load from a local folder; `subfolder` is the one with the document side."""
        encoder = _load(model_name_or_path, subfolder)
        return cls(encoder, read_with_transformers(Path(model_name_or_path, subfolder)))

    def preprocess(  # type: ignore[override]
        self, inputs: list[str], prompt: str | None = None, **_: Any
    ) -> dict[str, Tensor]:
        """Return input_ids and attention_mask of whole texts, int64 [texts, longest]."""
        return _padded(self._side.ids([(prompt or "") + text for text in inputs]))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add sentence_embedding, float32 [texts, terms]."""
        rows = zip(features["input_ids"].tolist(), features["attention_mask"].sum(dim=1).tolist(), strict=True)
        weights = self._side.weights([ids[:length] for ids, length in rows])
        features["sentence_embedding"] = _largest(weights, self._side.settings.max_active_dims)
        return features

    def get_embedding_dimension(self) -> int:
        """Return the size of the vocabulary."""
        return self._side.n_terms

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the whole encoder; the router's folder is its parent."""
        save_encoder(self._encoder, Path(output_path).parent)


class QuerySide(InputModule):
    """Texts to query vectors by a table, with conflated terms or term frequency, unlike SparseStaticEmbedding."""

    save_in_root = False

    def __init__(self, encoder: LearnedEncoder, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(encoder.queries, StaticSide):
            raise TypeError(f"the query side is a {type(encoder.queries).__name__}, not static")
        self._encoder, self._side, self.tokenizer = encoder, encoder.queries, tokenizer
        self.table = torch.nn.Parameter(torch.from_numpy(self._side.table).clamp_min(0.0), requires_grad=False)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **_: Any) -> QuerySide:  # type: ignore[override]
        """Load from a local folder; `subfolder` is the one with the query side."""
        encoder = _load(model_name_or_path, subfolder)
        return cls(encoder, read_with_transformers(Path(model_name_or_path, subfolder)))

    def preprocess(  # type: ignore[override]
        self, inputs: list[str], prompt: str | None = None, **_: Any
    ) -> dict[str, Tensor]:
        """Return the terms as input_ids, and attention_mask, int64 [texts, longest]."""
        tokenization = self._side.tokenization
        ids = tokenization.ids([(prompt or "") + text for text in inputs], special_tokens=False)
        return _padded([tokenization.terms(one) for one in ids])

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add sentence_embedding, float32 [texts, terms]."""
        terms = features["input_ids"]
        mask = features["attention_mask"].float()
        counts = torch.zeros((len(terms), len(self.table)), device=self.table.device).scatter_add_(1, terms, mask)
        features["sentence_embedding"] = self._factors(counts, mask.sum(dim=1, keepdim=True)) * self.table
        return features

    def _factors(self, counts: Tensor, lengths: Tensor) -> Tensor:
        """Return what each term counts, as StaticSide.occurrences does: 0 or 1, tf, or its saturation."""
        settings = self._side.settings
        if not settings.term_frequency:
            return counts.clamp_max(1.0)
        if settings.average_length is None:
            return counts
        length = 1.0 - settings.b + settings.b * lengths / settings.average_length
        return counts / (counts + settings.k1 * length).clamp_min(1e-12)

    def get_embedding_dimension(self) -> int:
        """Return the size of the vocabulary."""
        return len(self.table)

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the whole encoder; the router's folder is its parent."""
        save_encoder(self._encoder, Path(output_path).parent)


def _load(folder: str, subfolder: str) -> LearnedEncoder:
    encoder = load_encoder(str(Path(folder, subfolder).parent), device="cpu", dtype="float32")
    if not isinstance(encoder, LearnedEncoder):
        raise TypeError(f"{folder} gave a {type(encoder).__name__}")
    return encoder


def _padded(ids: list[list[int]]) -> dict[str, Tensor]:
    lengths = torch.tensor([len(one) for one in ids])
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one, dtype=torch.int64) for one in ids], batch_first=True)
    mask = torch.arange(padded.shape[1])[None, :] < lengths[:, None]
    return {"input_ids": padded, "attention_mask": mask.long()}


def _largest(weights: Tensor, limit: int | None) -> Tensor:
    """Return the weights with only the `limit` largest of each row; of equal ones those of smaller terms."""
    if limit is None or limit >= weights.shape[1]:
        return weights
    kept = torch.sort(weights, dim=1, descending=True, stable=True).indices[:, :limit]
    return torch.zeros_like(weights).scatter(1, kept, weights.gather(1, kept))
