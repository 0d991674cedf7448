"""A table of term numbers and tokens as JSON lines, for systems whose sparse vectors have numbers only.

{"number": 17, "token": "lobster"}
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import orjson

from lsr.corpora.line_source import LineSource
from lsr.errors import CorpusUnreadable, InvalidJson
from lsr.strict_json import loads


def read_terms(path: Path) -> dict[int, str]:
    """Return the tokens by number; raises CorpusUnreadable, which names the line."""
    table: dict[int, str] = {}
    seen: set[str] = set()
    for number, line in LineSource(path):
        place = f"{path}:{number}"
        try:
            entry = loads(line or b"")
            term, token = entry["number"], entry["token"]
        except (InvalidJson, KeyError, TypeError) as error:
            raise CorpusUnreadable(f'{place}: a line is {{"number": …, "token": …}}: {error}') from None
        if not isinstance(term, int) or isinstance(term, bool) or not isinstance(token, str) or not token:
            raise CorpusUnreadable(f"{place}: a number and a token are needed")
        if term in table or token in seen:
            raise CorpusUnreadable(f"{place}: the number {term} or the token {token!r} occurred before")
        table[term] = token
        seen.add(token)
    return table


def write_terms(terms: Iterable[tuple[int, str]], out: BinaryIO) -> None:
    """Write (number, token) pairs."""
    for number, token in terms:
        out.write(orjson.dumps({"number": number, "token": token}, option=orjson.OPT_APPEND_NEWLINE))
