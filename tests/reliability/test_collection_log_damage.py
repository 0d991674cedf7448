"""A damaged byte in the write-ahead log of a killed writer: `verify` reports it, except in the last transaction."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document
from lsr.storage.log_check import log_problem

LOG = "catalog.sqlite-wal"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection after its writer was killed: five acknowledged writes are only in the log."""
    folder = tmp_path_factory.mktemp("killed")
    with Collection.create(folder / "c") as collection:
        for number in range(5):
            collection.write([Document(f"d{number}", text="lobster " * 50)])
        shutil.copytree(folder / "c", folder / "copy")
    assert (folder / "copy" / LOG).stat().st_size > 5 * 4096
    return folder / "copy"


def test_the_log_of_a_killed_writer_is_sound(killed: Path) -> None:
    assert log_problem(killed / LOG) is None
    assert verify_collection(killed) == []


def test_every_flipped_byte_in_front_of_the_last_transaction_is_detected(killed: Path, tmp_path: Path) -> None:
    content = (killed / LOG).read_bytes()
    last = len(content) - 10 * (4096 + 24)  # the last transaction has at most ten pages
    assert last > 4096
    generator = random.Random(3)
    for offset in [0, 9, 17, 26, 33, 40, *generator.sample(range(32, last), 12)]:
        damaged = bytearray(content)
        damaged[offset] ^= 1 << generator.randrange(8)
        path = tmp_path / LOG
        path.write_bytes(damaged)
        assert log_problem(path) is not None, offset


def test_verify_names_the_log_and_what_is_lost(killed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(killed, folder)
    content = bytearray((folder / LOG).read_bytes())
    content[3000] ^= 1
    (folder / LOG).write_bytes(content)
    (problem, *_) = verify_collection(folder)
    assert problem.path == folder / LOG
    assert "transactions from there on are lost" in problem.reason


def test_an_incomplete_last_transaction_is_not_damage(killed: Path, tmp_path: Path) -> None:
    path = tmp_path / LOG
    path.write_bytes((killed / LOG).read_bytes()[:-3000])
    assert log_problem(path) is None
