"""Vectors of texts from a model that is not trained, kept on disk by text: no text is read twice.

    FOLDER/MODEL/HASH.npz    digests uint8 [n, 16] of n texts, vectors float16 [n, size]

Reading tens of thousands of documents takes most of a run's time on a CPU. Each block of them is a file, written under
another name and renamed, so a killed run continues after the last complete one; and since the key is the text and not
the data set, a run on other data, or a development set, reads only new texts.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VECTORS = "vectors"  # their folder in a cache
_BLOCK = 512  # texts


def text_vectors(
    folder: Path,
    model: str,
    texts: Sequence[str],
    encode: Callable[[list[str]], NDArray[np.float16]],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float16]:
    """Return float16 [len(texts), size], from `encode` for those that `folder` does not have yet.

    `model` names the model and everything else that the vectors depend on. Raises OSError (the disk).
    """
    own = folder / hashlib.sha256(model.encode()).hexdigest()[:32]
    known = _read(own)
    digests = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
    missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
    wanted = list(missing)
    for start in range(0, len(wanted), _BLOCK):
        block = wanted[start : start + _BLOCK]
        vectors = encode([missing[digest] for digest in block])
        _write(own, block, vectors)
        known.update(zip(block, vectors, strict=True))
        if progress:
            progress(start + len(block), len(wanted))
    return np.stack([known[digest] for digest in digests])


def _read(folder: Path) -> dict[bytes, NDArray[np.float16]]:
    found: dict[bytes, NDArray[np.float16]] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                digests, vectors = file["digests"], file["vectors"]
            found.update(zip(map(bytes, digests), vectors, strict=True))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink()  # damaged: read again
    return found


def _write(folder: Path, digests: list[bytes], vectors: NDArray[np.float16]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(b''.join(digests)).hexdigest()[:32]}.npz"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, digests=np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16), vectors=vectors)
    partial.replace(path)
