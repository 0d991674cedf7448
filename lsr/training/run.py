"""A training run from its configuration to the saved model.

    OUT/config.json       what was trained, on what (hashes), with which seed
    OUT/start/            the encoder that training starts from; with the literal path this is BM25 over word pieces
    OUT/development/      the held-out queries and documents, a BEIR folder
    OUT/cache/            mined negatives, teachers' vectors and scores
    OUT/checkpoints/      for resuming
    OUT/log.jsonl         losses and development figures by step
    OUT/best/             the encoder with the best figure on the first development set
    OUT/model/            the result: best/ where there was evaluation, else the last step's

Run again in the same folder, it continues; every file has a key, a hash of its inputs.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from encoders import load_encoder
from encoders.checkpoints.saving import save_compactly, save_encoder
from encoders.errors import SettingError
from encoders.learned import LearnedEncoder
from encoders.training.lora import LoraSettings, add_adapters
from encoders.training.objective import Objective
from encoders.training.sentence_transformers_export import write_sentence_transformers
from encoders.training.settings import Regulariser
from encoders.training.trainable import TrainableEncoder
from encoders.training.trainer import Hooks, Outcome, Trainer
from lsr.errors import SettingsError
from lsr.training.candidates import find_examples
from lsr.training.config import TrainingConfig, as_json, find_folder
from lsr.training.context import RunContext, content_hash
from lsr.training.errors import TrainingDataError
from lsr.training.frozen import freeze_documents
from lsr.training.held_out import SPLIT, hold_out
from lsr.training.log import Log
from lsr.training.pairs import Pairs, read_pairs
from lsr.training.sampling import PairSource
from lsr.training.starting import start_encoder

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Report:
    """The result of a run: the model's folder, and its figures on the development sets."""

    model: Path
    outcome: Outcome
    pairs: int
    documents: int
    baseline: Mapping[str, float] = field(default_factory=dict)


def train(config: TrainingConfig, out: Path, context: RunContext) -> Report:
    """Train, or continue training, into `out`.

    Raises SettingsError, TrainingDataError, CorpusUnreadable, the encoders' errors (TrainingDiverged among them) and
    OSError.
    """
    say = context.say
    if context.evaluate is None and (config.evaluation.held_out or config.evaluation.datasets):
        raise SettingsError("[evaluation] names development sets, but this run has no function that evaluates")
    every = read_pairs(config.data, _phase(context, "pairs"))
    out.mkdir(parents=True, exist_ok=True)
    sets, pairs = _development_sets(config, every, out)
    data_hash, cache = pairs.hash(), context.cache or out / "cache"
    say(f"{len(pairs.queries):,} queries, {len(pairs.documents):,} documents")
    examples = find_examples(config, pairs, data_hash, cache, context)
    source = PairSource(
        pairs,
        examples,
        batch_size=config.steps.batch_size,
        accumulation=config.steps.accumulation,
        per_query=config.negatives.per_query,
        seed=config.steps.seed,
    )
    torch.manual_seed(config.steps.seed)  # of new layers
    start = start_encoder(config, pairs, data_hash, out, cache, context)
    _add_adapters(config, start)
    identity = content_hash(
        config=as_json(dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, baseline=None))),
        data=data_hash,
        start=start.fingerprint,
    )
    (out / "config.json").write_text(
        json.dumps(
            {"config": as_json(config), "data": data_hash, "start": start.fingerprint, "run": identity}, indent=2
        )
        + "\n"
    )
    log = Log(out / "log.jsonl")
    if not any((out / "checkpoints").glob("step-*")):
        log.restart()
    baseline = _baseline(config, sets, context)

    def resumed(step: int) -> None:
        log.cut(step)
        say(f"continuing after step {step:,}")

    model = TrainableEncoder(
        start,
        train_static=config.model.train_queries,
        train_static_documents=config.model.train_documents,
        frozen=freeze_documents(start, config, pairs, cache, context),
    )
    trainer = Trainer(
        model,
        source,
        Objective(config.loss, _idf(config, model)),
        config.steps,
        out,
        identity=identity,
        hooks=Hooks(
            record=log.add,
            resumed=resumed,
            evaluate=_evaluator(config, sets, context, out) if sets else None,
            progress=context.phase("steps"),
        ),
    )
    outcome = trainer.run()
    target = out / "model"
    shutil.rmtree(target, ignore_errors=True)
    if outcome.best_step is not None:
        shutil.copytree(out / "best", target)
    else:
        save_encoder(model.finish(), target)
    if config.model.int8:
        _store_in_int8(target)
    write_sentence_transformers(target)
    return Report(target, outcome, len(examples.queries), len(pairs.documents), baseline)


def _add_adapters(config: TrainingConfig, encoder: LearnedEncoder) -> None:
    model = config.model
    if model.lora_rank is None:
        return
    alpha = 2 * model.lora_rank if model.lora_alpha is None else model.lora_alpha
    try:
        add_adapters(
            encoder,
            LoraSettings(model.lora_rank, alpha, model.lora_dropout, model.lora_targets),
            config.steps.seed,
        )
    except SettingError as error:
        raise SettingsError(f"[model] lora_rank, lora_targets: {error}") from None


def _development_sets(config: TrainingConfig, every: Pairs, out: Path) -> tuple[list[tuple[str, Path, str]], Pairs]:
    """Return (name, BEIR folder, split) of each development set, the deciding one first, and the training pairs."""
    sets, pairs = [], every
    if config.evaluation.held_out:
        folder = out / "development"
        pairs = hold_out(
            every,
            folder,
            queries=config.evaluation.held_out,
            documents=config.evaluation.documents,
            share=config.evaluation.share,
            seed=config.steps.seed,
        )
        sets.append((HELD_OUT, folder, SPLIT))
    for spec in config.evaluation.datasets:
        sets.append((Path(spec).name, find_folder(spec), config.evaluation.split))
    return sets, pairs


def _store_in_int8(folder: Path) -> None:
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    if not isinstance(encoder, LearnedEncoder):
        raise TypeError(f"{folder} gave a {type(encoder).__name__}")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".int8-") as made:
        save_compactly(encoder, Path(made) / "model")  # it may read the files that are removed next
        shutil.rmtree(folder)
        (Path(made) / "model").rename(folder)


def _idf(config: TrainingConfig, model: TrainableEncoder) -> torch.Tensor | None:
    """Return the idf in the training score of IDF-aware FLOPS: the query table at the start of the run."""
    if config.loss.regulariser is not Regulariser.IDF_FLOPS:
        return None
    table = model.query_table()
    if table is None or config.model.train_queries:
        raise SettingsError("[loss] idf-flops needs a static query side that is not trained: its table is the idf")
    return table.detach().clone()


def _evaluator(
    config: TrainingConfig, sets: list[tuple[str, Path, str]], context: RunContext, out: Path
) -> Callable[[LearnedEncoder], Mapping[str, float]]:
    measure = context.evaluate
    if measure is None:
        raise TrainingDataError("this run has no function that evaluates")

    def evaluate(encoder: LearnedEncoder) -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=out, prefix=".evaluated-") as folder:
            save_encoder(encoder, Path(folder) / "encoder")
            figures = {
                f"{name} {what}": value
                for name, path, split in sets
                for what, value in measure(
                    str(Path(folder) / "encoder"), path, split, config.evaluation.measures
                ).items()
            }
        context.say(", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        return figures

    return evaluate


def _baseline(config: TrainingConfig, sets: list[tuple[str, Path, str]], context: RunContext) -> dict[str, float]:
    name, measure = config.evaluation.baseline, context.evaluate
    if name is None or measure is None:
        return {}
    figures = {
        f"{one} {what}": value
        for one, path, split in sets
        for what, value in measure(name, path, split, config.evaluation.measures).items()
    }
    if figures:
        context.say(f"{name}: " + ", ".join(f"{what} {value:.4f}" for what, value in figures.items()))
    return figures


def _phase(context: RunContext, phase: str) -> Callable[[int], None] | None:
    report = context.progress
    return report and (lambda done: report(phase, done, None))
