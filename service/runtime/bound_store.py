"""The collections as the holder of a bound API key sees them: some of them, each with the documents of a filter.

A request with such a key gets this store in place of the service's own (state.py), so every route sees the same part,
without knowing of it. A filter makes a collection a `Part`, see lsr/part.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from lsr.collection import Collection
from lsr.errors import CollectionNotFound, QueryError
from lsr.part import Part
from lsr.results import Damage
from lsr.storage.alias_file import Alias, Aliases
from lsr.store import CollectionStore
from service.auth import ApiKey
from service.problems import ProblemError

_KEPT_PARTS: Final = 1_000


class BoundStore:
    """What a bound key may see of a store. Has the methods of `CollectionStore` that routes use."""

    def __init__(self, store: CollectionStore, key: ApiKey) -> None:
        self._store = store
        self._key = key
        self._parts: dict[str, Part] = {}

    def names(self) -> list[str]:
        """The names of the open collections that the key is bound to, in alphabetical order."""
        return [name for name in self._store.names() if self.sees(name)]

    def get(self, name: str) -> Collection | Part:
        """Return a collection by name or alias, or the part that the key's filter leaves of it.

        Raises a 403 problem for another collection, whether it exists or not, and for one that the filter does not fit.
        """
        alias = self._store.known_aliases.get(name)
        target = name if alias is None else alias.collection
        if not self.sees(target):
            raise ProblemError(
                403, "forbidden", "Key not bound", f"this API key is not bound to a collection {name!r:.80}"
            )
        try:
            whole = self._store.get(target)
        except CollectionNotFound:  # its message names all collections
            raise CollectionNotFound(f"no collection {name!r:.80}") from None
        condition = self._key.condition
        if condition is None:
            return whole
        part = self._parts.get(target)
        if part is None or part.whole is not whole:
            part = self._part(whole, condition)
            if len(self._parts) >= _KEPT_PARTS:
                self._parts.clear()
            self._parts[target] = part
        return part

    @property
    def broken(self) -> Mapping[str, Exception]:
        """The collections of the key that failed to open."""
        return {name: error for name, error in self._store.broken.items() if self.sees(name)}

    @property
    def left_out(self) -> Mapping[str, str]:
        """The folders that are left out: the operator's business."""
        return {}

    @property
    def read_only(self) -> Mapping[str, str]:
        """The collections of the key to which nothing can be written now."""
        return {name: reason for name, reason in self._store.read_only.items() if self.sees(name)}

    def damage(self, name: str) -> tuple[Damage, ...]:
        """Return the damage found in a collection of the key."""
        return self._store.damage(name) if self.sees(name) else ()

    @property
    def known_aliases(self) -> Aliases:
        """The aliases of the key's collections; what they stood for before is left out."""
        found = self._store.known_aliases.items()
        return {name: Alias(alias.collection) for name, alias in found if self.sees(alias.collection)}

    def alias(self, name: str) -> Alias:
        """Return an alias of one of the key's collections; raises CollectionNotFound, a 403 problem."""
        found = self.known_aliases.get(name)
        return self._refuse() if found is None else found

    def create(self, *_: object, **__: object) -> NoReturn:
        """Refuse: a bound key does not change which collections there are."""
        self._refuse()

    drop = set_alias = drop_alias = create

    def sees(self, name: str) -> bool:
        """Whether the key is bound to a collection: by its name, or by that of an alias that points to it now."""
        names = self._key.collections
        if names is None or name in names:
            return True
        aliases = self._store.known_aliases
        return any(one in aliases and aliases[one].collection == name for one in names)

    def _part(self, whole: Collection, condition: Mapping[str, Any]) -> Part:
        try:
            return Part(whole, condition)
        except QueryError as error:
            raise ProblemError(
                403,
                "forbidden",
                "Filter does not fit",
                f"the filter of this API key does not fit the collection {whole.name!r}: {error}",
            ) from None

    def _refuse(self) -> NoReturn:
        raise ProblemError(403, "forbidden", "Key not bound", "this API key is bound, and may not do that")


Store = CollectionStore | BoundStore
