"""A training run's configuration: a TOML file, checked before anything is read.

    [model]        lsr.training.model_config.ModelConfig
    [[data]]       pairs of query and document; repeated
    [negatives]    how many candidates are mined, and how many of them a step uses per query
    [teachers]     whose scores are distilled
    [loss]         encoders.training.settings.LossSettings
    [steps]        encoders.training.settings.StepSettings
    [evaluation]   development sets, never test sets

A relative path is relative to the configuration file. `package:NAME/PATH` is a folder in an installed Python package.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from encoders.training.settings import LossSettings, Regulariser, StepSettings
from lsr.errors import SettingsError
from lsr.training.model_config import FROM_CORPUS, ModelConfig

PACKAGE = "package:"


class Sentence(StrEnum):
    """Which sentence of a document becomes a query."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True)
class DataConfig:
    """One source of pairs: a JSONL file (.gz, .zst), a BEIR folder, `hub:NAME`, or a corpus without queries."""

    path: str
    query: tuple[str, ...] = ("query",)  # fields, joined by a blank, without empty and repeated ones
    document: tuple[str, ...] = ("text",)  # fields, joined by a blank, without empty ones
    where: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # field -> accepted values, * ? [] as in file names
    limit: int | None = field(default=None, metadata={"minimum": 1})  # pairs, from the start of the file
    split: str = "train"  # of the judgements of a BEIR folder, or of a hub data set
    unlabelled: bool = False  # a corpus: its titles, or else first sentences, are the queries
    sentence: Sentence | None = None  # this sentence of the document is a query for it too


@dataclass(frozen=True)
class NegativesConfig:
    """Candidates per query: the best of each kind that are not its positives."""

    bm25: int = field(default=30, metadata={"minimum": 0})
    dense: int = field(default=0, metadata={"minimum": 0})  # by the first dense teacher
    per_query: int = field(default=7, metadata={"minimum": 1})  # drawn again in each step


@dataclass(frozen=True)
class TeachersConfig:
    """Folders or names; several are combined by encoders.training.losses.ensemble."""

    dense: tuple[str, ...] = ()  # sentence-transformers layout
    sparse: tuple[str, ...] = ()  # names or paths for load_encoder: bm25, a checkpoint


@dataclass(frozen=True)
class EvaluationConfig:
    """Development sets. `held_out` queries and their documents are removed from the data."""

    held_out: int = field(default=0, metadata={"minimum": 0})
    documents: int = field(default=5000, metadata={"minimum": 1})  # held out in all, including the queries' own
    # At most this share of the queries and of the documents is held out.
    share: float = field(default=1.0, metadata={"above": 0.0, "maximum": 1.0})
    datasets: tuple[str, ...] = ()  # BEIR folders; the held-out set, or else the first folder, selects the best model
    split: str = "dev"
    measures: tuple[str, ...] = ("nDCG@10",)
    baseline: str | None = "bm25"  # an encoder evaluated once, to compare with


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run."""

    model: ModelConfig
    data: tuple[DataConfig, ...]
    negatives: NegativesConfig = NegativesConfig()
    teachers: TeachersConfig = TeachersConfig()
    loss: LossSettings = field(default_factory=LossSettings)
    steps: StepSettings = field(default_factory=StepSettings)
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        self.model.check()
        if not self.data:
            raise SettingsError("there is no data: give [[data]] with a path")
        if not (self.loss.infonce or self.loss.needs_teacher):
            raise SettingsError("[loss] has no ranking loss: give infonce, kl or margin_mse a weight above 0")
        if self.loss.query_regulariser is Regulariser.IDF_FLOPS:
            raise SettingsError(
                "[loss] query_regulariser = 'idf-flops' is for documents; flops, l1 and none are for both"
            )
        if self.loss.needs_teacher and not (self.teachers.dense or self.teachers.sparse):
            raise SettingsError("[loss] kl and margin_mse distil a teacher: name one in [teachers] dense or sparse")
        if self.negatives.dense and not self.teachers.dense:
            raise SettingsError("[negatives] dense needs a dense teacher in [teachers]")
        if self.negatives.per_query > self.negatives.bm25 + self.negatives.dense:
            raise SettingsError(
                f"[negatives] per_query is {self.negatives.per_query}, but only "
                f"{self.negatives.bm25 + self.negatives.dense} are mined"
            )
        if self.evaluation.held_out > self.evaluation.documents:
            raise SettingsError("[evaluation] documents is below held_out; each query has its own document")


def read_config(path: Path) -> TrainingConfig:
    """Return the file's configuration; raise SettingsError naming file, table and field."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    try:
        return _located(parse_config(content), path.parent)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def parse_config(content: Mapping[str, Any]) -> TrainingConfig:
    """Return the configuration of decoded TOML; raise SettingsError naming table and field."""
    sections = {item.name: item for item in dataclasses.fields(TrainingConfig)}
    _refuse_unknown(content, list(sections), "table")
    types = get_type_hints(TrainingConfig)
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name == "data":
            if not isinstance(value, list):
                raise SettingsError("data is a list of tables: write [[data]]")
            values[name] = tuple(_section(DataConfig, entry, f"[[data]] {i + 1}") for i, entry in enumerate(value))
        else:
            values[name] = _section(types[name], value, f"[{name}]")
    return TrainingConfig(**{"model": ModelConfig(), "data": (), **values})


def find_folder(spec: str) -> Path:
    """Return the folder that a path or `package:NAME/PATH` names; raise SettingsError if there is none."""
    if not spec.startswith(PACKAGE):
        path = Path(spec).expanduser()
        if not path.is_dir():
            raise SettingsError(f"{spec}: there is no such folder")
        return path.resolve()
    package, _, rest = spec.removeprefix(PACKAGE).partition("/")
    # For a dotted name its parents would be imported; a top-level one is only looked for.
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise SettingsError(f"{spec}: the Python package {package!r} is not installed")
    path = Path(found.submodule_search_locations[0], rest)
    if not path.is_dir():
        raise SettingsError(f"{spec}: the package has no folder {rest!r}")
    return path.resolve()


def as_json(config: TrainingConfig) -> dict[str, Any]:
    """Return the configuration as JSON values."""
    return dataclasses.asdict(config)


def _section(cls: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is a table, not {value!r}")
    known = {item.name: item for item in dataclasses.fields(cls)}
    _refuse_unknown(value, list(known), f"{where} setting")
    types = get_type_hints(cls)
    made = {name: _value(types[name], known[name].metadata, given, f"{where} {name}") for name, given in value.items()}
    missing = [
        name
        for name, item in known.items()
        if name not in made and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingsError(f"{where} lacks {', '.join(missing)}")
    return cls(**made)


def _refuse_unknown(given: Mapping[str, Any], known: list[str], what: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(known)}"
            raise SettingsError(f"unknown {what} {name!r}; {hint}")


def _value(declared: Any, limits: Mapping[str, Any], value: Any, where: str) -> Any:
    options = [one for one in get_args(declared) if one is not type(None)] if type(None) in get_args(declared) else []
    kind = options[0] if options else declared
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | kind):
            raise SettingsError(f"{where} = {value!r} is not {'an integer' if kind is int else 'a number'}")
        low, above, high = (limits.get(name) for name in ("minimum", "above", "maximum"))
        # Written so that NaN, for which every comparison is false, is out of range.
        inside = (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high)
        if not inside or not value < float("inf"):
            bounds = [f"at least {low}"] * (low is not None) + [f"above {above}"] * (above is not None)
            bounds += [f"at most {high}"] * (high is not None)
            raise SettingsError(f"{where} = {value!r} is out of range: {', '.join(bounds) or 'finite'}")
        return kind(value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value not in list(kind):
            raise SettingsError(f"{where} = {value!r} is not one of {', '.join(kind)}")
        return kind(value)
    if kind in (str, bool):
        if not isinstance(value, kind):
            raise SettingsError(f"{where} = {value!r} is not {'a text' if kind is str else 'true or false'}")
        return value
    if kind == tuple[int, ...]:
        return tuple(_value(int, limits, one, where) for one in (value if isinstance(value, list) else [value]))
    if kind == tuple[str, ...]:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise SettingsError(f"{where} = {value!r} is not a list of texts")
        return tuple(listed)
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is a table of field = [values]")
    return {name: _value(tuple[str, ...], {}, one, f"{where}.{name}") for name, one in value.items()}


def _located(config: TrainingConfig, base: Path) -> TrainingConfig:
    """Return the configuration with relative paths, where they exist, made relative to `base`."""

    def place(spec: str) -> str:
        candidate = base / Path(spec).expanduser()
        return spec if spec.startswith((PACKAGE, "hub:")) or not candidate.exists() else str(candidate)

    def all_of(specs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(place, specs))

    model = config.model
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            model,
            backbone=model.backbone and place(model.backbone),
            encoder=model.encoder and place(model.encoder),
            idf=model.idf if model.idf == FROM_CORPUS else place(model.idf),
            general_idf=model.general_idf and place(model.general_idf),
        ),
        data=tuple(dataclasses.replace(one, path=place(one.path)) for one in config.data),
        teachers=TeachersConfig(dense=all_of(config.teachers.dense), sparse=all_of(config.teachers.sparse)),
        evaluation=dataclasses.replace(config.evaluation, datasets=all_of(config.evaluation.datasets)),
    )
