"""The loss of a step: ranking losses and regularisers over one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.errors import SettingError
from encoders.training.batch import Batch
from encoders.training.losses import (
    flops,
    idf_flops,
    idf_queries,
    infonce,
    kl_divergence,
    l1,
    margin_mse,
    thresholded_flops,
)
from encoders.training.settings import LossSettings, Regulariser
from encoders.training.trainable import TrainableEncoder


@dataclass(frozen=True)
class Objective:
    """Only IDF-aware FLOPS needs `idf` float32 [terms]."""

    settings: LossSettings
    idf: Tensor | None = None

    def __call__(
        self, model: TrainableEncoder, batch: Batch, ramp: float, bf16: bool
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss, a scalar with gradient, and its parts and other figures for the log.

        `ramp` in [0, 1] is the share of the regularisers' final weights that is in force.
        """
        device = next(model.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            queries, documents, terms, share, scale = model.pair(batch.queries, batch.documents)
        weights = queries
        if self.settings.regulariser is Regulariser.IDF_FLOPS:
            if self.idf is None:
                raise ValueError("IDF-aware FLOPS needs idf")
            idf = self.idf.to(device)
            weights = idf_queries(queries, idf if terms is None else idf[terms])
        scores = weights @ documents.T * scale
        groups = torch.from_numpy(batch.groups).to(device)
        parts = self._ranking(scores, groups, batch)
        figures = {f"loss_{name}": float(value.detach()) for name, (_, value) in parts.items()}
        total = torch.stack([weight * value for weight, value in parts.values()]).sum()
        sparsity = self._sparsity(documents, share)
        figures["regulariser"] = float(sparsity.detach())
        total = total + ramp * self.settings.document_lambda * sparsity
        if self.settings.query_lambda:
            total = total + ramp * self.settings.query_lambda * l1(queries)
        figures["scale"] = float(torch.as_tensor(scale).detach())
        figures["accuracy"] = float((scores.gather(1, groups).argmax(dim=1) == 0).float().mean())
        active = (documents.detach() > 0).float()
        figures["document_terms"] = float((active if share is None else active * share).sum(dim=1).mean())
        figures["query_terms"] = float((queries.detach() > 0).sum(dim=1).float().mean())
        return total, figures

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

    def _sparsity(self, documents: Tensor, share: Tensor | None) -> Tensor:
        match self.settings.regulariser:
            case Regulariser.NONE:
                return torch.zeros((), device=documents.device)
            case Regulariser.FLOPS:
                return flops(documents, share)
            case Regulariser.L1:
                return l1(documents, share)
            case Regulariser.IDF_FLOPS:
                return idf_flops(documents, share)
            case Regulariser.THRESHOLDED_FLOPS:
                if share is not None:
                    raise SettingError(
                        "thresholded-flops needs every term of a document; a pooled side trains on a sample"
                    )
                return thresholded_flops(documents, self.settings.threshold)
