"""A publication on this machine, all of whose shards are opened in this process: for tests, tools and one machine."""

from __future__ import annotations

from pathlib import Path

from lsr.sharding.asking import LocalShard, Shard
from lsr.sharding.collection import ShardedCollection
from lsr.sharding.manifest import Publication
from lsr.sharding.shard import ShardReader
from lsr.sharding.splitting import read_frequencies


def open_shards(root: Path, publication: Publication, name: str) -> ShardedCollection:
    """Open a publication whose folders lie below `root`; raises ShardMismatch, and what opening a collection raises."""
    shards: list[Shard] = [LocalShard(entry.name, ShardReader(root / entry.folder)) for entry in publication.shards]
    statistics = publication.statistics
    frequencies = read_frequencies(root / statistics.folder, statistics)
    return ShardedCollection(root / publication.common.folder, publication, shards, frequencies, name)
