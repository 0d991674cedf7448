"""What can go wrong in an encoder.

EncoderError                 the root: catch this to catch all
├── UnknownEncoder           no encoder of that name, no checkpoint at that path
├── CheckpointError          a checkpoint that is incomplete, inconsistent or of an unknown layout
├── RemoteCodeRefused        the checkpoint brings its own code, which is not run
├── ModelsMissing            a model is needed, and torch or transformers is not installed
├── DeviceUnavailable        cuda, mps, … that is not there
├── SettingError             a setting that the encoder does not have, or a value that makes no sense
├── TextError                an input that is not a string; says which one
└── StatisticsMissing        BM25 asked before its average length or the document frequencies are known
"""

from __future__ import annotations


class EncoderError(Exception):
    """Root of the encoders' errors."""


class UnknownEncoder(EncoderError, ValueError):
    """No encoder of that name, or no checkpoint at that path; the message names the nearest known ones."""


class CheckpointError(EncoderError):
    """A checkpoint that is incomplete, inconsistent or of an unknown layout; the message names file and reason."""


class RemoteCodeRefused(EncoderError):
    """The checkpoint brings its own code, which is not run unless allowed by name."""


class ModelsMissing(EncoderError):
    """A model is needed, and torch or transformers is not installed; the message names the command to install them."""


class DeviceUnavailable(EncoderError):
    """The device asked for is not there."""


class SettingError(EncoderError, ValueError):
    """A setting that the encoder does not have, or a value that makes no sense; the message names both."""


class TextError(EncoderError, TypeError):
    """An input that is not a string; the message gives its position in the batch."""


class StatisticsMissing(EncoderError):
    """BM25 was asked before its average length or the document frequencies are known."""
