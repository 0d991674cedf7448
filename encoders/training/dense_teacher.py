"""A dense bi-encoder as a teacher, read from a sentence-transformers folder with transformers alone.

    e(text) = normalise(mean or first of the last hidden states)        t(q, d) = e(q) . e(d)

Supported are Transformer, Pooling (mean or CLS) and Normalize; anything else is refused. Vectors are always normalised,
so scores are cosines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from encoders.checkpoints.files import inside, position_limit, read_json, read_object, smallest
from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.model import load_model
from encoders.checkpoints.sources import SideSource
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.compute.batches import token_batches
from encoders.compute.device import resolve_device, resolve_dtype
from encoders.compute.transformer import Body, ready
from encoders.errors import CheckpointError
from encoders.settings import SideSettings
from encoders.text.tokenization import Tokenization

_MAX_TOKENS = {"cpu": 4096}
_MAX_TOKENS_ELSEWHERE = 65_536


class DenseTeacher:
    """Text to normalised vectors."""

    def __init__(
        self, folder: Path, *, max_length: int | None = None, device: str = "auto", dtype: str = "auto"
    ) -> None:
        """`max_length` may shorten the texts. Raises CheckpointError for a folder with another kind of pipeline."""
        transformer, self._mean = _read_pipeline(folder)
        on = resolve_device(device)
        tokenizer = read_tokenizer(transformer)
        config = transformer / "sentence_bert_config.json"
        own = read_object(config).get("max_seq_length") if config.is_file() else None
        length = smallest(max_length, own, tokenizer.max_length, position_limit(transformer))
        self._tokenization = Tokenization(tokenizer, length)
        model = load_model(transformer, "AutoModel")
        ready(model, device=on, dtype=resolve_dtype(dtype, on))
        self._body = Body(model, "last_hidden_state", self._tokenization.pad_id)
        self._max_tokens = _MAX_TOKENS.get(on.type, _MAX_TOKENS_ELSEWHERE)
        source = SideSource(transformer, SideSettings(max_length=length))
        self.fingerprint = f"dense-{'mean' if self._mean else 'cls'}-{fingerprint((source, source.settings))}"

    @property
    def size(self) -> int:
        """Dimensions."""
        return int(self._body.model.config.hidden_size)

    @property
    def max_length(self) -> int | None:
        """The number of word pieces that it reads of a text, special ones counted."""
        return self._tokenization.max_length

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> NDArray[np.float16]:
        """Return float16 [len(texts), size]; float16 keeps a cosine to three digits and halves the memory."""
        found = np.zeros((len(texts), self.size), dtype=np.float16)
        done = 0
        for start in range(0, len(texts), 8192):
            ids = self._tokenization.ids(texts[start : start + 8192])
            for batch in token_batches([len(one) for one in ids], self._max_tokens):
                lengths = [len(ids[i]) for i in batch]
                hidden = self._body([ids[i] for i in batch]).float()
                parts = torch.split(hidden, lengths)
                pooled = torch.stack([part.mean(dim=0) if self._mean else part[0] for part in parts])
                found[[start + i for i in batch]] = functional.normalize(pooled, dim=1).half().cpu().numpy()
                done += len(batch)
                if progress:
                    progress(done)
        return found


def _read_pipeline(folder: Path) -> tuple[Path, bool]:
    """Return the transformer's folder, and whether the pooling is the mean."""
    file = folder / "modules.json"
    listed = read_json(file)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise CheckpointError(f"{file} does not contain a list of modules")
    types = [str(entry.get("type")).rsplit(".", 1)[-1] for entry in listed]
    if types[:2] != ["Transformer", "Pooling"] or types[2:] not in ([], ["Normalize"]):
        raise CheckpointError(
            f"{file}: {' + '.join(types)} is not a supported pipeline; a teacher is Transformer + Pooling (+ Normalize)"
        )
    pooling = read_object(inside(folder, listed[1].get("path"), file) / "config.json")
    modes = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True]
    if "pooling_mode" in pooling:  # as newer versions write it
        modes = [f"pooling_mode_{pooling['pooling_mode']}"]
    if modes in (["pooling_mode_mean_tokens"], ["pooling_mode_mean"]):
        return inside(folder, listed[0].get("path", ""), file), True
    if modes in (["pooling_mode_cls_token"], ["pooling_mode_cls"]):
        return inside(folder, listed[0].get("path", ""), file), False
    raise CheckpointError(
        f"{file}: the pooling {', '.join(modes) or 'without a mode'} is not supported; mean and cls are"
    )
