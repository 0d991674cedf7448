"""Makes sure that `index`, `encoders`, `eval` and `service` are this program's packages, whatever is beside a script.

They are top-level packages, and Python looks first in the folder of the script: a user's own index.py would be loaded
in their place. So where another file has one of these names, ours is loaded at once, and a warning names that file,
because its name now means our package. A file that was imported before lsr cannot be replaced: then the import of lsr
fails, and the error names it.
"""

from __future__ import annotations

import sys
import warnings
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

PACKAGES: Final = ("index", "encoders", "eval", "service")


def load_own_packages(root: Path) -> None:
    """Load those of our packages, folders of `root`, whose names find something else.

    Raises ImportError, which names the file, where something else is loaded under such a name already.
    """
    for name in PACKAGES:
        own = root / name / "__init__.py"
        if not own.is_file():
            continue  # installed in another way, such as from a zip file
        loaded = sys.modules.get(name)
        if loaded is not None:
            found = getattr(loaded, "__file__", None)
            if not _is_same(found, own):
                raise ImportError(
                    f"lsr has a package {name!r}, but {found or 'another module'} was imported under that name before: "
                    "rename that file or folder",
                    name=name,
                    path=found,
                )
            continue
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.origin is not None and not _is_same(spec.origin, own):
            _load(name, own)
            warnings.warn(
                f"{spec.origin} has the name of a package of lsr: `import {name}` now means lsr's; rename that file or "
                "folder if you import it",
                stacklevel=3,
            )


def _is_same(found: str | None, own: Path) -> bool:
    return found is not None and Path(found).resolve() == own.resolve()


def _load(name: str, own: Path) -> None:
    spec: ModuleSpec | None = spec_from_file_location(name, own, submodule_search_locations=[str(own.parent)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{own} cannot be loaded", name=name, path=str(own))
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
