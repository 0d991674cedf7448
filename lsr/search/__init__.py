"""Answering a query: encode it, filter, rank, explain."""
