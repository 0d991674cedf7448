"""Measures of a ranking: their names, and their values through ranx."""

from eval.measures.names import DEFAULT_MEASURES, Measure, parse_measure, parse_measures, with_relevance
from eval.measures.scoring import score

__all__ = ["DEFAULT_MEASURES", "Measure", "parse_measure", "parse_measures", "score", "with_relevance"]
