"""A hash of everything that decides a model's vectors: its files and the settings in force.

It does not cover device and precision: the same checkpoint on a GPU in half precision and on a CPU in float32 gives
the same vectors up to rounding, and a collection that one encoded must be searchable on the other (decision 0202). The
precision is kept next to the fingerprint instead, and stands with every figure (decision 0209).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from encoders.checkpoints.sources import SideSource
from encoders.settings import SideSettings

# Change it when the arithmetic changes the vectors by more than rounding.
_ARITHMETIC = 1
_DECISIVE = (
    "tokenizer.json",
    "vocab.txt",
    "*.model",
    "config.json",
    "adapter_config.json",
    "adapter_model.safetensors",
)


def fingerprint(*sides: tuple[SideSource, SideSettings]) -> str:
    """Return the hash of each side's decisive files and of its settings in force, as `model-<hex>`."""
    digest = hashlib.sha256()
    known: dict[Path, bytes] = {}
    for source, settings in sides:
        in_force = {"arithmetic": _ARITHMETIC, **settings.json()}
        # Settings that were added later, at their former value: older collections stay searchable.
        if not settings.conflate:
            del in_force["conflate"]
        if settings.conflation_rule == 1:
            del in_force["conflation_rule"]
        if settings.collection_idf == 0.0:
            del in_force["collection_idf"]
        if not settings.cosine:
            del in_force["cosine"]
        if not settings.term_frequency:
            del in_force["term_frequency"]
        if settings.lexical or not settings.pool_special_positions:
            in_force["special"] = "added"  # since then a text's own [UNK] or [MASK] is not a special token
        digest.update(json.dumps(in_force, sort_keys=True).encode())
        if source.unit_length:
            digest.update(b"unit length\0")  # part of modules.json, most of which decides nothing
        if source.base_config is not None:
            digest.update(source.base_config.encode())
        for path in decisive_files(source):
            if path not in known:
                with path.open("rb") as file:
                    known[path] = hashlib.file_digest(file, "sha256").digest()
            digest.update(path.name.encode() + b"\0" + known[path])
    return "model-" + digest.hexdigest()[:32]


def decisive_files(source: SideSource) -> list[Path]:
    """Return the files of a side that decide its vectors; `.bin` weights only where there are no safetensors."""
    files = [source.static_weights] if source.static_weights else []
    if source.graph is not None:  # and the files next to it with the weights of a large graph
        files += sorted(source.graph.parent.glob("*.onnx*"))
    tokenizer = source.tokenizer_folder
    elsewhere = None if tokenizer in (source.folder, source.adapter) else tokenizer
    for folder in filter(None, (source.folder, source.adapter, source.autoencoder, elsewhere)):
        weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
        others = sorted({path for pattern in _DECISIVE for path in folder.glob(pattern)} - set(weights))
        files += [path for path in (*others, *weights) if path.is_file()]
    return files
