"""The optional packages that run models, torch and transformers: the extra `models`.

They are needed to run a model or to train one. BM25 and queries that are looked up in a table do not need them.
"""

from __future__ import annotations

from importlib.util import find_spec

from encoders.errors import ModelsMissing

PACKAGES = ("torch", "transformers")
INSTALL = "pip install 'lsr[models]', or `make models` in a checkout"


def missing_packages() -> list[str]:
    """Return the packages of the extra that are not installed; imports none of them."""
    return [name for name in PACKAGES if find_spec(name) is None]


def models_installed() -> bool:
    """Return whether the packages of the extra are installed; imports none of them."""
    return not missing_packages()


def require_models() -> None:
    """Raise ModelsMissing unless the packages of the extra are installed."""
    missing = missing_packages()
    if missing:
        raise ModelsMissing(f"models need packages that are not installed ({', '.join(missing)}): {INSTALL}")
