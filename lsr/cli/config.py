"""`lsr config show`: the current settings and the source of each."""

from __future__ import annotations

import typer

from lsr.cli.output import JsonFlag, print_json, print_table

config = typer.Typer(help="Show the current settings.", no_args_is_help=True, rich_markup_mode=None)


@config.callback()
def _group() -> None:
    """Show the current settings.

    In order of priority, a setting comes from a flag, an LSR_* variable, lsr.toml, or the default.
    """


@config.command("show")
def show(json: JsonFlag = False) -> int:
    """Show each setting, its value and its source.

    The source is an LSR_* variable, lsr.toml, or the default.
    """
    from lsr.settings import describe_setting, load_settings, setting_names

    settings = load_settings()
    values = {name: getattr(settings, name) for name in setting_names()}
    if json:
        shown = {
            name: {
                "value": value if isinstance(value, (int, float, str, type(None))) else str(value),
                "origin": settings.origins[name],
            }
            for name, value in values.items()
        }
        print_json(shown)
        return 0
    rows = [
        (name, "" if value is None else str(value), settings.origins[name], describe_setting(name))
        for name, value in values.items()
    ]
    print_table(("setting", "value", "from", "meaning"), rows)
    return 0
