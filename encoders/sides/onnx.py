"""An ONNX graph with the pooling inside: token ids in, weights out. Layout 6.

Two forms are in use, distinguished by the graph's outputs:

    one float tensor [texts, terms]            one weight per (text, term)
    int indices [n] and float weights [n]      of one text alone, as in Anserini's SPLADE++ exports

Activation and pooling are part of the graph, so a setting that would change them is refused. It runs on the CPU, in
the precision of its export, with onnxruntime (`pip install 'lsr[onnx]'`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.errors import SettingError
from encoders.settings import Family, SideSettings
from encoders.sides.transformer_side import BatchedSide
from encoders.text.tokenization import Tokenization

_INSIDE = ("pooling", "activation", "logit_scale", "pool_special_positions", "lexical")


class OnnxSide(BatchedSide):
    """An onnxruntime session. `session` is safe to run from many threads."""

    def __init__(self, tokenization: Tokenization, settings: SideSettings, session: Any, n_terms: int) -> None:
        as_exported = SideSettings(family=Family.ONNX)
        for name in _INSIDE:
            if getattr(settings, name) != getattr(as_exported, name):
                raise SettingError(f"{name} is part of the ONNX graph and cannot be set")
        super().__init__(tokenization, settings, n_terms, torch.device("cpu"))
        self._session = session
        self._inputs = [one.name for one in session.get_inputs()]
        self._sparse = len(session.get_outputs()) == 2
        # Indices do not name their text; a graph may also have been exported for one text.
        self._one_text_at_a_time = self._sparse or session.get_inputs()[0].shape[0] == 1

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), n_terms]."""
        if self._one_text_at_a_time:
            weights = np.concatenate([self._run([one]) for one in ids])
        else:
            weights = self._run(ids)
        found = torch.from_numpy(weights)
        return found * self.ordinary if self.settings.zero_special_ids else found

    def _run(self, ids: list[list[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return float32 [len(ids), n_terms]."""
        longest = max(map(len, ids))
        tokens = np.full((len(ids), longest), self.tokenization.pad_id, dtype=np.int64)
        mask = np.zeros((len(ids), longest), dtype=np.int64)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = one
            mask[row, : len(one)] = 1
        values = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        outputs = self._session.run(None, {name: values[name] for name in self._inputs})
        if not self._sparse:
            return np.ascontiguousarray(outputs[0], dtype=np.float32)
        indices, weights = sorted(outputs, key=lambda output: output.dtype.kind == "f")
        dense = np.zeros((1, self.n_terms), dtype=np.float32)
        dense[0, indices.reshape(-1)] = weights.reshape(-1)
        return dense
