"""The errors of training data.

LsrError
└── CorpusUnreadable
    ├── TrainingDataError     a file without pairs, or lines without the fields; names them
    └── DatasetUnavailable    a data set on the hub that cannot be read, offline for example
"""

from __future__ import annotations

from lsr.errors import CorpusUnreadable


class TrainingDataError(CorpusUnreadable):
    """A file without pairs, lines without the fields, or fewer pairs than a batch; the message names them."""


class DatasetUnavailable(CorpusUnreadable):
    """A data set on the hub that cannot be read here."""
