"""Content encodings of bodies: gzip and deflate, in and out."""

from __future__ import annotations

import re
import zlib

from bessemer.modelserver.errors import InvalidRequest, TooLarge

# wbits of zlib: gzip's header, zlib's header ("deflate" of RFC 9110).
_WINDOWS = {"gzip": 31, "deflate": 15}
# "q=0", "q=0.000": not acceptable.
_ZERO = re.compile(r"q\s*=\s*0(\.0*)?")
# Smaller answers cost more to compress than to send.
MINIMUM_BYTES = 1024
_MOST_ENCODINGS = 3  # each may unpack to the limit


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as its sender meant it.

    Raises:
        InvalidRequest: an encoding we don't know, or the body is not of it.
        TooLarge: it unpacks to more bytes than the limit.
    """
    names = [part.strip().lower() for part in encoding.split(",")]
    if len(names) > _MOST_ENCODINGS:
        raise InvalidRequest(
            f"a body may be encoded {_MOST_ENCODINGS} times, but Content-Encoding names "
            f"{len(names)}"
        )
    for name in reversed(names):
        if name in ("", "identity"):
            continue
        if name not in _WINDOWS:
            raise InvalidRequest(f"Content-Encoding must be gzip or deflate, got {name!r}")
        body = _inflate(body, name, limit)
    return body


def _inflate(body: bytes, name: str, limit: int) -> bytes:
    decompressor = zlib.decompressobj(_WINDOWS[name])
    try:
        plain = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(
            f"Content-Encoding is {name}, but the body is not: {error}"
        ) from error
    if len(plain) > limit:
        raise TooLarge(f"the body must unpack to at most {limit} bytes, but unpacks to more")
    if not decompressor.eof:
        raise InvalidRequest(f"Content-Encoding is {name}, but the body ends in its middle")
    if decompressor.unused_data:  # a second member, which no HTTP client sends
        raise InvalidRequest(f"Content-Encoding is {name}, but the body goes on after its end")
    return plain


def choose(accepted: str) -> str:
    """The encoding for an answer by its Accept-Encoding; "" for none."""
    for part in accepted.lower().split(","):
        name, _, quality = part.strip().partition(";")
        if name.strip() in _WINDOWS and not _ZERO.fullmatch(quality.strip()):
            return name.strip()
    return ""


def compress(body: bytes, encoding: str) -> bytes:
    """The body in that encoding."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, _WINDOWS[encoding])
    return compressor.compress(body) + compressor.flush()
