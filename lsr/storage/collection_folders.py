"""The collections in a folder: which folders hold one, what each is called, and which are left out, with the reason.

There is one rule for names (alias_file.py). In a folder of collections a collection is called as its folder is, so a
folder with another kind of name is left out. A collection that is served alone is called by its folder's name, changed
to fit the rule.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import Final

from lsr.storage.alias_file import NAME_RULE, TEMPORARY_PREFIX, Aliases, is_name
from lsr.storage.layout import is_collection

_LEFTOVER_SECONDS: Final = 60.0  # age of temporary files that no process uses any longer


def collections_in(directory: Path, aliases: Aliases) -> tuple[list[str], dict[str, str]]:
    """Return the names of the collections in a folder, and the folders that are left out, with the reason.

    The names are in alphabetical order; a folder that is left out is named as it can be printed. Raises OSError.
    """
    names, left_out = [], {}
    for folder in sorted(directory.iterdir()):
        name = folder.name
        if name.startswith(TEMPORARY_PREFIX):
            continue
        try:
            if not is_collection(folder):
                continue
        except OSError as error:
            left_out[printable(name)] = f"it cannot be read: {error.strerror}"
            continue
        if not is_name(name):
            left_out[printable(name)] = f"a name is {NAME_RULE}; it could be renamed to {name_of(folder)!r}"
        elif name in aliases:
            left_out[name] = f"the alias {name!r} of {aliases[name].collection!r} hides it"
        else:
            names.append(name)
    return names, left_out


def name_of(folder: Path) -> str:
    """Return what a collection that is served alone is called: its folder's name, changed to fit the rule."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:63]
    return name or "default"


def printable(name: str) -> str:
    r"""Return a folder's name, with bytes that are not UTF-8 as \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def remove_leftovers(directory: Path) -> None:
    """Remove dropped collections that were not deleted, and temporary files that no process uses any longer."""
    for path in directory.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif time.time() - path.lstat().st_mtime > _LEFTOVER_SECONDS:
                path.unlink()
