"""Comparing systems: significance, wins and losses by query, runs side by side, and diagnosis of single queries."""
