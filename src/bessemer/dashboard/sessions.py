"""Who is signed in to the pages: sessions, and the one-time codes that begin them.

A session's cookie is a random number that means something to these pages alone: it is no bearer
token, and neither the API server, the KFP routes nor the gateway take it. What is kept of it is
its hash, beside the bearer token that began it: the token is asked again at each request, so a
session ends with its token or account, and never may more than they.

All of it is in memory. A restart ends every session: what would be kept across one could also be
stolen from the disk, and ``bessemer up`` prints a new link anyway. So a change of the home's keys,
which takes a restart, leaves no session behind.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from bessemer.base.clock import Clock
from bessemer.kube.access import User

SESSION_SECONDS = 12 * 3600
CODE_SECONDS = 15 * 60
_ID_BYTES = 32
# Of one user; the oldest end when there are more.
MOST_SESSIONS = 32
MOST_CODES = 32


@dataclass(frozen=True)
class Session:
    """One signed-in browser.

    Attributes:
        token: the bearer token that began it.
        expires: monotonic seconds.
    """

    user: User
    token: str
    expires: float


@dataclass(frozen=True)
class _Code:
    user: User
    token: str
    expires: float


class Sessions:
    """The sessions of one face, and codes for new ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}  # by hash, oldest first
        self._codes: dict[str, _Code] = {}  # by hash, oldest first

    def begin(self, user: User, token: str) -> str:
        """A new session of the token's user: its id, which only the browser keeps."""
        now = self._clock.monotonic()
        _make_room(self._sessions, user, now, MOST_SESSIONS)
        id_ = secrets.token_urlsafe(_ID_BYTES)
        self._sessions[_hash(id_)] = Session(user, token, now + SESSION_SECONDS)
        return id_

    def find(self, id_: str) -> Session | None:
        """The session of that id, unless it has ended."""
        session = self._sessions.get(_hash(id_))
        if session is None or self._clock.monotonic() < session.expires:
            return session
        self.end(id_)
        return None

    def end(self, id_: str) -> None:
        """End the session; none of that id is as good."""
        self._sessions.pop(_hash(id_), None)

    def issue_code(self, user: User, token: str) -> str:
        """A code that begins one session of the token's user, within ``CODE_SECONDS``."""
        now = self._clock.monotonic()
        _make_room(self._codes, user, now, MOST_CODES)
        code = secrets.token_urlsafe(_ID_BYTES)
        self._codes[_hash(code)] = _Code(user, token, now + CODE_SECONDS)
        return code

    def redeem(self, code: str) -> str | None:
        """The token that a code stands for, once; None: it is used, too old or no code."""
        found = self._codes.pop(_hash(code), None)
        if found is None or self._clock.monotonic() >= found.expires:
            return None
        return found.token


def proof_of(id_: str) -> str:
    """What a form of that session carries, so that no other site can make up its request.

    It tells nothing of the id, and is shown on the session's own pages alone.
    """
    return _hash(f"proof {id_}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _make_room(
    kept: dict[str, Session] | dict[str, _Code], user: User, now: float, most: int
) -> None:
    """Drop what has ended, and a user's oldest: nobody's are dropped for somebody else's."""
    for key in [key for key, one in kept.items() if now >= one.expires]:
        del kept[key]
    own = [key for key, one in kept.items() if one.user == user]
    for key in own[: max(len(own) - most + 1, 0)]:
        del kept[key]
