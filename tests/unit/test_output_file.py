"""Outputs: a regular file is replaced when the new one is complete; links, pipes and devices stay what they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lsr.cli.running import run
from lsr.output_file import is_stdout, output_file

CORPUS = '{"id":"a","text":"a lobster"}\n{"id":"b","text":"sea"}\n'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A corpus, a data set, a collection, a stored result."""
    (tmp_path / "c.jsonl").write_text(CORPUS)
    (tmp_path / "t").write_text("q1\tlobster\n")
    (tmp_path / "q").write_text("q1 0 a 1\n")
    assert run(["index", str(tmp_path / "c.jsonl"), "--encoder", "bm25", "--out", str(tmp_path / "col")]) == 0
    return tmp_path


def commands(files: Path) -> dict[str, list[str]]:
    judged = ["--topics", str(files / "t"), "--qrels", str(files / "q")]
    return {
        "encode": ["encode", str(files / "c.jsonl"), "--encoder", "bm25", "--out"],
        "encode to Arrow": ["encode", str(files / "c.jsonl"), "--encoder", "bm25", "--to", "arrow", "--out"],
        "export": ["export", str(files / "col"), "--to", "jsonl", "--out"],
        "export to CIFF": ["export", str(files / "col"), "--to", "ciff", "--out"],
        "run": ["eval", str(files / "col"), *judged, "--run"],
    }


@pytest.mark.parametrize("name", ["encode", "encode to Arrow", "export", "export to CIFF", "run"])
def test_each_kind_of_output_gets_the_same_content_and_stays_what_it_is(files: Path, name: str) -> None:
    command = commands(files)[name]
    out = files / "out"
    out.mkdir()
    assert run([*command, str(out / "new")]) == 0
    expected = (out / "new").read_bytes()
    assert expected

    plain, link, hard = out / "plain", out / "link", out / "hard"
    (out / "deep").mkdir()
    target = out / "deep" / "target"
    for path, mode in ((plain, 0o640), (target, 0o604)):
        path.write_text("old")
        path.chmod(mode)
    link.symlink_to("deep/target")
    os.link(plain, hard)
    for path in (plain, link):
        assert run([*command, str(path)]) == 0
    assert plain.read_bytes() == hard.read_bytes() == expected, "two names of one file became two files"
    assert stat.S_IMODE(plain.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert target.read_bytes() == expected
    assert stat.S_IMODE(target.stat().st_mode) == 0o604

    (out / "dangling").symlink_to("made-later")
    assert run([*command, str(out / "dangling")]) == 0
    assert (out / "dangling").is_symlink()
    assert (out / "made-later").read_bytes() == expected

    got: list[bytes] = []
    os.mkfifo(out / "fifo")
    reader = threading.Thread(target=lambda: got.append((out / "fifo").read_bytes()))
    reader.start()
    assert run([*command, str(out / "fifo")]) == 0
    reader.join(10)
    assert got == [expected]
    assert stat.S_ISFIFO((out / "fifo").stat().st_mode)

    (out / "device").symlink_to("/dev/null")
    assert run([*command, str(out / "device")]) == 0
    assert (out / "device").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert sorted(path.name for path in out.iterdir()) == [
        "dangling", "deep", "device", "fifo", "hard", "link", "made-later", "new", "plain",
    ]  # fmt: skip


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with output_file(tmp_path / "new") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")

    def half() -> None:
        with output_file(tmp_path / "old") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert (tmp_path / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(IsADirectoryError), output_file(tmp_path):
        pass
    with pytest.raises(FileNotFoundError) as error, output_file(tmp_path / "none" / "x"):
        pass
    assert str(error.value.filename) == str(tmp_path / "none" / "x")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("old")
    os.chown(tmp_path / "theirs", 12345, 23456)
    with output_file(tmp_path / "theirs") as file:
        file.write(b"new")
    found = (tmp_path / "theirs").stat()
    assert (found.st_uid, found.st_gid, (tmp_path / "theirs").read_text()) == (12345, 23456, "new")


@pytest.mark.parametrize("name", ["/dev/stdout", "-", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_appended_to_and_may_be_a_pipe(tmp_path: Path, name: str) -> None:
    assert is_stdout(name)
    code = f"from lsr.output_file import output_file\nwith output_file({name!r}) as file: file.write(b'new')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"new"
    (tmp_path / "log").write_text("old ")
    with (tmp_path / "log").open("a") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "old new"


def test_a_run_on_standard_output_is_alone_there(files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    command = [*commands(files)["run"], "/dev/stdout"]
    assert subprocess.run([sys.executable, "-m", "lsr", *command], check=False).returncode == 0
    written = capfd.readouterr()
    assert [line.split()[:3] for line in written.out.splitlines()] == [["q1", "Q0", "a"]]
    assert "nDCG@10" in written.err


def test_a_page_follows_a_link(files: Path) -> None:
    judged = [*commands(files)["run"][:-1], "--results", str(files / "results")]
    assert run(judged) == 0
    (files / "page").symlink_to("page.html")
    assert run(["leaderboard", str(files / "results"), "--html", str(files / "page")]) == 0
    assert (files / "page").is_symlink()
    assert (files / "page.html").read_text().startswith("<!")


def test_an_id_with_white_space_is_named_with_the_users_file(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "c.jsonl").write_text('{"id":"a b","text":"a lobster"}\n')
    assert run(["index", str(files / "c.jsonl"), "--encoder", "bm25", "--out", str(files / "col2")]) == 0
    command = commands(files)["run"]
    command[1] = str(files / "col2")
    assert run([*command, str(files / "r.txt")]) == 2
    said = capsys.readouterr().err
    assert f"{files}/r.txt: the id 'a b' contains white space" in said
    assert "unfinished" not in said
    assert not list(files.glob(".r*"))
