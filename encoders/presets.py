"""The kinds of sides, and the published methods, each as a combination of a query side and a document side.

After Nguyen, MacAvaney and Yates, "A Unified Framework for Learned Sparse Retrieval" (ECIR 2023). A preset defines how
the two sides compute; a checkpoint contains the weights. `encoders.training.untrained` starts one from a backbone.

SIDES has the kinds of sides by name, any of which may be combined. Weights are those of the text's own tokens, except
where the kind has a vocabulary head, which expands the text with other terms:

    binary           1 for each token
    idf              a fixed weight for each token
    bm25             documents: the saturated frequency of each token
    mlp              one weight per token: DeepCT, uniCOIL, DeepImpact; repeated tokens are summed in queries
    masked-lm        a vocabulary head: SPLADE
    cls-masked-lm    the same, of the first position: TILDE
    lexical          the same, of the text's own tokens alone
    epic             the same, with the importance of each position and the quality of the text
    echo             the head of a decoder that reads the text twice: Mistral-SPLADE
    bidirectional    the head of a decoder without its causal mask: Lion
    prosper          the head of a decoder at the last position, and a residual for the text's own terms: PROSPER
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from encoders.errors import SettingError
from encoders.settings import Activation, Family, Pooling, SideSettings, Windows


@dataclass(frozen=True)
class Preset:
    """One method."""

    name: str
    queries: SideSettings
    documents: SideSettings
    paper: str


_BINARY = SideSettings(family=Family.STATIC)
_SPLADE_MAX = SideSettings()
_SPLADE_SUM = SideSettings(pooling=Pooling.SUM)
# No weight is zero, so the thousand largest of a text are kept, as in the paper.
_EPIC = SideSettings(
    family=Family.EPIC, activation=Activation.LOG1P_SOFTPLUS, pool_special_positions=False, max_active_dims=1000
)
_L0 = SideSettings(activation=Activation.LOG1P_LOG1P_RELU, zero_special_ids=True)


def _mlp(activation: Activation, pooling: Pooling = Pooling.MAX) -> SideSettings:
    return SideSettings(family=Family.MLP, activation=activation, pooling=pooling, pool_special_positions=False)


_ALL = (
    Preset("deepct", _mlp(Activation.IDENTITY), _mlp(Activation.IDENTITY), "Dai & Callan 2019, arXiv:1910.10687"),
    Preset("unicoil", _mlp(Activation.RELU, Pooling.SUM), _mlp(Activation.RELU), "Lin & Ma 2021, arXiv:2106.14807"),
    # For documents that doc2query or TILDE has expanded.
    Preset("deepimpact", _BINARY, _mlp(Activation.RELU), "Mallia et al. 2021, arXiv:2104.12016"),
    Preset("tildev2", _BINARY, _mlp(Activation.RELU), "Zhuang & Zuccon 2021, arXiv:2108.08513"),
    Preset(
        "epic",
        _mlp(Activation.LOG1P_SOFTPLUS, Pooling.SUM),
        _EPIC,
        "MacAvaney et al. 2020, arXiv:2004.14245",
    ),
    Preset("sparta", _BINARY, SideSettings(), "Zhao et al. 2021, arXiv:2009.13013"),
    Preset("tilde", _BINARY, SideSettings(pooling=Pooling.FIRST), "Zhuang & Zuccon 2021, SIGIR"),
    Preset("splade", _SPLADE_SUM, _SPLADE_SUM, "Formal et al. 2021, arXiv:2107.05720"),
    Preset("splade-max", _SPLADE_MAX, _SPLADE_MAX, "Formal et al. 2021, arXiv:2109.10086"),
    Preset("splade-doc", _BINARY, _SPLADE_MAX, "Formal et al. 2021, arXiv:2109.10086"),
    Preset("splade-lexical", _SPLADE_MAX, SideSettings(lexical=True), "Formal et al. 2021, arXiv:2109.10086"),
    Preset("inference-free", _BINARY, SideSettings(zero_special_ids=True), "Geng et al. 2024, arXiv:2411.04403"),
    Preset("inference-free-l0", _BINARY, _L0, "Shen et al. 2025, arXiv:2504.14839"),
)
PRESETS = {preset.name: preset for preset in _ALL}


class SideKind(NamedTuple):
    """A kind of side: its settings where it encodes queries, and where it encodes documents; None: it does not."""

    queries: SideSettings | None
    documents: SideSettings | None
    head: str | None  # how the architecture of a backbone with its vocabulary head ends; None: any


_MASKED_LM, _DECODER = "ForMaskedLM", "ForCausalLM"
_PROSPER = SideSettings(family=Family.PROSPER, pooling=Pooling.LAST)


def _both(settings: SideSettings, head: str | None) -> SideKind:
    return SideKind(settings, settings, head)


SIDES = {
    "binary": _both(_BINARY, None),
    "idf": _both(SideSettings(family=Family.STATIC, zero_special_ids=True), None),
    # Its queries are `idf`. The whole text counts; average_length is that of the training documents.
    "bm25": SideKind(
        None,
        SideSettings(family=Family.STATIC, zero_special_ids=True, term_frequency=True, windows=Windows.MAX),
        None,
    ),
    "mlp": SideKind(_mlp(Activation.RELU, Pooling.SUM), _mlp(Activation.RELU), None),
    "masked-lm": _both(_SPLADE_MAX, _MASKED_LM),
    "cls-masked-lm": _both(SideSettings(pooling=Pooling.FIRST), _MASKED_LM),
    "lexical": _both(SideSettings(lexical=True), _MASKED_LM),
    "epic": _both(_EPIC, _MASKED_LM),
    "echo": _both(SideSettings(family=Family.ECHO), _DECODER),
    "bidirectional": _both(SideSettings(family=Family.BIDIRECTIONAL), _DECODER),
    "prosper": SideKind(replace(_PROSPER, cosine=True), _PROSPER, _DECODER),
}


def preset(name: str) -> Preset:
    """Return the preset of that name; raise SettingError, which lists the known ones."""
    if name not in PRESETS:
        raise SettingError(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]
