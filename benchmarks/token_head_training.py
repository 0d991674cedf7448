"""A short training of lsr-mini's head over token states, from the shipped model, by the existing trainer.

    python -m benchmarks.token_head_training docs/training/lsr-mini.toml runs/tokens --cache runs/cache [--plain]
    python -m benchmarks.token_head DEV/* --fit docs/training/lsr-mini.toml --head runs/tokens/head.safetensors

The body is frozen. Trained are the map M of benchmarks.token_head, which starts as fitted there, u, b, the factors and
the queries' table, with the configuration's data, teachers and losses; --steps, --batch-size, --negatives and --rate
are smaller than its own, since a step reads every state of every document. With --plain the head reads p alone: what
the same steps give without token states.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.ranking_vectors import lsr_mini
from benchmarks.token_head import TokenHead, fitted_map, states
from encoders.sides.pooled import PooledSide
from encoders.training.frozen_documents import FrozenDocuments
from encoders.training.objective import Objective
from encoders.training.trainable import TrainableEncoder
from encoders.training.trainer import Hooks, Trainer
from lsr.training.candidates import find_examples
from lsr.training.config import TrainingConfig, read_config
from lsr.training.context import RunContext
from lsr.training.pairs import read_pairs
from lsr.training.sampling import PairSource


class FrozenStates(FrozenDocuments):
    """Documents by their texts: p and every normalised state, or p alone."""

    def __init__(self, side: PooledSide, texts: Sequence[str], *, plain: bool) -> None:
        """Reads each text once with `side`."""
        self._states: dict[str, Tensor] = {}
        for batch, parts in states(side, texts):
            for i, part in zip(batch, parts, strict=True):
                self._states[texts[i]] = (part[:1] if plain else part).half()
        super().__init__(side, texts, torch.stack([self._states[text][0] for text in texts]).numpy())

    def read(self, texts: Sequence[str], columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return states float32 [texts, 1 + length, size], of a shorter text its last one again, and impacts."""
        _, impacts = super().read(texts, columns)
        parts = [self._states[text] for text in texts]
        padded = pad_sequence(parts, batch_first=True).float()
        for row, part in zip(padded, parts, strict=True):
            row[len(part) :] = part[-1].float()
        return padded, impacts


def settings(given: argparse.Namespace) -> TrainingConfig:
    """Return the configuration with the smaller steps."""
    config = read_config(given.config)
    steps = dataclasses.replace(
        config.steps,
        steps=given.steps,
        batch_size=given.batch_size,
        factor_learning_rate=given.rate,
        table_learning_rate=5 * given.rate,
        checkpoint_every=given.steps,
    )
    negatives = dataclasses.replace(config.negatives, per_query=given.negatives)
    return dataclasses.replace(config, steps=steps, negatives=negatives)


def main() -> None:
    """Train, and write OUT/head.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--negatives", type=int, default=7)
    parser.add_argument("--rate", type=float, default=1e-3)
    given = parser.parse_args()
    config, begun = settings(given), time.process_time()
    pairs = read_pairs(config.data)
    data_hash = pairs.hash()
    context = RunContext(device="cpu", threads=torch.get_num_threads(), say=print, cache=given.cache)
    examples = find_examples(config, pairs, data_hash, given.cache, context)
    encoder = lsr_mini("float32")
    reader = lsr_mini("bfloat16")
    for one in (encoder, reader):
        one.prepare_documents()
    side, fast = encoder.documents, reader.documents
    if not isinstance(side, PooledSide) or not isinstance(fast, PooledSide):
        raise SystemExit("lsr-mini has no pooled side any more")
    side.head = TokenHead(side.head, fitted_map(fast, pairs.documents[::8]))
    frozen = FrozenStates(fast, pairs.documents, plain=given.plain)
    model = TrainableEncoder(encoder, train_static=True, frozen=frozen)
    numbers = {"batch_size": given.batch_size, "accumulation": 1, "per_query": given.negatives}
    source = PairSource(pairs, examples, **numbers, seed=config.steps.seed)
    identity = f"{data_hash} {given.plain} {given.steps} {numbers} {given.rate}"
    hooks = Hooks(record=lambda line: print({k: round(v, 4) for k, v in line.items()}, flush=True))
    Trainer(model, source, Objective(config.loss), config.steps, given.out, identity=identity, hooks=hooks).run()
    model.finish()
    tensors = {name: value.detach().contiguous() for name, value in side.head.state_dict().items()}
    save_file({**tensors, "table": torch.from_numpy(encoder.queries.table.copy())}, given.out / "head.safetensors")
    print(f"{time.process_time() - begun:.0f} s of CPU time")


if __name__ == "__main__":
    main()
