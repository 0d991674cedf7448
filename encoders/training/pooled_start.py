"""The start of a pooled side: BM25 over word pieces, and every term's own embedding as its expansion vector.

The dense retriever reads each token of the vocabulary as a text, [CLS] token [SEP]. With g_v the result minus the mean
over all tokens, normalised to length 1, and m the mean pooled vector of sample texts,

    u_v = SCALE * g_v      b_v = -SCALE * (MARGIN + g_v . m)      so that the logit is SCALE * (g_v . (p - m) - MARGIN)

A text in the direction of a term gets the term: the retriever's knowledge is used before the first step, and a term
that is in no training query has a vector as well. On the development sets this start alone was above BM25 with
stemming (docs/decisions/0704). Placeholders of the vocabulary never become an expansion, and a term without weight in
queries is not in a document either.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
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
from encoders.training.query_table import QueryTable
from encoders.vocabulary import FixedVocabulary

# Chosen on the development sets (docs/decisions/0706): hundreds of terms per text before any training, and an expansion
# with enough weight next to the text's own terms.
MARGIN = 0.10  # of a cosine, below zero
SCALE = 2.0
_NEVER = 100.0
_BATCH = 256  # tokens per batch


@torch.inference_mode()
def start_pooled(
    backbone: Path,
    folder: Path,
    *,
    queries: QueryTable,
    settings: SideSettings,
    sample: Sequence[str],
    device: str = "auto",
) -> None:
    """Write the encoder that training starts from to `folder`, in this project's own layout.

    queries    the query side
    settings   of the document side: family pooled, average_length and max_length set
    sample     a few hundred texts of the training's kind, for the mean of their vectors
    Raises CheckpointError and SettingError for an unsuitable backbone.
    """
    if settings.family is not Family.POOLED:
        raise SettingError(f"the document side's family is {settings.family}, not pooled")
    if not sample:
        raise SettingError("the expansion needs sample texts to start from")
    on = resolve_device(device)
    tokenizer = read_tokenizer(backbone)
    tokenization = Tokenization(
        tokenizer, settings.max_length, lower_case=settings.lower_case, conflate=settings.conflate
    )
    model = load_model(backbone, "AutoModel")
    ready(model, device=on, dtype=torch.float32)
    body = TransformersBody(model, "last_hidden_state", tokenization.pad_id)
    tokens = tokenization.tokens
    documents = PooledSide(tokenization, settings, body, PooledHead(int(model.config.hidden_size), len(tokens)).to(on))
    empty = tokenization.ids([""])[0]
    if len(empty) != 2:
        raise SettingError(f"{backbone}: its tokenizer adds {len(empty)} special tokens to a text, not 2")
    opening, closing = empty
    ids = [[opening, number, closing] for number in range(len(tokens))]
    vectors = torch.cat([documents.pooled(ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH)])
    texts = documents.ids(sample)
    mean = torch.cat([documents.pooled(texts[start : start + 16]) for start in range(0, len(texts), 16)]).mean(dim=0)
    directions = functional.normalize(vectors - vectors.mean(dim=0), dim=1)
    bias = -SCALE * (MARGIN + directions @ mean)
    silent = queries.weights == 0.0
    silent[[i for i, token in enumerate(tokens) if token.startswith("[unused") or i in tokenization.special_ids]] = True
    bias[torch.from_numpy(silent).to(on)] = -_NEVER
    documents.head.factor[torch.from_numpy(queries.weights == 0.0).to(on)] = 0.0
    documents.head.expansion.weight.copy_(SCALE * directions)
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
