"""The errors of encoders.

EncoderError                 the root: catching it catches all of them
├── UnknownEncoder           no encoder of that name, no checkpoint at that path
├── CheckpointError          a checkpoint that is incomplete, inconsistent or of an unknown layout
├── RemoteCodeRefused        the checkpoint contains code of its own, which is not run
├── ModelsMissing            a model is needed, and torch or transformers is not installed
├── DeviceUnavailable        the machine does not have this cuda, mps, … device
├── SettingError             a setting that the encoder does not have, or an invalid value
├── TextError                an input that is not a string; names its position
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
    """The checkpoint contains code of its own, which is not run unless that is allowed."""


class ModelsMissing(EncoderError):
    """A model is needed, and torch or transformers is not installed; the message names the command to install them."""


class DeviceUnavailable(EncoderError):
    """The machine does not have the requested device."""


class SettingError(EncoderError, ValueError):
    """A setting that the encoder does not have, or an invalid value; the message names both."""


class TextError(EncoderError, TypeError):
    """An input that is not a string; the message gives its position in the batch."""


class StatisticsMissing(EncoderError):
    """BM25 was asked before its average length or the document frequencies are known."""
