"""Aliases on disk: each remembers what it stood for before, and several processes change the file safely."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lsr.cli.running import run
from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound, QueryError
from lsr.storage import layout
from lsr.storage.alias_file import Alias, AliasFile
from lsr.store import CollectionStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("v1", "v2", "v3"):
        Collection.create(tmp_path / name).close()
    return tmp_path


def test_an_alias_goes_back_to_what_it_stood_for_before(folder: Path) -> None:
    aliases = AliasFile(folder)
    assert aliases.point("live", "v1") == Alias("v1")
    with pytest.raises(CollectionNotFound, match="stood for no other"):
        aliases.back("live")
    assert aliases.point("live", "v2") == Alias("v2", "v1")
    assert aliases.point("live", "v2") == Alias("v2", "v1")  # setting it again loses nothing
    assert aliases.back("live") == Alias("v1", "v2")
    assert aliases.back("live") == Alias("v2", "v1")
    assert aliases.read() == {"live": Alias("v2", "v1")}
    with CollectionStore(folder) as store:
        assert store.alias("live") == Alias("v2", "v1")


def test_a_file_without_previous_ones_is_read(folder: Path) -> None:
    (folder / "aliases.json").write_text('{"format_version": 1, "aliases": {"live": "v1"}}')
    assert AliasFile(folder).point("live", "v3") == Alias("v3", "v1")


def test_what_cannot_be_an_alias_is_refused_and_nothing_written(folder: Path) -> None:
    aliases = AliasFile(folder)
    aliases.point("live", "v1")
    before = (folder / "aliases.json").read_bytes()
    with pytest.raises(QueryError):
        aliases.point("../x", "v1")
    with pytest.raises(CollectionExists):
        aliases.point("v2", "v1")
    with pytest.raises(CollectionNotFound, match="itself an alias"):
        aliases.point("other", "live")
    for missing in ("v4", "../v1", "."):
        with pytest.raises(CollectionNotFound):
            aliases.point("live", missing)
    for call in (aliases.back, aliases.drop):
        with pytest.raises(CollectionNotFound, match="there is live"):
            call("lost")
    catalog = layout.open_catalog(folder / "v3", "w")
    with catalog.transaction() as change:
        change.set_setting(layout.LOAD_SETTING, {})
    catalog.close()
    with pytest.raises(CollectionNotFound, match="interrupted"):
        aliases.point("live", "v3")
    assert (folder / "aliases.json").read_bytes() == before
    (folder / "aliases.json").write_text("[]")
    with pytest.raises(CollectionCorrupt, match=r"aliases\.json"):
        aliases.point("live", "v2")


def test_changes_of_several_processes_are_all_kept(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lsr.storage.alias_file import AliasFile\n"
        "for n in range(20): AliasFile(Path(sys.argv[1])).point(f'{sys.argv[2]}{n}', 'v1')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(folder), letter]) for letter in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(AliasFile(folder).read()) == 60


def test_a_dropped_collection_is_nobodys_way_back(folder: Path) -> None:
    with CollectionStore(folder) as store:
        store.set_alias("live", "v1")
        store.set_alias("live", "v2")
        AliasFile(folder).point("other", "v1")  # another process, not noticed yet
        store.drop("v1")
        assert store.alias("live") == Alias("v2")
        assert AliasFile(folder).read() == {"live": Alias("v2")}


def test_a_store_follows_what_another_process_changes(folder: Path) -> None:
    with CollectionStore(folder) as store:
        store.set_alias("live", "v1")
        assert store.follow().failed == {}
        with Collection.create(folder / "v4") as added:
            added.write([Document("new", text="lobster")])
            AliasFile(folder).point("live", "v4")
            assert store.follow().failed == {}
            assert store.get("live") is store.get("v4")
            assert "another process" in store.read_only["v4"]  # it is locked by its writer
        assert store.take_locks() == ["v4"]
        AliasFile(folder).point("beta", "v2")
        with pytest.raises(CollectionExists):
            store.create("beta")
        assert store.follow().failed == {}
        assert [hit.id for hit in store.get("live").search("lobster").hits] == ["new"]
        store.get("v4").write([Document("more", text="lobster")])
        AliasFile(folder).back("live")
        store.follow()
        assert store.get("live") is store.get("v1")
        (folder / "aliases.json").write_text("{")
        assert set(store.follow().failed) == {"aliases.json"}
        assert store.get("live") is store.get("v1")


def test_the_command_lists_sets_and_turns_back(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = ["alias", str(folder)]
    assert run([*line, "live", "v1"]) == 0
    assert run([*line, "live", "v2"]) == 0
    assert capfd.readouterr().out == "live -> v1\nlive -> v2 (before: v1)\n"
    assert run([*line, "live", "--back", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"alias": "live", "collection": "v1", "previous": "v2"}
    assert run([*line, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"aliases": [{"alias": "live", "collection": "v1", "previous": "v2"}]}
    assert run(line) == 0
    assert capfd.readouterr().out.splitlines()[1].split() == ["live", "v1", "v2"]
    for wrong in ([*line, "live"], [*line, "live", "v1", "--back"], [*line, "--back"], [*line, "live", "v9"]):
        assert run(wrong) == 2, wrong
    assert run(["alias", str(folder / "v1")]) == 2
    assert run(["alias", str(folder / "lost")]) == 2
    capfd.readouterr()
    assert run([*line, "live", "--remove"]) == 0
    assert run(line) == 0
    assert capfd.readouterr().out == "live: removed\nno aliases\n"
