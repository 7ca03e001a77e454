"""Names and ids: random ones for users' objects, hashed ones for what must be idempotent."""

import hashlib
import secrets
import uuid

# As k8s.io/apimachinery/pkg/util/rand: no vowels, no 0/1/3, so no words and no mix-ups.
_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def make_uid() -> str:
    """A random UUID, as metadata.uid."""
    return str(uuid.uuid4())


def make_suffix(length: int = 5) -> str:
    """Random letters, as the API server adds to generateName."""
    return "".join(secrets.choice(_SAFE) for _ in range(length))


def hash_name(*parts: str, length: int = 10) -> str:
    """Letters safe in a DNS label that depend on the parts alone (same parts, same name)."""
    digest = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest(), "big")
    letters = []
    for _ in range(length):
        digest, index = divmod(digest, len(_SAFE))
        letters.append(_SAFE[index])
    return "".join(letters)
