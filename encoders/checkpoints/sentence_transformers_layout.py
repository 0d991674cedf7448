"""Layouts 2 and 3: folders written by sentence-transformers, with one pipeline for both sides or a Router.

modules.json lists the modules with their folders. Only the last part of a type's name counts, because the package
has moved its modules between versions (`sparse_encoder.models.MLMTransformer`, `base.modules.transformer.Transformer`).
A Router's config (router_config.json, config.json in old ones, where it was called Asym) names the modules of each of
query and document; it may follow modules that both share. Four pipelines are sparse encoders:

    Transformer (or MLMTransformer), SpladePooling                         a masked language model
    Transformer (or MLMTransformer), SpladePooling, SparseStaticEmbedding  the weights of the text's own tokens alone
    SparseStaticEmbedding (or IDF)                                         a fixed weight per token
    Transformer, Pooling, perhaps Normalize, SparseAutoEncoder             CSR: a dense embedding made sparse

config_sentence_transformers.json has the prompts, max_active_dims and the similarity: the dot product, or the cosine,
for which vectors are scaled to length 1. Other similarities are refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encoders.checkpoints.files import inside, position_limit, read_json, read_object
from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError, RemoteCodeRefused
from encoders.settings import Activation, Family, Pooling, SideSettings

_ACTIVATIONS = {"relu": Activation.LOG1P_RELU, "log1p_relu": Activation.LOG1P_LOG1P_RELU}
_ROUTERS = ("Router", "Asym")
_TRANSFORMERS = ("Transformer", "MLMTransformer")
_STATIC = ("SparseStaticEmbedding", "IDF")
_NORMALISED = ["Normalize", "SparseAutoEncoder"]
_DENSE_POOLINGS = {"mean": Pooling.MEAN, "max": Pooling.MAX, "cls": Pooling.FIRST, "lasttoken": Pooling.LAST,
                   "weightedmean": Pooling.WEIGHTED_MEAN, "mean_sqrt_len_tokens": Pooling.MEAN_SQRT}  # fmt: skip
_SIMILARITIES = {None: False, "dot": False, "dot_score": False, "cosine": True, "cos_sim": True}
_OLD_POOLING_KEYS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max",
                     "pooling_mode_cls_token": "cls", "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
                     "pooling_mode_weightedmean_tokens": "weightedmean",
                     "pooling_mode_lasttoken": "lasttoken"}  # fmt: skip
# sentence_bert_config.json: the supported keys, and those that do not change vectors.
_HARMLESS = ("modality_config", "module_output_name", "transformer_task", "unpad_inputs", "model_args", "model_kwargs",
             "config_args", "config_kwargs", "tokenizer_name_or_path")  # fmt: skip
_UNDERSTOOD = ("max_seq_length", "do_lower_case", "query_length", "document_length", "processing_kwargs",
               "processor_kwargs", "tokenizer_args", *_HARMLESS)  # fmt: skip

Module = tuple[str, Path]  # the last part of its type, and its folder


def is_sentence_transformers(folder: Path) -> bool:
    """Return whether the folder has this layout."""
    return (folder / "modules.json").is_file()


def read_sentence_transformers(folder: Path) -> Sources:
    """Return both sides; raise CheckpointError, naming file and value, for anything unknown or inconsistent."""
    modules = read_modules(folder)
    common = folder / "config_sentence_transformers.json"
    config = read_object(common) if common.is_file() else {}
    similarity = config.get("similarity_fn_name")
    if similarity not in _SIMILARITIES:
        raise CheckpointError(
            f"{common}: similarity_fn_name is {similarity!r}; scores here are dot products, or cosines ('cosine')"
        )
    queries, documents = (
        _read_side(_route(modules, side), side, config, cosine=_SIMILARITIES[similarity])
        for side in ("query", "document")
    )
    return Sources(queries=queries, documents=documents)


def _route(modules: Sequence[Module], side: str) -> list[Module]:
    """Return the modules of one side, with those of its route in the place of each Router."""
    route: list[Module] = []
    for module in modules:
        route += _read_router(module[1])[side] if module[0] in _ROUTERS else [module]
    return route


def read_modules(folder: Path) -> list[Module]:
    """Return the modules that modules.json lists, in their order, at least one; raise CheckpointError,
    RemoteCodeRefused."""
    file = folder / "modules.json"
    listed = read_json(file)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed) or not listed:
        raise CheckpointError(f"{file} does not contain a list of modules")
    return [
        (_type_name(entry.get("type"), file), inside(folder, entry.get("path", ""), file))
        for entry in sorted(listed, key=lambda entry: int(entry.get("idx", 0)))
    ]


def _type_name(reference: object, file: Path) -> str:
    if not isinstance(reference, str) or not reference:
        raise CheckpointError(f"{file}: a module has no type")
    if not reference.startswith("sentence_transformers."):
        raise RemoteCodeRefused(
            f"{file}: the module {reference} is the checkpoint's own code, which is not run. "
            "Read it; if it only wraps a standard architecture, load that folder as a plain checkpoint"
        )
    return reference.rsplit(".", 1)[1]


def _read_router(folder: Path) -> dict[str, list[Module]]:
    """Return the modules of the routes query and document."""
    file = folder / "router_config.json"
    if not file.is_file():
        file = folder / "config.json"
    config = read_object(file)
    types, structure = config.get("types"), config.get("structure")
    if not isinstance(types, dict) or not isinstance(structure, dict):
        raise CheckpointError(f"{file}: a Router needs types and structure")
    parameters = config.get("parameters") or {}
    if parameters.get("route_mappings"):
        raise CheckpointError(f"{file}: route_mappings are not supported")
    routes: dict[str, list[Module]] = {}
    default = parameters.get("default_route")
    for route in ("query", "document"):
        name = route if route in structure else default
        if name not in structure:
            raise CheckpointError(f"{file}: there is no route {route!r}, only {', '.join(structure)}")
        routes[route] = [
            (_type_name(types.get(module), file), inside(folder, module, file)) for module in structure[name]
        ]
    return routes


def _read_side(modules: Sequence[Module], side: str, config: dict[str, Any], *, cosine: bool) -> SideSource:
    names = [name for name, _ in modules]
    limit = config.get("max_active_dims")
    settings = SideSettings(prompt=side_prompt(config, side), max_active_dims=limit, cosine=cosine)
    if len(modules) in (2, 3) and names[0] in _TRANSFORMERS and names[1] == "SpladePooling":
        settings = transformer_settings(settings, modules[0], side, "fill-mask")
        settings = _splade_settings(settings, modules[1][1])
        if len(modules) == 2:
            return SideSource(modules[0][1], settings)
        if names[2] in _STATIC:
            lexical = dataclasses.replace(settings, lexical=True)
            return SideSource(modules[0][1], lexical, static_weights=_static_weights(modules[2][1]))
    if names[:2] == ["Transformer", "Pooling"] and names[2:] in (["SparseAutoEncoder"], _NORMALISED):
        settings = transformer_settings(settings, modules[0], side, "feature-extraction")
        return SideSource(
            modules[0][1],
            _csr_settings(settings, modules[1][1], modules[-1][1]),
            autoencoder=modules[-1][1],
            unit_length=names[2:] == _NORMALISED,
        )
    if len(modules) == 1 and names[0] in _STATIC:
        folder = modules[0][1]
        return SideSource(
            folder, dataclasses.replace(settings, family=Family.STATIC), static_weights=_static_weights(folder)
        )
    raise CheckpointError(
        f"{modules[0][1] if modules else side}: {' + '.join(names)} is not a supported pipeline; these are: "
        "Transformer + SpladePooling (+ SparseStaticEmbedding), SparseStaticEmbedding, and Transformer + Pooling "
        "(+ Normalize) + SparseAutoEncoder"
    )


def side_prompt(config: dict[str, Any], side: str) -> str:
    """Return the side's prompt, chosen as `encode_query` and `encode_document` choose it."""
    prompts = config.get("prompts") or {}
    for name in ("query",) if side == "query" else ("document", "passage", "corpus"):
        if name in prompts:
            return str(prompts[name] or "")
    return str(prompts.get(config.get("default_prompt_name")) or "")


def transformer_settings(settings: SideSettings, transformer: Module, side: str, wanted: str) -> SideSettings:
    """Return `settings` with those of the Transformer module, whose task must be `wanted`."""
    type_name, folder = transformer
    config, file = _transformer_config(folder)
    unknown = [key for key, value in config.items() if key not in _UNDERSTOOD and value]
    if unknown:
        raise CheckpointError(f"{file}: {', '.join(unknown)} is not supported")
    task = config.get("transformer_task", "fill-mask" if type_name == "MLMTransformer" else "feature-extraction")
    if task != wanted:
        raise CheckpointError(f"{file}: transformer_task is {task!r}; this sparse encoder needs {wanted!r}")
    if "message" in (config.get("modality_config") or {}):
        raise CheckpointError(f"{file}: chat templates (the modality 'message') are not supported")
    lengths = [
        (config.get("processing_kwargs") or {}).get("text", {}).get("max_length"),
        config.get("query_length" if side == "query" else "document_length"),
        config.get("max_seq_length"),
        (config.get("processor_kwargs") or config.get("tokenizer_args") or {}).get("model_max_length"),
    ]
    max_length = next((length for length in lengths if length is not None), None)
    positions = position_limit(folder)
    if max_length is not None and positions is not None:
        max_length = min(max_length, positions)
    return dataclasses.replace(settings, max_length=max_length, lower_case=bool(config.get("do_lower_case", False)))


def _splade_settings(settings: SideSettings, pooling: Path) -> SideSettings:
    pooled = read_object(pooling / "config.json")
    activation = pooled.get("activation_function", "relu")
    if activation not in _ACTIVATIONS:
        raise CheckpointError(f"{pooling / 'config.json'}: unknown activation_function {activation!r}")
    if pooled.get("pooling_strategy", "max") not in (Pooling.MAX, Pooling.SUM):
        raise CheckpointError(f"{pooling / 'config.json'}: unknown pooling_strategy {pooled['pooling_strategy']!r}")
    return dataclasses.replace(
        settings, pooling=Pooling(pooled.get("pooling_strategy", "max")), activation=_ACTIVATIONS[activation]
    )


def _csr_settings(settings: SideSettings, pooling: Path, autoencoder: Path) -> SideSettings:
    file = pooling / "config.json"
    mode = pooling_mode(pooling)
    if mode not in _DENSE_POOLINGS:
        raise CheckpointError(f"{file}: pooling_mode {mode!r} is not supported; {', '.join(_DENSE_POOLINGS)} are")
    if settings.prompt and read_object(file).get("include_prompt") is False:
        raise CheckpointError(f"{file}: a pooling that excludes the prompt is not supported")
    k = read_object(autoencoder / "config.json").get("k")
    return dataclasses.replace(
        settings,
        family=Family.AUTOENCODER,
        pooling=_DENSE_POOLINGS[mode],
        max_active_dims=k if settings.max_active_dims is None else settings.max_active_dims,
    )


def pooling_mode(pooling: Path) -> str:
    """Return a Pooling module's mode, as its newer versions name it; several are joined with `+`."""
    pooled = read_object(pooling / "config.json")
    old = [name for key, name in _OLD_POOLING_KEYS.items() if pooled.get(key)]
    mode = pooled.get("pooling_mode", old or "mean")
    return "+".join(map(str, mode)) if isinstance(mode, list) else str(mode)


def _transformer_config(folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the module's own config and its file; older versions named the file after the architecture."""
    for file in (folder / "sentence_bert_config.json", *sorted(folder.glob("sentence_*_config.json"))):
        if file.is_file():
            return read_object(file), file
    return {}, folder / "sentence_bert_config.json"


def _static_weights(folder: Path) -> Path:
    """Return the file with the weights: config.json's path of an idf.json, or the tensor `weight`."""
    file = folder / "config.json"
    path = read_object(file).get("path") if file.is_file() else None
    candidates = [inside(folder, path, file)] if path is not None else []
    candidates += [folder / "model.safetensors", folder / "pytorch_model.bin", folder / "idf.json"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(f"{folder} contains no token weights: no model.safetensors, pytorch_model.bin or idf.json")
