"""Model cards: the facts about each published checkpoint, before anything is downloaded.

The data are in cards.toml. With a card's short name, or its name on the hub, `load_encoder` finds the checkpoint and
applies the settings that the checkpoint itself does not contain.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """One published checkpoint."""

    name: str
    family: str
    licence: str
    checkpoint: str | None = None  # its name on the model hub
    folder: str | None = None  # in this package, for a model that is part of it
    query_checkpoint: str | None = None  # where the query side is a separate repository
    parameters: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    source: str | None = None  # of the figures
    remote_code: bool = False  # it contains code of its own, which is not run
    note: str = ""


@cache
def model_cards() -> Mapping[str, ModelCard]:
    """Return all cards by name, in the order of the file."""
    content = tomllib.loads(resources.files("encoders").joinpath("cards.toml").read_text(encoding="utf-8"))
    cards: dict[str, ModelCard] = {}
    for entry in content["card"]:
        frozen: dict[str, Any] = {
            key: MappingProxyType(value) if isinstance(value, dict) else value for key, value in entry.items()
        }
        cards[entry["name"]] = ModelCard(**frozen)
    return MappingProxyType(cards)


def find_card(name: str) -> ModelCard | None:
    """Return the card with that short name or that name on the hub."""
    cards = model_cards()
    return cards.get(name) or next((card for card in cards.values() if card.checkpoint == name), None)


def shipped_folder(card: ModelCard) -> Path | None:
    """Return the folder of a model that is part of this package; None for the others."""
    return None if card.folder is None else Path(__file__).parent / card.folder


def known_names() -> list[str]:
    """Return every name by which a card is found."""
    return [name for card in model_cards().values() for name in (card.name, card.checkpoint) if name]
