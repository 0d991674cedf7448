"""Model cards: what is known of each published checkpoint, before anything is downloaded.

The data are in cards.toml. A card's short name, or the hub's own, makes `load_encoder` find the checkpoint and apply
the settings that it does not say of itself.
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
    folder: str | None = None  # where it lies in this package, for a model that comes with it
    query_checkpoint: str | None = None  # where the query side is a repository of its own
    parameters: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    source: str | None = None  # of the figures
    remote_code: bool = False  # it brings its own code, which is not run
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
    """Return where a model that comes with this package lies; None for the others."""
    return None if card.folder is None else Path(__file__).parent / card.folder


def known_names() -> list[str]:
    """Return every name that a card answers to."""
    return [name for card in model_cards().values() for name in (card.name, card.checkpoint) if name]
