"""`ShardedStore`: published collections in shards, as the store of one service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from lsr.collection import Collection
from lsr.errors import CollectionNotFound, CollectionReadOnly
from lsr.results import Damage
from lsr.sharding.collection import ShardedCollection
from lsr.storage.alias_file import Alias, Aliases
from lsr.store import CollectionStore, Followed

_READ_ONLY = "the collections of a router are those that it was started with: publish, then start a router"


class ShardedStore(CollectionStore):
    """The collections of one router, by name. Safe to use from many threads. There are no aliases."""

    def __init__(self, collections: Mapping[str, ShardedCollection]) -> None:
        """The collections are closed with the store."""
        self.directory = Path()
        self._collections: dict[str, ShardedCollection] = dict(collections)

    def close(self) -> None:
        """Close every collection."""
        for collection in self._collections.values():
            collection.close()

    @property
    def broken(self) -> Mapping[str, Exception]:
        """None: a router does not start with a collection that does not open."""
        return {}

    @property
    def left_out(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def renamed(self) -> Mapping[str, str]:
        """None: a collection has the name of the place where it is published."""
        return {}

    @property
    def read_only(self) -> Mapping[str, str]:
        """Those that cannot be written, with the reason."""
        reasons = {name: one.read_only for name, one in self._collections.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    @property
    def known_aliases(self) -> Aliases:
        """None."""
        return {}

    def names(self) -> list[str]:
        """The names of the collections, in alphabetical order."""
        return sorted(self._collections)

    def get(self, name: str) -> Collection:
        """Return a collection by name; raises CollectionNotFound."""
        found = self._collections.get(name)
        if found is None:
            known = ", ".join(self.names()) or "none"
            raise CollectionNotFound(f"no collection {name!r:.80}; the collections are: {known}")
        return found

    def damage(self, name: str) -> tuple[Damage, ...]:
        """Return the damage that the shards of a collection have found."""
        found = self._collections.get(name)
        return () if found is None else found.damage

    def aliases(self) -> dict[str, str]:
        """Return no alias."""
        return {}

    def alias(self, name: str) -> Alias:
        """Raise CollectionNotFound."""
        raise CollectionNotFound(f"no alias {name!r:.80}")

    def create(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: raises CollectionReadOnly."""
        raise CollectionReadOnly(_READ_ONLY)

    drop = set_alias = drop_alias = create

    def follow(self) -> Followed:
        """Return that nothing has changed."""
        return Followed()

    def take_locks(self) -> list[str]:
        """Return none: nothing is written here."""
        return []
