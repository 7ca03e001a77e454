"""Which part of a file a Range header asks for. Source: RFC 9110, section 14."""

from __future__ import annotations

import re

from bessemer.base.errors import BessemerError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unsatisfiable(BessemerError):
    """The part that was asked for lies behind the end of the file."""


def find_span(header: str, size: int) -> range | None:
    """The bytes that a Range header asks for; None: the whole file.

    Several ranges at once are not served, which RFC 9110 leaves free: the answer is then whole.

    Raises:
        Unsatisfiable: none of them are in the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(size - int(match[2]), 0), size
    else:
        start, stop = int(match[1]), min(int(match[2] or size - 1) + 1, size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise Unsatisfiable(f"the file has {size} bytes, but was asked for {header[:80]!r}")
    return range(start, stop)
