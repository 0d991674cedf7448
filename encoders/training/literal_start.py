"""The start of the literal residual path: BM25 over word pieces, with an expansion head just below zero.

A backbone with a masked-LM head keeps it; a BERT without one (MiniLM) gets one: the decoder tied to the word
embeddings, and a transform that is solved for instead of learned. Ridge regression from the last hidden states of
sample texts, with some tokens masked, to the direction of the token's own word embedding,

    W = argmin sum_i |W h_i + b - (E[token_i] - mean E) / norm|^2 + lambda |W|^2

gives tokens with similar meaning and spelling the largest logits after seconds on a CPU, where learning takes hours; a
masked-LM warm-up may follow. A large bias makes the transform's GELU almost linear; the layer norm after it removes
the bias again. Then one number is subtracted from all logits, so that the sample texts get `expansion_terms` terms
each on average, 0 by default: the first step is BM25, and the first gradient is not zero (encoders.sides.literal).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from encoders.checkpoints.files import read_object
from encoders.checkpoints.model import load_model
from encoders.checkpoints.saving import save_encoder
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.compute.device import resolve_device
from encoders.compute.transformer import ready, split_off_projection
from encoders.errors import SettingError
from encoders.learned import LearnedEncoder
from encoders.settings import Family, SideSettings
from encoders.sides.literal import LiteralSide
from encoders.text.tokenization import Tokenization
from encoders.training.query_table import QueryTable
from encoders.vocabulary import FixedVocabulary

_MASKED = 0.15  # share of the tokens, as in BERT's training
_RIDGE = 1e-2  # of the mean variance of a hidden unit
_LINEAR = 6.0  # standard deviations: GELU(x + 6) - 6 is x to 1e-8
_BATCH = 16  # texts
_MARGIN = 0.5  # logits below zero, so that half precision and texts unlike the sample start without expansion too
_NEVER = 100.0  # a distance of a logit from zero that no hidden state compensates


def start_literal(
    backbone: Path,
    folder: Path,
    *,
    queries: QueryTable,
    settings: SideSettings,
    sample: Sequence[str],
    expansion_terms: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    warm_up: Callable[[LiteralSide, int], None] | None = None,
) -> None:
    """Write the encoder that training starts from to `folder`, in this project's own layout.

    queries    the query side
    settings   of the document side: family literal, average_length and max_length set
    sample     a few hundred texts of the training's kind
    warm_up    called with the side and the mask token's id, before the logits are shifted below zero
    Raises CheckpointError and SettingError for an unsuitable backbone.
    """
    if settings.family is not Family.LITERAL:
        raise SettingError(f"the document side's family is {settings.family}, not literal")
    if not sample:
        raise SettingError("the expansion head needs sample texts to start from")
    on = resolve_device(device)
    tokenizer = read_tokenizer(backbone)
    tokenization = Tokenization(
        tokenizer, settings.max_length, lower_case=settings.lower_case, conflate=settings.conflate
    )
    ids = tokenization.ids(sample)
    model = _with_head(backbone, ids, tokenization, tokenizer.mask_id, seed, on)
    body, projection = split_off_projection(model, device=on, dtype=torch.float32, pad_id=tokenization.pad_id)
    if projection.bias is None:
        raise SettingError(f"{backbone}: the vocabulary head has no bias, so it cannot start below zero")
    factor = nn.Linear(projection.weight.shape[1], 1).requires_grad_(False).to(on)
    nn.init.zeros_(factor.weight)
    nn.init.ones_(factor.bias)
    documents = LiteralSide(tokenization, settings, body, projection, factor)
    if warm_up is not None:
        if tokenizer.mask_id is None:
            raise SettingError(f"{backbone}: its tokenizer has no mask token to warm up with")
        warm_up(documents, tokenizer.mask_id)
    projection.bias.data -= _threshold(documents, ids, expansion_terms)
    vocabulary = FixedVocabulary(tokenization.tokens)
    encoder = LearnedEncoder(
        str(backbone),
        documents=documents,
        queries=queries.side(tokenizer, settings),
        vocabulary=vocabulary,
        fingerprint="",
        settings={},
    )
    save_encoder(encoder, folder)


def _with_head(
    backbone: Path,
    ids: list[list[int]],
    tokenization: Tokenization,
    mask_id: int | None,
    seed: int,
    device: torch.device,
) -> PreTrainedModel:
    """Return the backbone as a masked language model, with its own head or a solved one."""
    architectures = read_object(backbone / "config.json").get("architectures") or [""]
    if str(architectures[0]).endswith("ForMaskedLM"):
        return load_model(backbone, "AutoModelForMaskedLM")
    body = load_model(backbone, "AutoModel")
    if body.config.model_type != "bert":
        raise SettingError(
            f"{backbone}: a {body.config.model_type} without a masked-LM head; only BERT can get one here. "
            "Use a checkpoint that has one"
        )
    config: Any = copy.deepcopy(body.config)
    config.tie_word_embeddings = True
    model: Any = transformers.BertForMaskedLM(config)
    state = {name: tensor for name, tensor in body.state_dict().items() if not name.startswith("pooler.")}
    model.bert.load_state_dict(state)
    model.tie_weights()
    ready(body, device=device, dtype=torch.float32)
    _solve_transform(body, model, ids, tokenization, mask_id, seed)
    return model  # type: ignore[no-any-return]


@torch.no_grad()
def _solve_transform(
    body: PreTrainedModel,
    model: Any,
    ids: list[list[int]],
    tokenization: Tokenization,
    mask_id: int | None,
    seed: int,
) -> None:
    """Set the head's transform and bias as described at the top of this file."""
    embeddings: Tensor = model.get_input_embeddings().weight
    directions = embeddings - embeddings.mean(dim=0)
    directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-6)
    generator = torch.Generator().manual_seed(seed)
    states, targets = [], []
    for batch in _batches(ids):
        for masked in (False, True):
            hidden, tokens = _hidden(body, batch, tokenization, generator, mask_id if masked else None)
            states.append(hidden.double().cpu())
            targets.append(directions[tokens].double())
    inputs, outputs = torch.cat(states), torch.cat(targets)
    input_mean, output_mean = inputs.mean(dim=0), outputs.mean(dim=0)
    centred = inputs - input_mean
    ridge = _RIDGE * centred.pow(2).sum(dim=0).mean() * torch.eye(centred.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ (outputs - output_mean))
    fitted = centred @ solution + output_mean
    scale = 1.0 / fitted.std()
    transform, decoder_bias = model.cls.predictions.transform, model.cls.predictions.decoder.bias
    transform.dense.weight.copy_((solution * scale).T)
    transform.dense.bias.copy_((output_mean - input_mean @ solution) * scale + _LINEAR)
    transform.LayerNorm.bias.zero_()
    some = fitted[:256].float()
    logits = nn.functional.layer_norm(some, some.shape[1:]) @ embeddings.T
    transform.LayerNorm.weight.fill_(1.0 / float(logits.std()))  # logits of standard deviation 1
    decoder_bias.zero_()
    # Placeholders of the vocabulary, which are in no text: never an expansion.
    decoder_bias[[i for i, token in enumerate(tokenization.tokens) if token.startswith("[unused")]] = -_NEVER


def _batches(ids: list[list[int]]) -> Iterator[list[list[int]]]:
    """Yield the texts in batches of similar length."""
    ordered = sorted((one for one in ids if len(one) > 2), key=len)
    if not ordered:
        raise SettingError("the sample texts are all empty")
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def _hidden(
    body: PreTrainedModel,
    batch: list[list[int]],
    tokenization: Tokenization,
    generator: torch.Generator,
    mask_id: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the last hidden states of the ordinary tokens and those tokens' ids, some masked if `mask_id` is given."""
    device = next(body.parameters()).device
    tokens = nn.utils.rnn.pad_sequence(
        [torch.tensor(one) for one in batch], batch_first=True, padding_value=tokenization.pad_id
    )
    mask = torch.arange(tokens.shape[1])[None, :] < torch.tensor([len(one) for one in batch])[:, None]
    ordinary = mask & ~torch.isin(tokens, torch.tensor(sorted(tokenization.special_ids)))
    fed = tokens.clone()
    if mask_id is not None:
        fed[ordinary & (torch.rand(tokens.shape, generator=generator) < _MASKED)] = mask_id
    states = body(input_ids=fed.to(device), attention_mask=mask.long().to(device)).last_hidden_state
    return states[ordinary.to(device)], tokens[ordinary]


@torch.no_grad()
def _threshold(side: LiteralSide, ids: list[list[int]], expansion_terms: float) -> float:
    """Return the number to subtract from every logit so that a text gets `expansion_terms` terms on average."""
    most = min(int(expansion_terms * 8) + 1, side.n_terms)
    highest = []
    for batch in _batches(ids):
        hidden = side.body(batch)
        for one, part in zip(batch, torch.split(hidden, [len(one) for one in batch]), strict=True):
            logits = (part @ side.projection.weight.T).amax(dim=0)
            if side.projection.bias is not None:
                logits += side.projection.bias
            logits[one] = -torch.inf
            logits[side.ordinary == 0] = -torch.inf
            highest.append(logits.topk(most).values)
    ranked = torch.cat(highest).sort(descending=True).values
    margin = 0.0 if expansion_terms else _MARGIN
    return float(ranked[min(round(expansion_terms * len(highest)), len(ranked) - 1)]) + margin
