"""Options whose value is JSON: checked as strictly as a request to the service."""

from __future__ import annotations

from typing import Any

import typer


def parse_object(text: str | None, option: str) -> dict[str, Any] | None:
    """Return the JSON object that `option` was given, None when it was not.

    Raises typer.BadParameter naming the option.
    """
    if text is None:
        return None
    from lsr.errors import InvalidJson
    from lsr.strict_json import loads

    try:
        value = loads(text)
    except InvalidJson as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter("a JSON object is needed, such as '{\"year\": …}'", param_hint=option)
    return value
