"""Encoders in memory once: the vectors of all open collections share them.

An encoder is the same for two vectors when its fingerprint, its settings and its device are: then its tables, tokenizer
and model are read once, and queries that arrive together are computed together. It is kept as long as a collection
uses it. A model whose files have changed since it was read is read again, so a collection never gets another model
than a restart would give it. BM25 belongs to its collection: its vocabulary and its average length grow with that.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from encoders.encoder import DenseEncoder, Encoder

T = TypeVar("T", bound=Encoder | DenseEncoder)

_BM25: Final = "bm25"
_by_files: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_by_fingerprint: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_loading: dict[str, threading.Lock] = {}  # by name: one thread reads a model, the others wait for it
_guard = threading.Lock()


def shared_encoder(name: str, settings: Mapping[str, Any], device: str) -> Encoder:
    """Return the encoder, read now or shared; raises what `encoders.load_with_settings` raises."""
    from encoders import load_with_settings  # it may import PyTorch

    return _shared(name, settings, device, lambda: load_with_settings(name, settings, device))


def shared_dense_encoder(name: str, settings: Mapping[str, Any], device: str) -> DenseEncoder:
    """Return the encoder of dense vectors at their full size; raises what `load_dense_with_settings` raises.

    It is the same object as the sparse encoder where one model makes both.
    """
    from encoders import load_dense_with_settings

    return _shared(name, settings, device, lambda: load_dense_with_settings(name, settings, device))


def _shared(name: str, settings: Mapping[str, Any], device: str, load: Callable[[], T]) -> T:
    if name == _BM25:
        return load()
    from encoders.file_signature import file_signature
    from encoders.loading import check_stored_settings

    check_stored_settings(settings)
    with _guard:
        lock = _loading.setdefault(name, threading.Lock())
    with lock:
        how = (json.dumps(dict(settings), sort_keys=True, default=repr), device)
        files = (name, *how, file_signature(name, settings))
        known: T | None = _by_files.get(files)
        if known is not None:
            return known
        loaded = load()
        same: T = _by_fingerprint.setdefault((loaded.fingerprint, *how), loaded)  # of another path, perhaps
        if type(same) is not type(loaded):
            same = loaded
        _by_files[files] = same
        return same
