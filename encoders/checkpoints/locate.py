"""From a name to a folder: a local path, the hub's local cache, or a download."""

from __future__ import annotations

import difflib
from pathlib import Path

from encoders.errors import UnknownEncoder

# The files that a checkpoint may need; no code, no weights of other frameworks.
_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors", "**/*.json", "**/*.txt", "**/*.safetensors"]


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

    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=_PATTERNS))
        if _has_weights(folder, "*.safetensors", "*.bin"):
            return folder
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        folder = Path(snapshot_download(name, allow_patterns=_PATTERNS))
        if not _has_weights(folder, "*.safetensors"):
            folder = Path(snapshot_download(name, allow_patterns=[*_PATTERNS, "*.bin", "**/*.bin"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise UnknownEncoder(
            f"{name} is not a folder here, not in the local cache, and the model hub did not send it ({reason}).{hint} "
            "Without a network, copy the checkpoint here and give the path of its folder."
        ) from error
    return folder


def _has_weights(folder: Path, *patterns: str) -> bool:
    return any(True for pattern in patterns for _ in folder.rglob(pattern))


def _hint(name: str, known: list[str]) -> str:
    """Return the nearest known names, as a sentence; an empty text for a known name."""
    if name in known:
        return ""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else " `lsr models` lists the known names."
