"""Secrets at rest: AES-GCM with a key from a 0600 file in the home.

It protects copies of the file, not its owner from himself. Sealed bytes tell which key they need
(``bessemer1:<key id>:<nonce><ciphertext>``), so that a new key can be put first in the file
while the old ones go on opening what they sealed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bessemer.base.errors import BessemerError

_MAGIC = b"bessemer1:"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_CHARS = 8


class Sealer:
    """Seals with the first key, opens with whichever sealed. A ``store.Codec``.

    Args:
        keys: of 32 bytes each.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._current = next(iter(self._ciphers))

    def seal(self, key: str, data: bytes) -> bytes:
        """The data, readable only with the key, and only at that place in the store."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, data, key.encode())
        return _MAGIC + self._current + b":" + nonce + sealed

    def unseal(self, key: str, data: bytes) -> bytes:
        """The bytes that were sealed.

        Raises:
            BessemerError: another key sealed it, or it was changed or moved since.
        """
        head = len(_MAGIC) + _ID_CHARS
        if not data.startswith(_MAGIC) or data[head : head + 1] != b":":
            raise BessemerError(
                f"the stored object {key} is not sealed: the file was changed from outside; "
                "restore it from a copy"
            )
        name = data[len(_MAGIC) : head]
        cipher = self._ciphers.get(name)
        if cipher is None:
            known = ", ".join(one.decode() for one in self._ciphers)
            raise BessemerError(
                f"the stored object {key} is sealed with key {name.decode(errors='replace')}, but "
                f"the home has {known}: put back the key file that belongs to this home"
            )
        nonce, sealed = data[head + 1 : head + 1 + _NONCE_BYTES], data[head + 1 + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, key.encode())
        except (InvalidTag, ValueError) as error:
            raise BessemerError(
                f"the stored object {key} can't be opened: its bytes were changed; restore the "
                "file from a copy"
            ) from error


def load(path: Path) -> Sealer:
    """The sealer of a home; its key file is made at the first call.

    One key a line in base64, the current one first.

    Raises:
        BessemerError: the file is open to others, or no key file.
    """
    try:
        text = _read_private(path)
    except FileNotFoundError:
        text = _make(path)
    try:
        keys = [base64.b64decode(line, validate=True) for line in text.split()]
    except binascii.Error:
        keys = []
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise BessemerError(
            f"{path} holds no keys of {_KEY_BYTES} bytes in base64, one a line: put back the file "
            "that belongs to this home"
        )
    return Sealer(keys)


def _read_private(path: Path) -> str:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise BessemerError(f"{path} must be its owner's alone, but has mode {mode:o}: chmod 600")
    return path.read_text()


def _make(path: Path) -> str:
    text = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n"
    # Whole or not there: a torn key file would lock every Secret away for good.
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return text


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"bessemer key id" + key).hexdigest()[:_ID_CHARS].encode()
