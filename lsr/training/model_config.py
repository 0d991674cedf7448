"""[model] of a training run's configuration: what is trained.

Either `encoder`, which is trained further, or `backbone`, from which training starts, with

    method                   literal (the default), pooled, or the name of a preset (encoders.presets)
    queries and documents    a kind of side each (encoders.presets.SIDES); documents may also be literal or pooled
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, field

from encoders.presets import PRESETS, SIDES
from lsr.errors import SettingsError

LITERAL = "literal"
POOLED = "pooled"
FROM_CORPUS = "corpus"


@dataclass(frozen=True)
class ModelConfig:
    """What is trained."""

    backbone: str | None = None
    encoder: str | None = None
    method: str | None = None  # literal, pooled for a dense retriever, or a preset's name; None: literal, or the sides
    queries: str | None = None  # the kind of query side, in place of a method
    documents: str | None = None  # the kind of document side
    separate: bool = False  # whether queries and documents have a model each, where their kinds could share one
    max_length: int = field(default=256, metadata={"minimum": 8})
    k1: float = field(default=0.9, metadata={"minimum": 0.0})
    b: float = field(default=0.4, metadata={"minimum": 0.0, "maximum": 1.0})
    expansion_terms: float = field(default=0.0, metadata={"minimum": 0.0})  # of a document, at the start
    warm_up_steps: int = field(default=0, metadata={"minimum": 0})  # of masked-LM training, where the head is new
    warm_up_batch: int = field(default=32, metadata={"minimum": 1})
    warm_up_learning_rate: float = field(default=1e-4, metadata={"above": 0.0})
    sample: int = field(default=256, metadata={"minimum": 1})  # texts for solving the new head
    idf: str = FROM_CORPUS  # the query side: from the training documents, or an idf.json
    general_idf: str | None = None  # an idf.json of other texts; the mean with `idf` is used
    conflate: bool = False  # literal, pooled: the forms of a word share a term; stop words and punctuation have none
    piece_weight: float = field(
        default=1.0, metadata={"minimum": 0.0}
    )  # with conflate: factor of a piece within a word
    # literal, pooled: how far a query's weights are adjusted to the idf of the searched collection
    collection_idf: float = field(default=0.0, metadata={"minimum": 0.0, "maximum": 1.0})
    # literal, pooled: BM25's k1 of a term that a query repeats, which is trained with; 0: repetitions do not count
    query_saturation: float = field(default=0.0, metadata={"minimum": 0.0})
    train_queries: bool = False  # whether the query side's table is trained too
    train_documents: bool = False  # the same for a table of document weights: binary, idf, bm25
    # Number of a document's largest weights that are kept, and of a query's; None: all, or as the method has it.
    max_active_dims: int | None = field(default=None, metadata={"minimum": 1})
    query_max_active_dims: int | None = field(default=None, metadata={"minimum": 1})
    # pooled: numbers in the vectors of a static body that takes the backbone's place; None: the backbone stays
    static_size: int | None = field(default=None, metadata={"minimum": 1})
    # pooled: the expansion at the start, see encoders.training.pooled_start
    expansion_scale: float = field(default=2.0, metadata={"above": 0.0})
    expansion_margin: float = field(default=0.10, metadata={"minimum": 0.0, "maximum": 1.0})
    train_body: bool = False  # pooled: whether the transformer is trained too, which needs a GPU
    # LoRA: the rank of the adapters that are trained in place of the backbone's own weights; None: without adapters.
    lora_rank: int | None = field(default=None, metadata={"minimum": 1})
    lora_alpha: int | None = field(default=None, metadata={"minimum": 1})  # None: twice the rank
    lora_dropout: float = field(default=0.0, metadata={"minimum": 0.0, "maximum": 0.99})
    lora_targets: tuple[str, ...] = ()  # the ends of the layers' names, such as q_proj; empty: all linear layers
    int8: bool = False  # pooled: whether the result is stored with one byte per weight

    @property
    def starts_at_bm25(self) -> bool:
        """Whether the document side is a literal or a pooled one."""
        return self.start in (LITERAL, POOLED)

    @property
    def start(self) -> str:
        """The method, or the kind of document side, that decides how training starts."""
        return self.documents or self.method or LITERAL

    def check(self) -> None:
        """Raise SettingsError, which names the key, for settings that do not fit together."""
        if (self.backbone is None) == (self.encoder is None):
            raise SettingsError("[model] needs either a backbone to start from or an encoder to train further")
        if self.static_size is not None and (self.start != POOLED or self.backbone is None):
            raise SettingsError("[model] static_size needs the method pooled and a backbone to learn from")
        if self.query_saturation and not self.starts_at_bm25:
            raise SettingsError("[model] query_saturation is for the methods literal and pooled")
        for name in ("expansion_scale", "expansion_margin"):
            if getattr(self, name) != getattr(ModelConfig, name) and self.start != POOLED:
                raise SettingsError(f"[model] {name} is for the method pooled")
        if self.train_body and self.start != POOLED:
            raise SettingsError("[model] train_body is for the method pooled; all others train the body")
        if self.lora_rank is None and (self.lora_alpha is not None or self.lora_targets or self.lora_dropout):
            raise SettingsError("[model] lora_alpha, lora_dropout and lora_targets need lora_rank")
        if self.lora_rank is not None and (self.backbone is None or self.starts_at_bm25):
            raise SettingsError("[model] lora_rank needs a backbone, and a method other than literal and pooled")
        if self.queries is None and self.documents is None:
            if self.method is not None:
                _check_name("method", self.method, (LITERAL, POOLED, *PRESETS))
            return
        if self.queries is None or self.documents is None:
            missing = "queries" if self.queries is None else "documents"
            raise SettingsError(f"[model] {missing} is missing: give both queries and documents, or a method")
        for other in ("method", "encoder"):
            if getattr(self, other) is not None:
                raise SettingsError(f"[model] {other} cannot be combined with queries and documents")
        self._check_sides(self.queries, self.documents)

    def _check_sides(self, queries: str, documents: str) -> None:
        _check_name("queries", queries, [name for name, kind in SIDES.items() if kind.queries is not None])
        _check_name("documents", documents, (LITERAL, POOLED, *(n for n, kind in SIDES.items() if kind.documents)))
        tables = {"queries": self.has_query_table, "documents": documents in _TABLES}
        for side, trained in (("queries", self.train_queries), ("documents", self.train_documents)):
            if trained and not tables[side]:
                raise SettingsError(f"[model] train_{side} needs {side} of a table of weights: {', '.join(_TABLES)}")
        if all(tables.values()) and not (self.train_queries or self.train_documents):
            raise SettingsError(
                f"[model] queries = {queries!r} and documents = {documents!r} have nothing to train; set train_queries "
                "or train_documents"
            )
        for name in ("conflate", "collection_idf", "query_saturation"):
            if getattr(self, name) and not (self.starts_at_bm25 and queries == "idf"):
                raise SettingsError(f"[model] {name} needs queries = 'idf', and documents = 'literal' or 'pooled'")

    @property
    def has_query_table(self) -> bool:
        """Whether queries are looked up in a table of weights, where `queries` names their kind."""
        return self.queries in _TABLES


_TABLES = ("binary", "idf", "bm25")


def _check_name(key: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(known)}"
        raise SettingsError(f"[model] {key} = {value!r} is not known; {hint}")
