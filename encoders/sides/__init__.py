"""One side of an encoder: how queries, or documents, become weights. A family of models a file.

The framework of Nguyen, MacAvaney and Yates (ECIR 2023): an encoder is a query side, a document side, and the pooling
of each. Every published method is a combination: see encoders/presets.py.
"""
