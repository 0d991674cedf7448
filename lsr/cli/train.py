"""`lsr train`: trains a sparse encoder on pairs, or on a corpus without labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lsr.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from lsr.training.config import TrainingConfig
    from lsr.training.run import Report


def train(
    config: Annotated[
        Path | None, typer.Argument(help="TOML file, see docs/training.md.", metavar="CONFIG.toml", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run; an existing run continues.", metavar="DIR")
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="Instead of CONFIG: adapt to these documents, without labels.", metavar="FILE|DIR"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="With --corpus: the encoder to adapt, also a teacher.  [default: lsr-mini]", metavar="NAME|PATH"
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="With --corpus, instead of --encoder: the backbone to start from.", metavar="PATH"),
    ] = None,
    dense: Annotated[
        str | None, typer.Option(help="With --corpus: a dense teacher, sentence-transformers layout.", metavar="PATH")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for vectors, negatives and the teachers' scores; default: in the run.", metavar="DIR"
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps; overrides CONFIG.", min=1, metavar="N")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.", metavar="NAME")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads; default: all cores.", min=1, metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Train a sparse encoder.

    The model is saved in DIR/model; load it with --encoder DIR/model. To continue a run that was stopped, repeat the
    command. DIR/log.jsonl is a log for plots.
    """
    import dataclasses
    import os

    from encoders.models_extra import require_models

    require_models()
    import torch

    from lsr.cli.output import progress_bar, say
    from lsr.training.adaptation import adaptation
    from lsr.training.config import read_config
    from lsr.training.context import RunContext
    from lsr.training.run import train as run

    if (config is None) == (corpus is None):
        raise typer.BadParameter("give either CONFIG.toml or --corpus", param_hint="CONFIG.toml")
    if out is None:
        raise typer.BadParameter("give the folder of the run", param_hint="--out")
    settings: TrainingConfig
    if config is not None:
        for name, value in (("--encoder", encoder), ("--backbone", backbone), ("--dense", dense)):
            if value is not None:
                raise typer.BadParameter("works with --corpus only; set it in CONFIG.toml", param_hint=name)
        settings = read_config(config)
    else:
        settings = adaptation(str(corpus), encoder=encoder, backbone=backbone, dense=dense)
    if steps is not None:
        settings = dataclasses.replace(settings, steps=dataclasses.replace(settings.steps, steps=steps))
    wanted = threads or os.cpu_count() or 1
    torch.set_num_threads(wanted)
    with progress_bar() as progress:
        report = run(
            settings,
            out,
            RunContext(
                device=device,
                threads=wanted,
                say=say,
                progress=progress,
                evaluate=evaluate_encoder,
                cache=cache,
            ),
        )
    print_report(report, json=json)
    return 0


def evaluate_encoder(encoder: str, dataset: Path, split: str, measures: tuple[str, ...]) -> Mapping[str, float]:
    """Index the data set's documents with the encoder and search exactly, like `lsr eval`."""
    from eval import evaluate

    return evaluate(str(dataset), encoder=encoder, split=split, measures=measures).means


def print_report(report: Report, *, json: bool) -> None:
    """Print the model's path and its results."""
    outcome = report.outcome
    content = {
        "model": str(report.model),
        "pairs": report.pairs,
        "documents": report.documents,
        "steps": outcome.steps,
        "baseline": dict(report.baseline),
        "start": dict(outcome.first),
        "end": dict(outcome.last),
        "best": outcome.best,
        "best_step": outcome.best_step,
    }
    if json:
        print_json(content)
        return
    print(f"model in {report.model}: {outcome.steps:,} steps on {report.pairs:,} pairs")
    for name, value in outcome.last.items():
        compared = f", baseline {report.baseline[name]:.4f}" if name in report.baseline else ""
        print(f"{name}: {outcome.first[name]:.4f} at the start, {value:.4f} at the end{compared}")
    if outcome.best_step is not None:
        print(f"the model is that of step {outcome.best_step:,}, the best on the first development set")
