"""What the exploring routes answer, as models for the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel

from service.messages.responses import TimingsModel


class SuggestedWordModel(BaseModel):
    """A word, and how many of the sampled documents hold it."""

    word: str
    documents: int


class SuggestModel(BaseModel):
    """Titles and words that continue what was typed."""

    titles: list[str]
    words: list[SuggestedWordModel]


class TermWeightModel(BaseModel):
    """A term of a document's vector."""

    token: str
    weight: float


class WordWeightModel(BaseModel):
    """A word of the document and those of the vector's terms that it holds; `word` is null for a term of no word."""

    word: str | None
    weight: float
    tokens: list[str]


class DocumentVectorModel(BaseModel):
    """A document's vector: `terms` and `words` of a sparse one, `values` of a dense one."""

    id: str
    using: str
    dense: bool
    terms: list[TermWeightModel] | None = None
    words: list[WordWeightModel] | None = None
    values: list[float] | None = None


class CurvePointModel(BaseModel):
    """A setting: its mean recall on the sample, what that is safely above, and the counted microseconds per query."""

    recall: float
    floor: float
    cost_us: float


class CurveModel(BaseModel):
    """The measured settings by k; `source` says which queries they were measured on.

    `usual` is the setting of a search without `params`; empty where an older version measured.
    """

    using: str
    source: str | None
    curves: dict[str, list[CurvePointModel]]
    usual: dict[str, CurvePointModel]


class SlowSearchModel(BaseModel):
    """A slow search; times are in milliseconds, `terms` counts those of the query."""

    at: str
    took_ms: float
    timings: TimingsModel
    k: int
    terms: int
    request_id: str


class SlowModel(BaseModel):
    """The last slow searches, the newest first."""

    slower_than_ms: float
    searches: list[SlowSearchModel]
