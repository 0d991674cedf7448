"""A hash over all that decides a model's vectors: its files and the settings in force.

Device and precision are left out: the same checkpoint on a GPU in half precision and on a CPU in float32 gives the
same vectors up to rounding, and an index that one made must be open to the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Change it when the arithmetic changes what comes out by more than rounding.
_ARITHMETIC = 1
_DECISIVE = ("*.safetensors", "*.bin", "tokenizer.json", "vocab.txt", "*.model", "config.json", "idf.json", "idf*.json")


def fingerprint(folders: Mapping[str, Path], settings: Mapping[str, Any]) -> str:
    """Return the hash of the decisive files in `folders` (role -> folder) and of `settings`, as `model-<hex>`."""
    digest = hashlib.sha256(json.dumps({"arithmetic": _ARITHMETIC, **settings}, sort_keys=True).encode())
    for role, folder in sorted(folders.items()):
        files = sorted({path for pattern in _DECISIVE for path in folder.rglob(pattern) if path.is_file()})
        for path in files:
            digest.update(f"\0{role}/{path.relative_to(folder).as_posix()}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return "model-" + digest.hexdigest()[:32]
