"""The start of a pooled side: BM25 over word pieces, and every term's own embedding as its expansion vector.

The dense retriever reads each token of the vocabulary as a text, [CLS] token [SEP]. With g_v the result minus the mean
over all tokens, normalised to length 1, and m the mean pooled vector of sample texts,

    u_v = scale * g_v      b_v = -scale * (margin + g_v . m)      so that the logit is scale * (g_v . (p - m) - margin)

A text in the direction of a term gets the term: the retriever's knowledge is used before the first step, and a term
that is in no training query has a vector as well. On the development sets this start alone was above BM25 with
stemming (docs/decisions/0704). Placeholders of the vocabulary never become an expansion, and a term without weight in
queries is not in a document either.

With a static body (encoders.training.static_body) in the retriever's place, the vectors u_v are cut as its own are; the
retriever then only says what the body has to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from encoders.checkpoints.model import load_model
from encoders.checkpoints.saving import save_encoder
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.compute.device import resolve_device
from encoders.compute.transformer import TransformersBody, ready
from encoders.errors import SettingError
from encoders.learned import LearnedEncoder
from encoders.settings import Family, SideSettings
from encoders.sides.pooled import PooledHead, PooledSide
from encoders.text.tokenization import Tokenization
from encoders.text.tokenizer import LoadedTokenizer
from encoders.training.query_table import QueryTable
from encoders.training.static_body import Distilled, distil
from encoders.vocabulary import FixedVocabulary

_NEVER = 100.0
_BATCH = 256  # tokens per batch


class Expansion(NamedTuple):
    """How large the expansion is at the start.

    The defaults were chosen on the development sets (docs/decisions/0706): hundreds of terms per text before any
    training, and an expansion with enough weight next to the text's own terms. A static body needs less of it (0709).
    """

    scale: float = 2.0
    margin: float = 0.10  # of a cosine, below zero


class StaticStart(NamedTuple):
    """Texts, and the retriever's vectors of them, float16 or float32 [len(texts), size of the retriever]; the static
    body has `size` numbers."""

    texts: Sequence[str]
    vectors: NDArray[np.floating]
    size: int


@torch.inference_mode()
def start_pooled(
    backbone: Path,
    folder: Path,
    *,
    queries: QueryTable,
    settings: SideSettings,
    sample: Sequence[str],
    device: str = "auto",
    static: StaticStart | None = None,
    expansion: Expansion = Expansion(),
) -> None:
    """Write the encoder that training starts from to `folder`, in this project's own layout.

    queries    the query side
    settings   of the document side: family pooled, average_length and max_length set
    sample     a few hundred texts of the training's kind, for the mean of their vectors
    static     what a static body is learned from, which then takes the retriever's place; None: the retriever stays
    expansion  its size
    Raises CheckpointError and SettingError for an unsuitable backbone.
    """
    if settings.family is not Family.POOLED:
        raise SettingError(f"the document side's family is {settings.family}, not pooled")
    if not sample:
        raise SettingError("the expansion needs sample texts to start from")
    retriever, tokenizer = _retriever(backbone, settings, device)
    tokenization, tokens = retriever.tokenization, retriever.tokenization.tokens
    own = _own_vectors(retriever, backbone)
    texts = retriever.ids(sample)
    mean = torch.cat([retriever.pooled(texts[start : start + 16]) for start in range(0, len(texts), 16)]).mean(dim=0)
    directions = functional.normalize(own - own.mean(dim=0), dim=1)
    bias = -expansion.scale * (expansion.margin + directions @ mean)
    silent = queries.weights == 0.0
    silent[[i for i, token in enumerate(tokens) if token.startswith("[unused") or i in tokenization.special_ids]] = True
    bias[torch.from_numpy(silent).to(own.device)] = -_NEVER
    documents = retriever
    if static is not None:
        distilled = _distilled(retriever, static, own)
        directions = directions @ torch.from_numpy(distilled.directions).to(own.device)
        body = distilled.body.to(own.device)
        documents = PooledSide(tokenization, settings, body, PooledHead(body.hidden_size, len(tokens)).to(own.device))
    documents.head.factor[torch.from_numpy(queries.weights == 0.0).to(own.device)] = 0.0
    documents.head.expansion.weight.copy_(expansion.scale * directions)
    documents.head.expansion.bias.copy_(bias)
    encoder = LearnedEncoder(
        str(backbone),
        documents=documents,
        queries=queries.side(tokenizer, settings),
        vocabulary=FixedVocabulary(tokens),
        fingerprint="",
        settings={},
    )
    save_encoder(encoder, folder)


def _retriever(backbone: Path, settings: SideSettings, device: str) -> tuple[PooledSide, LoadedTokenizer]:
    """Return the backbone as a pooled side that starts at BM25 alone, and its tokenizer."""
    on = resolve_device(device)
    tokenizer = read_tokenizer(backbone)
    tokenization = Tokenization(
        tokenizer, settings.max_length, lower_case=settings.lower_case, conflate=settings.conflate
    )
    model = load_model(backbone, "AutoModel")
    ready(model, device=on, dtype=torch.float32)
    body = TransformersBody(model, "last_hidden_state", tokenization.pad_id)
    head = PooledHead(int(model.config.hidden_size), len(tokenization.tokens)).to(on)
    return PooledSide(tokenization, settings, body, head), tokenizer


def _own_vectors(retriever: PooledSide, backbone: Path) -> torch.Tensor:
    """Return the retriever's vector of each token as a text of its own, float32 [tokens, size]."""
    empty = retriever.tokenization.ids([""])[0]
    if len(empty) != 2:
        raise SettingError(f"{backbone}: its tokenizer adds {len(empty)} special tokens to a text, not 2")
    opening, closing = empty
    ids = [[opening, number, closing] for number in range(len(retriever.tokenization.tokens))]
    return torch.cat([retriever.pooled(ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH)])


def _distilled(retriever: PooledSide, static: StaticStart, own: torch.Tensor) -> Distilled:
    """Return a static body for the texts as `retriever` reads them; `own` are its vectors of the tokens."""
    read = retriever.read(static.texts)
    return distil(read, static.vectors, own.cpu().numpy(), retriever.wordless, size=static.size)
