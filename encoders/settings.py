"""The settings of one side, with the names that `load_encoder` and a model card use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from encoders.errors import SettingError
from encoders.text.conflation import RULE


class Family(StrEnum):
    """The kind of model that computes the weights."""

    MASKED_LM = "masked-lm"  # a transformer and its vocabulary head: SPLADE, SPARTA, TILDE
    MLP = "mlp"  # a transformer and one weight per input token: DeepCT, DeepImpact, uniCOIL
    STATIC = "static"  # a fixed weight per token, no model: idf, learned query weights, binary
    ECHO = "echo"  # a decoder that reads the text twice: Mistral-SPLADE
    BIDIRECTIONAL = "bidirectional"  # a decoder trained with bidirectional attention: Lion
    PROSPER = "prosper"  # a decoder's last position, and a residual that makes up for low weights of the text's terms
    EPIC = "epic"  # a vocabulary head whose positions vote with a learned importance
    EPIC_SCALED = "epic-scaled"  # ... as the LSR framework computes it: the importance scales the logits
    ONNX = "onnx"  # an exported graph with the pooling inside
    AUTOENCODER = "autoencoder"  # a dense embedding through a sparse autoencoder: CSR
    LITERAL = "literal"  # BM25 impacts times a learned factor, and a vocabulary head's expansion on top
    POOLED = "pooled"  # BM25 impacts, and an expansion from a dense retriever's pooled vector


class Pooling(StrEnum):
    """How the positions of a text become one weight per term."""

    MAX = "max"
    SUM = "sum"
    FIRST = "first"  # only the first position, the CLS token of TILDE
    # Of hidden states, for a side that computes one dense embedding first:
    MEAN = "mean"
    WEIGHTED_MEAN = "weighted_mean"  # the n-th position counts n times
    MEAN_SQRT = "mean_sqrt"  # the sum divided by the root of the length
    LAST = "last"


class Activation(StrEnum):
    """From logit to weight; all but identity are zero or more, and all increase with the logit."""

    RELU = "relu"
    LOG1P_RELU = "log1p_relu"
    LOG1P_LOG1P_RELU = "log1p_log1p_relu"  # the l0 activation of OpenSearch v3
    LOG1P_SOFTPLUS = "log1p_softplus"
    IDENTITY = "identity"


class Windows(StrEnum):
    """How a text that is longer than max_length is read."""

    TRUNCATE = "truncate"
    MAX = "max"  # encode it in pieces, and keep each term's largest weight
    SUM = "sum"  # ... or add its weights


@dataclass(frozen=True)
class SideSettings:
    """How one side computes. The values come from a checkpoint; `load_encoder` can override each."""

    family: Family = Family.MASKED_LM
    max_length: int | None = None  # tokens, special ones counted; None: the model's limit
    prompt: str = ""  # put before every text
    lower_case: bool = False  # before the tokenizer's own normalisation
    conflate: bool = False  # static, literal, pooled: whether the forms of a word share a term
    conflation_rule: int = RULE  # with conflate: the version of the rule that the weights were trained with
    pooling: Pooling = Pooling.MAX
    activation: Activation = Activation.LOG1P_RELU
    pool_special_positions: bool = True  # whether the positions of CLS, SEP, ... are pooled
    zero_special_ids: bool = False  # whether the weights of the special tokens are set to zero
    lexical: bool = False  # keep only the weights of the text's own tokens, times their static weights if there are any
    term_frequency: bool = False  # static: a token counts as often as it occurs, not once; BM25 with average_length
    logit_scale: float = 1.0  # multiplies every logit: hidden_size ** -0.25 in Lion
    max_active_dims: int | None = None  # keep only so many of the largest weights
    prune_ratio: float = 0.0  # keep only weights above this share of the largest
    collection_idf: float = 0.0  # static: how far a query's weights are adjusted to the idf of the searched collection
    missing_weight: float | None = None  # static: for tokens that idf.json does not name; None: all must be named
    windows: Windows = Windows.TRUNCATE
    cosine: bool = False  # scale every vector to length 1, after pruning, so that scores are cosines
    k1: float = 0.9  # literal, pooled, static with average_length: BM25's saturation
    b: float = 0.4  # the same: BM25's length normalisation
    average_length: float | None = None  # the same: mean number of word pieces in a document

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name)))
        allowed = _POOLINGS.get(self.family, (Pooling.MAX, Pooling.SUM, Pooling.FIRST))
        if self.pooling not in allowed:
            raise SettingError(f"family {self.family} has no pooling {self.pooling}, but {', '.join(allowed)}")
        if self.term_frequency and self.family is not Family.STATIC:
            raise SettingError(f"family {self.family} has no term_frequency: only fixed weights can count repetitions")
        if self.conflate and self.family not in _CONFLATING:
            raise SettingError(f"family {self.family} has a weight for each token: conflate cannot be set")
        if self.conflate and self.conflation_rule != RULE:
            raise SettingError(
                f"the model was trained with conflation rule {self.conflation_rule}, and this version has rule {RULE}: "
                "its terms would be others"
            )

    def json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {k: str(v) if isinstance(v, StrEnum) else v for k, v in dataclasses.asdict(self).items()}


DTYPES = ("auto", "float32", "bfloat16", "float16")


def check_dtype(dtype: object) -> None:
    """Raise SettingError unless `dtype` is one of DTYPES, or None where no precision was chosen."""
    if dtype is not None and dtype not in DTYPES:
        raise SettingError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")


_POOLINGS = {
    Family.MLP: (Pooling.MAX, Pooling.SUM),
    Family.EPIC: (Pooling.MAX,),
    Family.EPIC_SCALED: (Pooling.MAX,),
    Family.LITERAL: (Pooling.MAX,),
    Family.PROSPER: (Pooling.LAST,),
    Family.AUTOENCODER: (
        Pooling.MEAN,
        Pooling.MAX,
        Pooling.FIRST,
        Pooling.WEIGHTED_MEAN,
        Pooling.MEAN_SQRT,
        Pooling.LAST,
    ),
    Family.STATIC: tuple(Pooling),  # it pools no positions
}
_CONFLATING = (Family.STATIC, Family.LITERAL, Family.POOLED)
SIDE_SETTINGS = tuple(field.name for field in dataclasses.fields(SideSettings))


def override(settings: SideSettings, changes: Mapping[str, Any], side: str) -> SideSettings:
    """Return `settings` with `changes` of this side; a bare name is for both sides, a name with query_ or document_ for
    one."""
    own = {name: changes[name] for name in SIDE_SETTINGS if name in changes}
    own |= {name: changes[f"{side}_{name}"] for name in SIDE_SETTINGS if f"{side}_{name}" in changes}
    return dataclasses.replace(settings, **own)


_ENUMS: dict[str, type[StrEnum]] = {
    "family": Family,
    "pooling": Pooling,
    "activation": Activation,
    "windows": Windows,
}
_BOOLEANS = ("lower_case", "pool_special_positions", "zero_special_ids", "lexical", "term_frequency", "cosine",
             "conflate")  # fmt: skip


def _checked(name: str, value: Any) -> Any:
    """Return a setting's value in its own type; raise SettingError naming it and the allowed values."""
    if name in _ENUMS:
        try:
            return _ENUMS[name](value)
        except ValueError:
            raise SettingError(f"{name} must be one of {', '.join(_ENUMS[name])}; got {value!r}") from None
    if name in _BOOLEANS:
        expected = isinstance(value, bool)
    elif name == "prompt":
        expected = isinstance(value, str)
    elif name in ("max_length", "max_active_dims"):
        expected = value is None or _is_count(value)
    elif name == "conflation_rule":
        expected = _is_count(value)
    elif name == "missing_weight":
        expected = value is None or (_is_number(value) and 0.0 <= value < float("inf"))
    elif name in ("k1", "b"):
        expected = _is_number(value) and 0.0 <= value <= (1.0 if name == "b" else 1e9)
    elif name == "average_length":
        expected = value is None or (_is_number(value) and 1.0 <= value <= 1e9)
    elif name == "collection_idf":
        expected = _is_number(value) and 0.0 <= value <= 1.0
    elif name == "prune_ratio":
        expected = _is_number(value) and 0.0 <= value < 1.0
    else:
        expected = _is_number(value) and 0.0 < value < float("inf")
    if not expected:
        raise SettingError(f"{name} = {value!r} is not valid")
    return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
