"""The document whose id is the query's: where queries are documents, it is the query itself, and best for itself.

BEIR's own evaluator leaves it out of every ranking, trec_eval never does. So it is left out for data sets in BEIR's
layout and for BEIR's ids, whatever they are called, and kept for plain topics and qrels; a choice overrides both. Where
the judgements call such a document relevant for its own query, it is kept: then the ids only happen to be equal.

A result says how many queries it concerns. 0 means that the rule changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eval.qrels import Qrels

OPTION: Final = "--own-document"


@dataclass(frozen=True)
class OwnDocumentRule:
    """Whether the query's own document is dropped; whether somebody chose that; how many are judged relevant."""

    dropped: bool
    chosen: bool
    judged: int = 0

    def warning(self, queries: int) -> str | None:
        """Return what a result over `queries` such queries has to say; None if nothing depends on the rule."""
        if self.chosen:
            if self.dropped and self.judged:
                return (
                    f"{self.judged:,} queries have the document with their own id judged relevant, and it is left out "
                    f"of their rankings ({OPTION} keep)"
                )
            return None
        if not queries:
            return None
        if self.dropped:
            return (
                f"the document with the query's own id is left out of the rankings of {queries:,} queries, as BEIR's "
                f"evaluator does ({OPTION} keep ranks it)"
            )
        reason = f", since it is judged relevant for {self.judged:,}" if self.judged else ""
        return (
            f"the document with the query's own id is in the rankings of {queries:,} queries{reason} ({OPTION} drop "
            "leaves it out)"
        )


KEPT: Final = OwnDocumentRule(dropped=False, chosen=False)


def own_document_rule(qrels: Qrels, *, beir: bool, choice: bool | None) -> OwnDocumentRule:
    """Return the rule for a data set; `beir`: it has BEIR's layout or id; `choice` True drops, False keeps."""
    judged = sum(judgements.get(query_id, 0) > 0 for query_id, judgements in qrels.items())
    if choice is not None:
        return OwnDocumentRule(choice, chosen=True, judged=judged)
    return OwnDocumentRule(beir and not judged, chosen=False, judged=judged)
