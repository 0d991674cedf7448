"""Folders of the framework for learned sparse retrieval (github.com/thongnt99/learned-sparse-retrieval).

    config.json                         {"model_type": "DualEncoder", "shared": …}
    shared_encoder/                     both sides in one, or
    query_encoder/, doc_encoder/        one each
    tokenizer/                          as transformers writes it

An encoder's config.json has its kind, `model_type`, and the framework's own settings; its weights are those of a
transformer under the prefix `model.`, whose config.json is not there: `tf_base_model_name_or_dir` names it.

    MLM      pooled logits: SPLADE; with term_importance and doc_quality EPIC (encoders.sides.epic)
    MLP      one weight per token, `linear`; of repeated tokens the sum in queries, the maximum in documents
    BINARY   one number per token, `scale`, times its occurrences in queries, once in documents

The positions that the tokenizer adds never count. Weights below zero, which MLP queries without an activation may
have (DeepCT), are left out: an index has none. Two BERTs of standard sizes are known by name, so that no network is
needed for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.checkpoints.files import position_limit_of, read_object, smallest
from encoders.checkpoints.locate import config_of
from encoders.checkpoints.sources import SideSource, Sources
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.errors import CheckpointError
from encoders.settings import Activation, Family, Pooling, SideSettings

_SHARED, _SIDES = "shared_encoder", ("query_encoder", "doc_encoder")
_ACTIVATIONS = {
    ("relu", "log1p"): Activation.LOG1P_RELU,
    ("relu", "identity"): Activation.RELU,
    ("softplus", "log1p"): Activation.LOG1P_SOFTPLUS,
    ("identity", "identity"): Activation.IDENTITY,
}
# The framework's own defaults: these models have the sizes that transformers gives their type.
_STANDARD_SIZES = {
    "distilbert-base-uncased": "distilbert",
    "distilbert/distilbert-base-uncased": "distilbert",
    "bert-base-uncased": "bert",
    "google-bert/bert-base-uncased": "bert",
}


def is_framework(folder: Path) -> bool:
    """Return whether the folder has this layout."""
    return any((folder / name / "config.json").is_file() for name in (_SHARED, *_SIDES))


def read_framework(folder: Path) -> Sources:
    """Return both sides; raise CheckpointError, naming file and value, for an unknown kind or setting, UnknownEncoder
    where the transformer that an encoder names is not known here and the hub does not send its config.json."""
    names = (_SHARED, _SHARED) if (folder / _SHARED).is_dir() else _SIDES
    tokenizer = folder / "tokenizer"
    if not tokenizer.is_dir():
        raise CheckpointError(f"{tokenizer} is missing: the framework saves the tokenizer there")
    queries, documents = (_Encoder.read(folder / name, tokenizer) for name in names)
    return Sources(queries=queries.source(is_query=True), documents=documents.source(is_query=False))


@dataclass(frozen=True)
class _Encoder:
    """One encoder of the framework."""

    folder: Path
    tokenizer: Path
    config: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, tokenizer: Path) -> _Encoder:
        return cls(folder, tokenizer, read_object(folder / "config.json"))

    def source(self, *, is_query: bool) -> SideSource:
        kind = self.config.get("model_type")
        if kind == "BINARY":
            return self._binary(is_query)
        if kind not in ("MLM", "MLP"):
            raise self._error(f"model_type {kind!r} is not supported; MLM, MLP and BINARY are")
        base = self._base()
        length = smallest(read_tokenizer(self.tokenizer).max_length, position_limit_of(json.loads(base)))
        settings = self._mlp(is_query, length) if kind == "MLP" else self._mlm(length)
        return SideSource(self.folder, settings, tokenizer_folder=self.tokenizer, base_config=base)

    def _binary(self, is_query: bool) -> SideSource:
        weights = next((file for kind in ("safetensors", "bin") for file in self.folder.glob(f"*.{kind}")), None)
        if weights is None:
            raise CheckpointError(f"{self.folder} contains no weights: neither *.safetensors nor *.bin")
        tokenizer = read_tokenizer(self.tokenizer)
        special = tokenizer.backend().num_special_tokens_to_add(is_pair=False)
        length = None if tokenizer.max_length is None else tokenizer.max_length - special
        settings = SideSettings(family=Family.STATIC, max_length=length, term_frequency=is_query)
        return SideSource(self.folder, settings, tokenizer_folder=self.tokenizer, static_weights=weights)

    def _mlp(self, is_query: bool, length: int | None) -> SideSettings:
        return SideSettings(
            family=Family.MLP,
            max_length=length,
            activation=self._activation(),
            pooling=Pooling.SUM if is_query else Pooling.MAX,
            pool_special_positions=False,
        )

    def _mlm(self, length: int | None) -> SideSettings:
        activation, pool = self._activation(), self.config.get("pool", "max")
        parts = {self.config.get(part, "no") for part in ("term_importance", "doc_quality")}
        if activation is Activation.IDENTITY or not parts <= {"no", "epic"} or pool not in ("max", "abs", "sum"):
            raise self._error(
                "only relu or softplus, pooling by max, abs or sum, and parts 'no' or 'epic' are supported"
            )
        softplus = activation is Activation.LOG1P_SOFTPLUS
        if pool == "sum" and (softplus or "epic" in parts):
            raise self._error("a sum of softplus, or with EPIC's parts, depends on how a batch is padded")
        return SideSettings(
            family=Family.EPIC_SCALED if softplus or "epic" in parts else Family.MASKED_LM,
            max_length=length,
            activation=activation,
            pooling=Pooling.SUM if pool == "sum" else Pooling.MAX,  # no weight is below 0, so abs is max
            pool_special_positions=False,
        )

    def _activation(self) -> Activation:
        named = (str(self.config.get("activation", "relu")), str(self.config.get("norm", "log1p")))
        if named not in _ACTIVATIONS:
            raise self._error(f"activation and norm {named} are not supported; {', '.join(map(str, _ACTIVATIONS))} are")
        return _ACTIVATIONS[named]

    def _base(self) -> str:
        """Return the transformer's config.json."""
        name = self.config.get("tf_base_model_name_or_dir", "distilbert-base-uncased")
        if not isinstance(name, str) or not name:
            raise self._error(f"tf_base_model_name_or_dir is {name!r}")
        if name in _STANDARD_SIZES:
            return json.dumps({"model_type": _STANDARD_SIZES[name]})
        return json.dumps(read_object(config_of(name, self.folder)))

    def _error(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.folder / 'config.json'}: {reason}")
