"""Shards in an object store: a real S3 server on this machine, cut connections, unfinished uploads."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import ObjectStoreError
from lsr.sharding.cache import ShardCache
from lsr.sharding.digest import digest_of
from lsr.sharding.manifest import MANIFEST_FILE, Publication
from lsr.sharding.places import Place, place_of
from lsr.sharding.publishing import find_published, publish, published
from lsr.sharding.splitting import split_collection
from lsr.vectors import VectorConfig

moto_server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3,server]'")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    before = dict(os.environ)
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true")
    yield server.get_host_and_port()[1]
    os.environ.clear()
    os.environ.update(before)
    server.stop()


@pytest.fixture
def place(port: int, tmp_path: Path) -> Place:
    """An empty place in a bucket of its own."""
    import pyarrow.fs as pafs

    bucket = f"b{abs(hash(str(tmp_path))) % 10**9}"
    files = pafs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True)
    files.create_dir(bucket)
    return place_of(f"s3://{bucket}/papers?endpoint_override=127.0.0.1:{port}&scheme=http")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Publication]:
    """Two shards in a folder."""
    folder = tmp_path_factory.mktemp("source")
    with Collection.create(folder / "c", vectors={"default": VectorConfig("bm25")}) as collection:
        collection.write([Document(f"d{number}", text=f"stone {number} river {number % 7}") for number in range(200)])
        collection.seal()
    return folder, split_collection(folder / "c", folder, 2)


def test_a_publication_is_read_back_from_an_object_store(place: Place, source: Any, tmp_path: Path) -> None:
    folder, publication = source
    assert find_published(place) is None
    publish(place, publication, folder)
    assert published(place) == publication
    cache = ShardCache(tmp_path / "cache")
    entry = publication.shards[1]
    held = cache.open(place, entry)
    assert digest_of(held.path) == entry.digest
    with Collection.open(held.path) as shard:
        assert len(shard.search("stone", k=300).hits) == entry.documents
    held.close()
    # The second time nothing is copied.
    again = ShardCache(tmp_path / "cache").open(place_of("s3://nowhere/at/all?endpoint_override=127.0.0.1:1"), entry)
    assert again.path == held.path
    again.close()


def test_no_listing_is_read_so_one_that_is_not_up_to_date_harms_nothing(
    place: Place, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, publication = source
    asked: list[Any] = []
    original = place._files

    class NothingListed:
        """A file system whose listings are always empty."""

        def get_file_info(self, what: Any) -> Any:
            asked.append(what)
            return original.get_file_info(what) if isinstance(what, str) else []

        def __getattr__(self, name: str) -> Any:
            return getattr(original, name)

    monkeypatch.setattr(place, "_files", NothingListed())
    publish(place, publication, folder)
    held = ShardCache(tmp_path / "cache").open(place, publication.shards[0])
    assert digest_of(held.path) == publication.shards[0].digest
    assert asked
    assert all(isinstance(what, str) for what in asked)
    held.close()


def test_an_upload_that_was_not_finished_publishes_nothing(
    place: Place, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, publication = source
    original = Place.upload

    def cut(self: Place, file: Path, path: str) -> None:
        if path.endswith("documents.arrow"):
            short = file.with_name("short")
            short.write_bytes(file.read_bytes()[:-10])
            try:
                original(self, short, path)  # what arrives is shorter than the file
                self._check_size(path, file.stat().st_size)
            finally:
                short.unlink()
        else:
            original(self, file, path)

    monkeypatch.setattr(Place, "upload", cut)
    with pytest.raises(ObjectStoreError, match="nothing was published; run the command again"):
        publish(place, publication, folder)
    assert find_published(place) is None
    monkeypatch.setattr(Place, "upload", original)
    publish(place, publication, folder)
    assert published(place) == publication


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-5], "its upload was not finished"),
        (lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:], "the checksum of the manifest"),
        (None, "does not exist: publish the shards again"),
    ],
)
def test_a_damaged_object_does_not_come_into_the_cache(
    place: Place, source: Any, tmp_path: Path, damage: Any, message: str
) -> None:
    folder, publication = source
    publish(place, publication, folder)
    entry = publication.shards[0]
    name = next(name for name in entry.files if name.endswith("documents.arrow"))
    content = (folder / entry.folder / name).read_bytes()
    if damage is None:
        place._files.delete_file(place._at(f"{entry.folder}/{name}"))
    else:
        place.write(f"{entry.folder}/{name}", damage(content))
    cache = ShardCache(tmp_path / "cache")
    with pytest.raises(ObjectStoreError, match=message) as caught:
        cache.open(place, entry)
    assert "\n" not in str(caught.value)
    assert not [path for path in cache.folder.iterdir() if path.is_dir()]
    place.write(f"{entry.folder}/{name}", content)
    cache.open(place, entry).close()


class CuttingProxy:
    """Passes bytes between a client and the server, and cuts the first connections after some bytes of the answer."""

    def __init__(self, port: int, cuts: int, after: int) -> None:
        self.cuts = cuts
        self._after = after
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            left = None
            if self.cuts > 0:
                self.cuts -= 1
                left = self._after
            threading.Thread(target=self._copy, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, left), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket, left: int | None) -> None:
        try:
            while data := source.recv(1 << 14):
                if left is not None:
                    data, left = data[:left], left - len(data)
                target.sendall(data)
                if left is not None and left <= 0:
                    break
        except OSError:
            pass  # the other side is gone, which is what this proxy is for
        for one in (source, target):
            one.close()


def through(proxy: CuttingProxy, place: Place) -> Place:
    bucket = place._root
    return place_of(f"s3://{bucket}?endpoint_override=127.0.0.1:{proxy.port}&scheme=http")


def test_a_connection_that_is_cut_is_tried_again(place: Place, source: Any, port: int, tmp_path: Path) -> None:
    folder, publication = source
    publish(place, publication, folder)
    proxy = CuttingProxy(port, cuts=2, after=900)
    entry = publication.shards[0]
    held = ShardCache(tmp_path / "cache").open(through(proxy, place), entry)
    assert proxy.cuts == 0
    assert digest_of(held.path) == entry.digest
    held.close()
    proxy.close()


def test_a_server_that_refuses_is_named_in_one_line(place: Place, source: Any, tmp_path: Path) -> None:
    folder, publication = source
    nobody = place_of("s3://no-such-bucket/x?" + place.uri.split("?", 1)[1])
    with pytest.raises(ObjectStoreError, match="no-such-bucket") as caught:
        publish(nobody, publication, folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(ObjectStoreError, match="cannot be opened"):
        place_of("unknown://somewhere/x")


def test_the_cache_evicts_what_was_used_longest_ago_and_is_not_read(place: Place, source: Any, tmp_path: Path) -> None:
    folder, publication = source
    publish(place, publication, folder)
    first, second = publication.shards
    size = sum(file.bytes for file in first.files.values())
    cache = ShardCache(tmp_path / "cache", most_bytes=size + 10)
    held = cache.open(place, first)
    other = cache.open(place, second)
    other.close()
    assert held.path.is_dir()  # it is read, so it stays although it is older
    removed = cache.evict()
    assert removed == [other.path.name] or not other.path.exists()
    assert held.path.is_dir()
    held.close()
    cache.open(place, second).close()
    assert not held.path.exists()


def test_a_manifest_is_one_object_that_is_replaced_as_a_whole(place: Place, source: Any) -> None:
    folder, publication = source
    publish(place, publication, folder)
    content = place.read(MANIFEST_FILE)
    assert content is not None
    assert json.loads(content)["generation"] == 1
    assert place.read("generations/000009/nothing") is None
