"""One side of an encoder: how queries, or documents, become weights. One file per family of models.

The framework of Nguyen, MacAvaney and Yates (ECIR 2023): an encoder is a query side, a document side, and the pooling
of each. Every published method is such a combination: see encoders/presets.py. Of these files only those of sides with
a model import torch.
"""
