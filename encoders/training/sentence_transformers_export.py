"""Makes a saved encoder loadable by sentence-transformers as well: the same folders, with a second description.

Where both sides are what that package has itself, SparseEncoder(folder) needs neither this project nor remote code:

    modules.json                              Transformer (documents/) and SpladePooling, or one module, a Router
    router_config.json                        query -> queries/ or documents/, document -> documents/, with poolings
    documents/sentence_bert_config.json       the task and the length
    queries/config.json, model.safetensors    SparseStaticEmbedding's

A document side that sets the weights of special tokens to zero gets a bias of -10,000 for them, which is the same.

For literal and pooled document sides, and for tables over conflated words or with term frequency, the Router names
modules of this project: sentence-transformers 6 imports a class of another package only with trust_remote_code=True,
for local folders too, and then from the installed package:

    SparseEncoder(folder, trust_remote_code=True)        with this project importable

See docs/decisions/0702.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from encoders.checkpoints.files import read_object
from encoders.checkpoints.lora_layout import has_adapter
from encoders.checkpoints.lsr_layout import STATIC_WEIGHTS
from encoders.learned import LearnedEncoder
from encoders.loading import load_encoder
from encoders.settings import Activation, Family, Pooling, SideSettings, Windows
from encoders.sides.masked_lm import MaskedLMSide

_QUERIES = "encoders.training.sentence_transformers_modules.QuerySide"
_MODULE = "encoders.training.sentence_transformers_modules.DocumentSide"
_STATIC = "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
_POOLING = "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"
_TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
_ROUTER = "sentence_transformers.base.modules.router.Router"
_ACTIVATIONS = {Activation.LOG1P_RELU: "relu", Activation.LOG1P_LOG1P_RELU: "log1p_relu"}
_SILENT = -1e4  # bias of a term that must have no weight


def write_sentence_transformers(folder: Path) -> bool:
    """Describe the encoder that `save_encoder` wrote to `folder`; return False, and change nothing, where
    sentence-transformers has no module for a side and this project offers none."""
    content = read_object(folder / "encoder.json")
    sides = {name: SideSettings(**content[name]["settings"]) for name in ("queries", "documents")}
    if sides["queries"].family is Family.STATIC and sides["documents"].family in (Family.LITERAL, Family.POOLED):
        _describe_own(folder, plain_table=not (sides["queries"].conflate or sides["queries"].term_frequency))
        return True
    if any(has_adapter(folder / content[name]["folder"]) for name in sides):
        return False
    if not _is_plain(sides["queries"], sides["documents"]) or not _silence_special(folder, sides["documents"]):
        return False
    _describe_plain(folder, {name: str(content[name]["folder"]) for name in sides}, sides)
    return True


def _describe_own(folder: Path, *, plain_table: bool) -> None:
    """Write a Router of a table and of this project's document module."""
    _write_router(
        folder,
        {"queries": _STATIC if plain_table else _QUERIES, "documents": _MODULE},
        {"query": ["queries"], "document": ["documents"]},
    )
    _write_common(folder, {"query": "", "document": ""}, "dot", None)
    if plain_table:
        _describe_table(folder / "queries")


def _is_plain(queries: SideSettings, documents: SideSettings) -> bool:
    """Return whether both sides are modules of sentence-transformers, with what it has one setting for equal."""
    return (
        documents.family is Family.MASKED_LM
        and all(map(_is_plain_side, (queries, documents)))
        and queries.cosine == documents.cosine
        and queries.max_active_dims == documents.max_active_dims
    )


def _is_plain_side(side: SideSettings) -> bool:
    if side.prune_ratio != 0.0 or side.windows is not Windows.TRUNCATE:
        return False
    if side.family is Family.STATIC:
        return not (side.conflate or side.collection_idf or side.term_frequency or side.lower_case)
    return (
        side.family is Family.MASKED_LM
        and side.pooling in (Pooling.MAX, Pooling.SUM)
        and side.activation in _ACTIVATIONS
        and side.pool_special_positions
        and side.logit_scale == 1.0
    )


def _silence_special(folder: Path, documents: SideSettings) -> bool:
    """Write the bias that gives special tokens no weight, if they must have none; False if the model has no bias."""
    if not documents.zero_special_ids:
        return True
    side = _documents(folder)
    _ = side.body.model  # of transformers, whose tensors the projection then has: they are saved
    if side.projection.bias is None:
        return False
    with torch.no_grad():
        side.projection.bias[side.ordinary == 0] = _SILENT
    side.body.save(folder / "documents", side.projection)
    return True


def _describe_plain(folder: Path, folders: Mapping[str, str], sides: Mapping[str, SideSettings]) -> None:
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for name, route in (("queries", "query"), ("documents", "document")):
        side, place = sides[name], folders[name]
        structure[route] = [place]
        if side.family is Family.STATIC:
            types[place] = _STATIC
            _describe_table(folder / place, side.max_length)
            continue
        types[place] = _TRANSFORMER
        same = structure["query"][1:2] if route == "document" and _pooling(side) == _pooling(sides["queries"]) else []
        pooling = same[0] if same else f"{route}_1_SpladePooling"
        types[pooling] = _POOLING
        structure[route].append(pooling)
        (folder / pooling).mkdir(exist_ok=True)
        _write(folder / pooling / "config.json", _pooling(side))
        if side.lexical:
            table = f"{route}_2_SparseStaticEmbedding"
            types[table] = _STATIC
            structure[route].append(table)
            _write_lexical_table(folder, place, folder / table)
    for place in {folders[name] for name, side in sides.items() if side.family is Family.MASKED_LM}:
        _write(folder / place / "sentence_bert_config.json", _transformer(place, folders, sides))
    if structure["query"] == structure["document"]:
        modules = [(place, types[place]) for place in structure["document"]]
        _write(
            folder / "modules.json",
            [{"idx": i, "name": str(i), "path": place, "type": kind} for i, (place, kind) in enumerate(modules)],
        )
    else:
        _write_router(folder, types, structure)
    _write_common(
        folder,
        {"query": sides["queries"].prompt, "document": sides["documents"].prompt},
        "cosine" if sides["documents"].cosine else "dot",
        sides["documents"].max_active_dims,
    )


def _pooling(side: SideSettings) -> dict[str, Any]:
    if side.family is not Family.MASKED_LM:
        return {}
    return {"pooling_strategy": str(side.pooling), "activation_function": _ACTIVATIONS[side.activation]}


def _transformer(place: str, folders: Mapping[str, str], sides: Mapping[str, SideSettings]) -> dict[str, Any]:
    own = {name: side for name, side in sides.items() if folders[name] == place}
    lengths = {"queries": "query_length", "documents": "document_length"}
    return {
        "transformer_task": "fill-mask",
        "do_lower_case": any(side.lower_case for side in own.values()),
        **{lengths[name]: side.max_length for name, side in own.items()},
        "max_seq_length": max((side.max_length for side in own.values() if side.max_length), default=None),
    }


def _describe_table(folder: Path, max_length: int | None = None) -> None:
    """Write SparseStaticEmbedding's files next to a static side's."""
    _write(folder / "config.json", {"frozen": True})
    shutil.copyfile(folder / STATIC_WEIGHTS, folder / "model.safetensors")
    if max_length is not None:  # this module has no length of its own
        file = folder / "tokenizer_config.json"
        _write(file, {**read_object(file), "model_max_length": max_length})


def _write_lexical_table(folder: Path, place: str, target: Path) -> None:
    """Write the factors of a lexical side's tokens as a SparseStaticEmbedding."""
    encoder = _load(folder)
    side = encoder.queries if place == "queries" else encoder.documents
    if not isinstance(side, MaskedLMSide):
        raise TypeError(f"{folder}: a lexical {type(side).__name__} has no table")
    target.mkdir(exist_ok=True)
    side.tokenization.save(target)
    _write(target / "config.json", {"frozen": True})
    save_file({"weight": side.factors.cpu().contiguous()}, target / "model.safetensors")


def _documents(folder: Path) -> MaskedLMSide:
    side = _load(folder).documents
    if not isinstance(side, MaskedLMSide):
        raise TypeError(f"{folder}: the document side is a {type(side).__name__}")
    return side


def _load(folder: Path) -> LearnedEncoder:
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    if not isinstance(encoder, LearnedEncoder):
        raise TypeError(f"{folder} gave a {type(encoder).__name__}")
    return encoder


def _write_router(folder: Path, types: Mapping[str, str], structure: Mapping[str, list[str]]) -> None:
    _write(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": _ROUTER}])
    parameters = {"default_route": "document", "allow_empty_key": True}
    _write(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})


def _write_common(folder: Path, prompts: Mapping[str, str], similarity: str, limit: int | None) -> None:
    common = {"model_type": "SparseEncoder", "prompts": prompts, "similarity_fn_name": similarity}
    _write(
        folder / "config_sentence_transformers.json", common if limit is None else {**common, "max_active_dims": limit}
    )


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
