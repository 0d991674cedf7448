"""Readers for what an evaluation is made of: topics, judgements, BEIR folders, ir-datasets."""
