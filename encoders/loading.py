"""`load_encoder`: from a name or a path to an encoder.

A name is tried in this order: `bm25`; a card's short name (`lsr models` lists them); the path of a folder that
contains a checkpoint; a checkpoint's name on the model hub, from the local cache or by download. torch is imported
only where a model has to be read.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from encoders.bm25 import BM25Encoder
from encoders.encoder import Encoder
from encoders.errors import SettingError


def load_encoder(
    name_or_path: str,
    device: str = "auto",
    dtype: str | None = None,
    *,
    allow_remote_code: bool = False,
    **settings: Any,
) -> Encoder:
    """Return the encoder of that name or at that path.

    `device` is auto, cpu, cuda, cuda:0, mps; BM25 ignores it. `dtype` is auto, float32, bfloat16, float16, or
    None for auto: an encoder without a model refuses it.
    `allow_remote_code` runs Python code that a checkpoint contains: read it first. It is never stored.
    `settings` override the checkpoint's own; the `settings` of an encoder rebuild it. Raises UnknownEncoder,
    CheckpointError, RemoteCodeRefused, ModelsMissing, DeviceUnavailable, SettingError. Where queries are looked up in a
    table, the document model is read later, with its errors: by `prepare_documents`, or with the first document.
    """
    name = str(name_or_path)
    if name == BM25Encoder.name:
        if dtype is not None:
            raise SettingError("bm25 has no dtype: no model computes its weights")
        known = list(inspect.signature(BM25Encoder).parameters)
        for setting in settings:
            if setting not in known:
                raise SettingError(f"bm25 has no setting {setting!r}; it has {', '.join(known)}")
        return BM25Encoder(**settings)
    from encoders.checkpoints.opening import open_checkpoint

    return open_checkpoint(name, device=device, dtype=dtype, settings=settings, allow_remote_code=allow_remote_code)


def load_with_settings(name_or_path: str, settings: Mapping[str, Any], device: str = "auto") -> Encoder:
    """Return the encoder with settings from a file or a user: they cannot choose a device or allow remote code.

    Raises what `load_encoder` raises; SettingError for such a setting.
    """
    check_stored_settings(settings)
    return load_encoder(name_or_path, device, **settings)


def check_stored_settings(settings: Mapping[str, Any]) -> None:
    """Raise SettingError for an argument of `load_encoder` that settings from a file or a user must not contain."""
    for setting in ("allow_remote_code", "device", "name_or_path"):
        if setting in settings:
            raise SettingError(f"{setting!r} is not a setting of an encoder")
