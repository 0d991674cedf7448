"""From a name to a folder: a local path, the hub's local cache, or a download.

A download asks for the small files and safetensors first. Then for `.bin` weights, folder by folder, where a
config.json has no weights next to it (a repository may have safetensors in one folder and `.bin` in another); then for
an ONNX graph, if there are no weights at all.
"""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path
from typing import Any

from encoders.checkpoints.files import read_object
from encoders.errors import UnknownEncoder

# The files that a checkpoint may need; no code, no weights of other frameworks.
_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors", "**/*.json", "**/*.txt", "**/*.safetensors"]
_BIN = ("pytorch_model*.bin", "adapter_model.bin", "model.bin")
_GRAPHS = (["model.onnx*", "onnx/model.onnx*"], ["*.onnx*"])  # the plain export, or else whatever there is
_CONFIGS = ("config.json", "adapter_config.json")


def locate(name: str, known: list[str]) -> Path:
    """Return the folder of the checkpoint `name`; raise UnknownEncoder, which names the places that were searched."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise UnknownEncoder(f"{name} is a file; give the folder of a checkpoint")
    hint = _hint(name, known)
    if not _is_hub_name(name):
        raise UnknownEncoder(f"there is no encoder {name!r}, and no folder of that name.{hint}")
    return _from_hub(name, hint)


def _is_hub_name(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(part and part.strip(".") and " " not in part for part in parts)


def _from_hub(name: str, hint: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def fetch(*more: str, **options: Any) -> Path:
        return Path(snapshot_download(name, allow_patterns=[*_PATTERNS, *more], **options))

    cached = None
    with suppress(LocalEntryNotFoundError, HFValidationError):
        cached = fetch(*_bin_of(["."]), "**/*.bin", "*.onnx*", local_files_only=True)
        if not _incomplete(cached):
            return cached
    try:
        folder = fetch()
        if lacking := _incomplete(folder):
            folder = fetch(*_bin_of(lacking))
        for graphs in _GRAPHS:
            if "." in _incomplete(folder):
                folder = fetch(*graphs)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        if cached is not None:
            return cached  # its reader names the file that is missing
        raise UnknownEncoder(
            f"{name} is not a folder here, not in the local cache, and the model hub did not send it "
            f"({_reason(error)}).{hint} Without a network, copy the checkpoint here and give the path of its folder."
        ) from error
    return folder


def config_of(name: str, near: Path) -> Path:
    """Return the config.json of the model `name`: of a folder, also relative to `near`, or from the hub, without the
    weights. Raises UnknownEncoder."""
    for folder in (near / name, Path(name).expanduser()):
        if folder.is_dir():
            return folder / "config.json"
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, "config.json"))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UnknownEncoder(
            f"{near} needs the config.json of {name}, which is not a folder here, not in the local cache, and the "
            f"model hub did not send it ({_reason(error)})"
        ) from error


def _bin_of(folders: list[str]) -> list[str]:
    return [pattern if folder == "." else f"{folder}/{pattern}" for folder in folders for pattern in _BIN]


def _reason(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


def _incomplete(folder: Path) -> list[str]:
    """Return the folders, relative, of models without weights; the top folder where there are no weights at all."""
    configs = {path.parent for config in _CONFIGS for path in folder.rglob(config)}
    lacking = {one for one in configs if _is_model(one) and not _has_weights(one, "*.bin", "onnx/*.onnx")}
    if not lacking and not _has_weights(folder, "**/*.bin", "**/*.safetensors", "**/*.onnx"):
        lacking = {folder}
    return sorted(path.relative_to(folder).as_posix() for path in lacking)


def _is_model(folder: Path) -> bool:
    """Return whether the folder's config.json is that of a model, an adapter or a table of weights, which have weights
    next to it."""
    if (folder / "adapter_config.json").is_file():
        return True
    config = read_object(folder / "config.json")
    return config.get("model_type", "DualEncoder") != "DualEncoder" or ("frozen" in config and "path" not in config)


def _has_weights(folder: Path, *more: str) -> bool:
    return any(True for pattern in ("*.safetensors", "*.onnx", *more) for _ in folder.glob(pattern))


def _hint(name: str, known: list[str]) -> str:
    """Return the nearest known names, as a sentence; an empty text for a known name."""
    if name in known:
        return ""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else " `lsr models` lists the known names."
