"""Bad lines of a corpus on stderr: the first ones one by one, of the others how many they were."""

from __future__ import annotations

from typing import Final

from lsr.cli.running import say
from lsr.errors import ExitCode, InvalidDocument

SHOWN_PROBLEMS: Final = 100


class ProblemLog:
    """Tells the bad lines of one corpus as they come."""

    def __init__(self, corpus_name: str) -> None:
        self.count = 0
        self._name = "stdin" if corpus_name == "-" else corpus_name

    def add(self, line_number: int, error: InvalidDocument) -> None:
        """Tell one line, unless very many were told already."""
        self.count += 1
        if self.count <= SHOWN_PROBLEMS:
            say(f"{self._name}:{line_number}: {error}")

    def close(self) -> None:
        """Tell how many were not told."""
        if self.count > SHOWN_PROBLEMS:
            say(f"and {self.count - SHOWN_PROBLEMS:,} more lines like these")


def exit_code(accepted: int, failed: int) -> ExitCode:
    """Return OK without bad lines, PARTIAL with some, FAILURE when there was no good one."""
    if not failed:
        return ExitCode.OK
    return ExitCode.PARTIAL if accepted else ExitCode.FAILURE
