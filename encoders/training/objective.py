"""The loss of a step: ranking losses and regularisers over one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from encoders.errors import SettingError
from encoders.training.batch import Batch
from encoders.training.losses import (
    flops,
    focus,
    idf_flops,
    idf_queries,
    infonce,
    kl_divergence,
    l1,
    margin_mse,
    thresholded_flops,
)
from encoders.training.schedules import window_at
from encoders.training.settings import LossSettings, Regulariser
from encoders.training.trainable import PairWeights, TrainableEncoder


@dataclass(frozen=True)
class Objective:
    """Only IDF-aware FLOPS needs `idf` float32 [terms]."""

    settings: LossSettings
    idf: Tensor | None = None

    def __call__(
        self, model: TrainableEncoder, batch: Batch, ramp: float, bf16: bool, progress: float = 0.0
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss, a scalar with gradient, and its parts and other figures for the log.

        `ramp` in [0, 1] is the share of the regularisers' final weights that is in force, `progress` in [0, 1) the
        share of the steps that is done.
        """
        device = next(model.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            pair = model.pair(batch.queries, batch.documents)
        scores = self._scores(model, pair, progress)
        groups = torch.from_numpy(batch.groups).to(device)
        parts = self._ranking(scores, groups, batch)
        figures = {f"loss_{name}": float(value.detach()) for name, (_, value) in parts.items()}
        total = torch.stack([weight * value for weight, value in parts.values()]).sum()
        sparsity = self._sparsity(self.settings.regulariser, pair.plain_documents, pair.share)
        figures["regulariser"] = float(sparsity.detach())
        total = total + ramp * self.settings.document_lambda * sparsity
        if self.settings.query_lambda:
            sparsity = self._sparsity(self.settings.query_regulariser, pair.plain_queries, None)
            figures["query_regulariser"] = float(sparsity.detach())
            total = total + ramp * self.settings.query_lambda * sparsity
        figures["scale"] = float(torch.as_tensor(pair.scale).detach())
        figures["accuracy"] = float((scores.gather(1, groups).argmax(dim=1) == 0).float().mean())
        active = (pair.documents.detach() > 0).float()
        share = pair.share
        figures["document_terms"] = float((active if share is None else active * share).sum(dim=1).mean())
        figures["query_terms"] = float((pair.queries.detach() > 0).sum(dim=1).float().mean())
        return total, figures

    def _scores(self, model: TrainableEncoder, pair: PairWeights, progress: float) -> Tensor:
        """Return float32 [queries, documents], of the weights within the windows; of a side with `cosine` they have
        length 1."""
        queries, documents = pair.queries, pair.documents
        if self.settings.regulariser is Regulariser.IDF_FLOPS:
            if self.idf is None:
                raise ValueError("IDF-aware FLOPS needs idf")
            idf = self.idf.to(queries.device)
            queries = idf_queries(queries, idf if pair.terms is None else idf[pair.terms])
        if pair.share is not None and self.settings.document_top_k:
            raise SettingError("document_top_k needs every term of a document; a pooled side trains on a sample")
        queries = focus(queries, window_at(self.settings.query_top_k, progress))
        documents = focus(documents, window_at(self.settings.document_top_k, progress))
        if model.encoder.queries.settings.cosine:
            queries = functional.normalize(queries, dim=1)
        if model.encoder.documents.settings.cosine and pair.share is None:
            documents = functional.normalize(documents, dim=1)
        return queries @ documents.T * pair.scale

    def _ranking(self, scores: Tensor, groups: Tensor, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        settings, parts = self.settings, {}
        if settings.infonce:
            mask = ~torch.from_numpy(batch.excluded).to(scores.device)
            parts["infonce"] = (settings.infonce, infonce(scores, groups[:, 0], mask, settings.temperature))
        if settings.needs_teacher:
            if batch.teacher is None:
                raise ValueError("KL and MarginMSE need a teacher's scores")
            student, teacher = scores.gather(1, groups), torch.from_numpy(batch.teacher).to(scores.device)
            if settings.margin_mse:
                parts["margin_mse"] = (settings.margin_mse, margin_mse(student, teacher))
            if settings.kl:
                parts["kl"] = (settings.kl, kl_divergence(student, teacher, settings.temperature))
        return parts

    def _sparsity(self, regulariser: Regulariser, weights: Tensor, share: Tensor | None) -> Tensor:
        match regulariser:
            case Regulariser.NONE:
                return torch.zeros((), device=weights.device)
            case Regulariser.FLOPS:
                return flops(weights, share)
            case Regulariser.L1:
                return l1(weights, share)
            case Regulariser.IDF_FLOPS:
                return idf_flops(weights, share)
            case Regulariser.THRESHOLDED_FLOPS:
                if share is not None:
                    raise SettingError(
                        "thresholded-flops needs every term of a document; a pooled side trains on a sample"
                    )
                return thresholded_flops(weights, self.settings.threshold)
