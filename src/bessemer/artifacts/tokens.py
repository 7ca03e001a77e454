"""What lets a launcher of one run reach the artifacts of that run, and no others.

A token is a grant and its HMAC (SHA-256): whoever holds one can tell what it grants, and make no
other.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from bessemer.artifacts.store import ArtifactStore, Elsewhere, Unauthenticated, shorten
from bessemer.base.clock import Clock

#: Goes into each HMAC, so that nothing that is signed for another purpose is a token.
_PURPOSE = b"bessemer.dev/artifacts/v1\0"
_LEAST_KEY_BYTES = 32
_UNKNOWN = "the token of artifacts is not known here; a run's pods get one of their own"


@dataclass(frozen=True)
class Grant:
    """What the holder of a token may do.

    Args:
        namespace: whose artifacts they are.
        run_id: the run whose launcher it is, for the record.
        folder: the URI of the run's folder, which is read and written with all in it.
        reads: URIs of what else is read, with all in it: the inputs that other runs made.
        expires: from then on the token is worth nothing.
    """

    namespace: str
    run_id: str
    folder: str
    expires: datetime
    reads: tuple[str, ...] = ()

    def check(self, store: ArtifactStore, uri: str, *, write: bool = False) -> str:
        """The URI as the store spells it, if it is granted.

        Raises:
            Elsewhere: it is not, whether there is something or not.
        """
        wanted = store.place(self.namespace, uri)
        for granted in (self.folder, *(() if write else self.reads)):
            if wanted == granted or wanted.startswith(f"{granted}/"):
                return wanted
        raise Elsewhere(
            f"{shorten(uri)} is not for run {self.run_id} to {'write' if write else 'read'}; it "
            f"has {shorten(self.folder)} and its inputs"
        )


class Tokens:
    """Signs grants and recognizes them.

    Args:
        key: at least 32 random bytes that the control plane alone knows.
        clock: when a grant is over.
    """

    def __init__(self, key: bytes, clock: Clock) -> None:
        if len(key) < _LEAST_KEY_BYTES:
            raise ValueError(f"the key needs {_LEAST_KEY_BYTES} bytes, but has {len(key)}")
        self._key = key
        self._clock = clock

    def sign(self, grant: Grant) -> str:
        """The token of a grant."""
        claims = {
            "namespace": grant.namespace,
            "run": grant.run_id,
            "folder": grant.folder,
            "reads": grant.reads,
            "expires": grant.expires.timestamp(),
        }
        payload = _encode(json.dumps(claims).encode())
        return f"{payload}.{_encode(self._mac(payload))}"

    def recognize(self, token: str) -> Grant:
        """The grant of a token.

        Raises:
            Unauthenticated: it was not signed here, or has expired.
        """
        payload, _, mac = token.partition(".")
        if not token.isascii() or not hmac.compare_digest(_encode(self._mac(payload)), mac):
            raise Unauthenticated(_UNKNOWN)
        claims = json.loads(_decode(payload))  # what was signed here is whole
        grant = Grant(
            claims["namespace"],
            claims["run"],
            claims["folder"],
            datetime.fromtimestamp(claims["expires"], UTC),
            tuple(claims["reads"]),
        )
        if self._clock.now() >= grant.expires:
            raise Unauthenticated(
                f"the token of artifacts of run {grant.run_id} expired at {grant.expires}"
            )
        return grant

    def _mac(self, payload: str) -> bytes:
        return hmac.digest(self._key, _PURPOSE + payload.encode(), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
