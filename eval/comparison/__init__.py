"""Comparing systems: significance, wins and losses by query, runs side by side, and why a document was found."""
