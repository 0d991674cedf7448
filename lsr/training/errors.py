"""What can be wrong with training data.

LsrError
└── CorpusUnreadable
    ├── TrainingDataError     a file that holds no pairs, or lines without the fields; says which
    └── DatasetUnavailable    a data set on the hub that cannot be had, offline for instance
"""

from __future__ import annotations

from lsr.errors import CorpusUnreadable


class TrainingDataError(CorpusUnreadable):
    """A file that holds no pairs, lines without the fields, or fewer pairs than a batch; the message says which."""


class DatasetUnavailable(CorpusUnreadable):
    """A data set on the hub that cannot be had here."""
