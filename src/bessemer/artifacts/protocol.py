"""What ``face`` and ``http`` say to each other: paths, and errors by their names.

The URI that is meant is always the query's ``uri``; the namespace is the token's.
"""

from __future__ import annotations

from bessemer.artifacts.store import (
    ArtifactError,
    Elsewhere,
    Foreign,
    Missing,
    NotReady,
    TooLarge,
    Unauthenticated,
    Unreadable,
)
from bessemer.base.errors import BessemerError

FILES = "/files"  # GET (a part by Range, of a version by If-Match), PUT, DELETE
ENTRY = "/entry"  # GET: {kind, size}, or null
LISTING = "/listing"  # GET: a line of JSON for each file, or for what went wrong
FOLDERS = "/folders"  # POST, several uri: {uri: why it can't be made}

# The nearest name of an error counts; each with its status of HTTP.
_STATUS: tuple[tuple[type[BessemerError], int], ...] = (
    (Unauthenticated, 401),
    (Foreign, 403),
    (Elsewhere, 403),
    (Missing, 404),
    (TooLarge, 413),
    (Unreadable, 409),
    (ArtifactError, 400),
    (NotReady, 503),
)


def tell(error: BessemerError) -> tuple[int, dict[str, str]]:
    """The status and the document for an error."""
    for type_, status in _STATUS:
        if isinstance(error, type_):
            return status, {"error": type_.__name__, "message": str(error)}
    return 500, {"error": "", "message": "the control plane failed; its log tells why"}


def read_error(document: object) -> BessemerError | None:
    """The error that a document tells of; None if it is none of ours."""
    told = document if isinstance(document, dict) else {}
    for type_, _ in _STATUS:
        if told.get("error") == type_.__name__:
            return type_(str(told.get("message", "")))
    return None
