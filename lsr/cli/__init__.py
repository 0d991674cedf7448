"""The `lsr` command. One file a command; what a command needs is imported when it runs, so that `--help` is quick."""

from lsr.cli.running import main

__all__ = ["main"]
