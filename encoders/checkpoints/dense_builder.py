"""From a dense pipeline to its model: one transformer, with a tokenization for each side."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from encoders.checkpoints.bert_layout import read_bert
from encoders.checkpoints.dense_layout import DensePipeline
from encoders.checkpoints.files import position_limit, smallest
from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.sources import SideSource
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.compute.transformer import BertBody, Body, TransformersBody, ready
from encoders.sides.dense import DenseModel
from encoders.text.tokenization import Tokenization


@dataclass(frozen=True)
class BuiltPipeline:
    """Both sides of a dense retriever, with one body, and the fingerprint of everything that decides their vectors."""

    queries: DenseModel
    documents: DenseModel
    fingerprint: str


def build_dense(
    pipeline: DensePipeline, device: torch.device, dtype: torch.dtype, max_length: int | None = None
) -> BuiltPipeline:
    """Read the model; `max_length` may shorten the texts. Raises CheckpointError, RemoteCodeRefused."""
    folder = pipeline.sources.documents.folder
    tokenizer = read_tokenizer(folder)
    limits = (tokenizer.max_length, position_limit(folder))
    sources = [_cut(source, max_length, limits) for source in (pipeline.sources.queries, pipeline.sources.documents)]
    tokenizations = [
        Tokenization(
            tokenizer,
            source.settings.max_length,
            prompt=source.settings.prompt,
            lower_case=source.settings.lower_case,
        )
        for source in sources
    ]
    body = _body(folder, device, dtype, tokenizations[0].pad_id)
    queries, documents = (DenseModel(one, body, mean=pipeline.mean) for one in tokenizations)
    hashed = fingerprint(*((source, source.settings) for source in dict.fromkeys(sources)))  # once where both are one
    return BuiltPipeline(queries, documents, f"dense-{'mean' if pipeline.mean else 'cls'}-{hashed}")


def _body(folder: Path, device: torch.device, dtype: torch.dtype, pad_id: int) -> Body:
    def transformers_body() -> TransformersBody:
        from encoders.checkpoints.model import load_model  # imports transformers

        model = load_model(folder, "AutoModel")
        ready(model, device=device, dtype=dtype)
        return TransformersBody(model, "last_hidden_state", pad_id)

    own = read_bert(folder, dtype, masked_lm=False) if device.type == "cpu" else None
    return transformers_body() if own is None else BertBody(own[0], pad_id, transformers_body)


def _cut(source: SideSource, max_length: int | None, limits: tuple[int | None, ...]) -> SideSource:
    length = smallest(max_length, source.settings.max_length, *limits)
    return dataclasses.replace(source, settings=dataclasses.replace(source.settings, max_length=length))
