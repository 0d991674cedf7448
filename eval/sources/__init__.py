"""Readers of an evaluation's inputs: topics, BEIR folders, ir-datasets."""
