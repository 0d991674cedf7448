"""The encoder that a run starts with: a trained one, a preset's method, or BM25 and an expansion."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import load_encoder
from encoders.checkpoints.static_weights import read_static_weights
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.learned import LearnedEncoder
from encoders.presets import preset
from encoders.settings import Family, SideSettings
from encoders.sides.literal import LiteralSide
from encoders.sides.static import StaticSide
from encoders.text.tokenization import Tokenization
from encoders.training.literal_start import start_literal
from encoders.training.masked_lm import warm_up_masked_lm
from encoders.training.pooled_start import Expansion, StaticStart, start_pooled
from encoders.training.query_table import QueryTable
from encoders.training.trainable import untrained_sides
from encoders.training.word_pieces import idf_of, idf_of_terms, piece_statistics, query_weights
from lsr.errors import SettingsError
from lsr.training.config import TrainingConfig, find_folder
from lsr.training.context import RunContext, content_hash
from lsr.training.log import Log
from lsr.training.model_config import FROM_CORPUS, POOLED, ModelConfig
from lsr.training.pairs import Pairs
from lsr.training.sides import Statistics, cut, start_sides
from lsr.training.teachers import DenseScores


def start_encoder(
    config: TrainingConfig, pairs: Pairs, data_hash: str, out: Path, cache: Path, context: RunContext
) -> LearnedEncoder:
    """Return the encoder that training starts with, in float32; vectors of texts are kept in `cache`."""
    model = config.model
    if model.encoder is not None:
        encoder = load_encoder(model.encoder, device=context.device, dtype="float32")
        if not isinstance(encoder, LearnedEncoder):
            raise SettingsError(f"[model] encoder = {model.encoder!r} has nothing to train")
        return encoder
    if model.backbone is None:
        raise SettingsError("[model] needs a backbone or an encoder")
    backbone = find_folder(model.backbone)

    def at_bm25() -> LearnedEncoder:
        return _start_at_bm25(config, pairs, data_hash, out, cache, context, backbone)

    def statistics(tokenization: Tokenization) -> tuple[float, NDArray[np.float32]]:
        return _word_pieces(config, pairs, tokenization)

    if model.queries is not None:
        return start_sides(model, backbone, context.device, statistics, at_bm25)
    if model.starts_at_bm25:
        return at_bm25()
    return _start_preset(model, backbone, context.device, statistics)


def _start_preset(model: ModelConfig, backbone: Path, device: str, statistics: Statistics) -> LearnedEncoder:
    method = preset(str(model.method))
    encoder = untrained_sides(
        cut(method.queries, model.query_max_active_dims),
        cut(method.documents, model.max_active_dims),
        backbone,
        device=device,
        max_length=model.max_length,
        separate=model.separate,
    )
    if method.name.startswith("inference-free") and isinstance(encoder.queries, StaticSide):
        _, idf = statistics(encoder.queries.tokenization)
        encoder.queries.table[: len(idf)] = np.where(encoder.queries.table[: len(idf)] > 0, idf, 0.0)
    return encoder


def _start_at_bm25(
    config: TrainingConfig,
    pairs: Pairs,
    data_hash: str,
    out: Path,
    cache: Path,
    context: RunContext,
    backbone: Path,
) -> LearnedEncoder:
    """Return the start of the literal or pooled method, which is kept in `out`."""
    model = config.model
    key = content_hash(model=dataclasses.asdict(model), data=data_hash, seed=config.steps.seed)
    folder, stamp = out / "start", out / "start" / "made_from.txt"
    if not stamp.is_file() or stamp.read_text() != key:
        _write_start(config, pairs, backbone, folder, cache, context)
        stamp.write_text(key)
    encoder = load_encoder(str(folder), device=context.device, dtype="float32")
    if not isinstance(encoder, LearnedEncoder):
        raise TypeError(f"{folder} gave a {type(encoder).__name__}")
    if isinstance(encoder.queries, StaticSide):
        encoder.queries.settings = cut(encoder.queries.settings, model.query_max_active_dims)
    return encoder


def _write_start(
    config: TrainingConfig, pairs: Pairs, backbone: Path, folder: Path, cache: Path, context: RunContext
) -> None:
    model = config.model
    context.say("counting word pieces and preparing the start: BM25 over word pieces")
    tokenization = Tokenization(read_tokenizer(backbone), None, conflate=model.conflate)
    average_length, idf = _word_pieces(config, pairs, tokenization)
    weights = query_weights(tokenization, idf, model.piece_weight) if model.conflate else idf
    queries = QueryTable(weights, idf if model.collection_idf else None, model.collection_idf, model.query_saturation)
    settings = SideSettings(
        family=Family.POOLED if model.start == POOLED else Family.LITERAL,
        max_length=model.max_length,
        zero_special_ids=True,
        conflate=model.conflate,
        k1=model.k1,
        b=model.b,
        average_length=average_length,
        max_active_dims=model.max_active_dims,
    )
    rng = np.random.default_rng(config.steps.seed)
    sample = [pairs.documents[i] for i in rng.permutation(len(pairs.documents))[: model.sample].tolist()]
    shutil.rmtree(folder, ignore_errors=True)
    if model.start == POOLED:
        start_pooled(
            backbone,
            folder,
            queries=queries,
            settings=settings,
            sample=sample,
            device=context.device,
            static=_static_start(config, pairs, cache, context),
            expansion=Expansion(model.expansion_scale, model.expansion_margin),
        )
        return

    def warm_up(side: LiteralSide, mask_id: int) -> None:
        log = Log(folder.parent / "warm_up.jsonl")
        log.restart()
        warm_up_masked_lm(
            side,
            pairs.documents,
            mask_id=mask_id,
            steps=model.warm_up_steps,
            batch_size=model.warm_up_batch,
            learning_rate=model.warm_up_learning_rate,
            seed=config.steps.seed,
            bf16=config.steps.bf16,
            record=log.add,
        )

    start_literal(
        backbone,
        folder,
        queries=queries,
        settings=settings,
        sample=sample,
        expansion_terms=model.expansion_terms,
        seed=config.steps.seed,
        device=context.device,
        warm_up=warm_up if model.warm_up_steps else None,
    )


def _static_start(config: TrainingConfig, pairs: Pairs, cache: Path, context: RunContext) -> StaticStart | None:
    """Return the texts that a static body is learned from, with the backbone's vectors: documents and queries."""
    model = config.model
    if model.static_size is None or model.backbone is None:
        return None
    teacher = DenseScores(model.backbone, model.max_length, pairs, cache, context)
    context.say(f"learning a static body of {model.static_size} numbers")
    texts = [*pairs.documents, *pairs.queries]
    return StaticStart(texts, np.concatenate([teacher.documents, teacher.queries]), model.static_size)


def _word_pieces(config: TrainingConfig, pairs: Pairs, tokenization: Tokenization) -> tuple[float, NDArray[np.float32]]:
    """Return the mean number of word pieces in a document, and the idf of each piece."""
    average_length, frequencies = piece_statistics(tokenization, pairs.documents)
    if config.model.idf == FROM_CORPUS:
        idf = idf_of(frequencies, len(pairs.documents))
    else:
        idf = _idf_file(config.model.idf, tokenization)
    if config.model.general_idf is not None:
        idf = np.mean([idf, _idf_file(config.model.general_idf, tokenization)], axis=0, dtype=np.float32)
    return average_length, idf


def _idf_file(path: str, tokenization: Tokenization) -> NDArray[np.float32]:
    return idf_of_terms(tokenization, read_static_weights(Path(path), tokenization.tokens, 0.0)[0])
