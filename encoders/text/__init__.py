"""Text before and after a model: checks, analysis, tokens, words."""
