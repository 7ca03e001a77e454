"""Finding and recognising model files: by extension, or by content where there is none.

A pipeline's model artifact is a plain path called ``model``, so the name alone can't decide.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import pickle
import re
import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from bessemer.modelserver.errors import LoadFailure


class Form(StrEnum):
    """How a model is written in its file."""

    PICKLE = "pickle"  # pickle or joblib, compressed or not
    XGBOOST_JSON = "xgboost JSON"  # Booster.save_model("x.json")
    XGBOOST_UBJ = "xgboost UBJSON"  # Booster.save_model("x.ubj"), the default of xgboost
    XGBOOST_BINARY = "xgboost binary"  # .bst of xgboost before 3


_PICKLES = {".joblib": Form.PICKLE, ".pkl": Form.PICKLE, ".pickle": Form.PICKLE}
SKLEARN_FORMS: Mapping[str, Form] = _PICKLES
XGBOOST_FORMS: Mapping[str, Form] = {
    ".json": Form.XGBOOST_JSON,
    ".ubj": Form.XGBOOST_UBJ,
    ".bst": Form.XGBOOST_BINARY,
    **_PICKLES,
}
# First bytes; joblib compresses with any of zlib, gzip, bz2, xz, lzma, lz4.
_MAGIC: tuple[tuple[bytes, Form], ...] = (
    (b"\x80", Form.PICKLE),
    (b"\x78", Form.PICKLE),
    (b"\x1f\x8b", Form.PICKLE),
    (b"BZh", Form.PICKLE),
    (b"\xfd7zXZ", Form.PICKLE),
    (b"\x5d\x00\x00", Form.PICKLE),
    (b"\x04\x22\x4d\x18", Form.PICKLE),
    (b"{L", Form.XGBOOST_UBJ),
    (b"{", Form.XGBOOST_JSON),
    (b"binf", Form.XGBOOST_BINARY),
)
_SKLEARN_VERSION = re.compile(rb"_sklearn_version[^\d]{1,12}(\d+\.\d+(?:\.[0-9a-z]+)*)")


def find(location: Path, forms: Mapping[str, Form], framework: str) -> tuple[Path, Form]:
    """The model file at an existing file or folder, and how it is written.

    Raises:
        LoadFailure: none there, several there, or not a form that the framework reads.
    """
    if location.is_file():
        return location, _recognise(location, forms, framework)
    files = sorted(entry for entry in location.iterdir() if entry.is_file())
    named = [file for file in files if file.suffix.lower() in forms]
    candidates = named or [file for file in files if sniff(file) in set(forms.values())]
    if not candidates:
        held = ", ".join(sorted(entry.name for entry in location.iterdir())[:10]) or "nothing"
        raise LoadFailure(
            f"storageUri: no {framework} model in {location}: expected one file with "
            f"{', '.join(forms)}, found {held}"
        )
    if len(candidates) > 1:
        raise LoadFailure(
            f"storageUri: several {framework} models in {location}: "
            f"{', '.join(file.name for file in candidates)}; name one file in storageUri"
        )
    return candidates[0], _recognise(candidates[0], forms, framework)


def sniff(file: Path) -> Form | None:
    """How a file is written, by its first bytes."""
    with file.open("rb") as stream:
        head = stream.read(8)
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    return None


def _recognise(file: Path, forms: Mapping[str, Form], framework: str) -> Form:
    # Content beats the extension: a .bst of today is UBJSON.
    form = sniff(file) or forms.get(file.suffix.lower())
    if form is None or form not in set(forms.values()):
        raise LoadFailure(
            f"storageUri: {file} is no {framework} model: it is {form or 'of an unknown form'}, "
            f"but {framework} reads {', '.join(sorted(set(forms.values())))}"
        )
    return form


def unpickle(file: Path) -> Any:
    """The object in a pickle or joblib file; raises whatever its classes raise."""
    # By name: boosters need no joblib, and an xgboost environment may do without it.
    try:
        joblib = importlib.import_module("joblib")
    except ImportError:
        joblib = None
    if joblib is not None:
        return joblib.load(file)
    with file.open("rb") as stream:
        # A model's pickle is a program; whoever may deploy it may run it: that is the contract
        # of storageUri, and the pod is its fence.
        return pickle.load(stream)


def pickled_version(file: Path) -> str:
    """The scikit-learn version that a pickle says it was written by; empty: it says none."""
    with file.open("rb") as plain:
        opened = _OPENERS.get(plain.read(2))
    try:
        with opened(file) if opened else file.open("rb") as stream:
            match = _SKLEARN_VERSION.search(stream.read(_SEARCHED))
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return ""
    return match.group(1).decode() if match else ""


def _open_zlib(file: Path) -> io.BytesIO:
    return io.BytesIO(zlib.decompressobj().decompress(file.read_bytes(), _SEARCHED))


# By the first two bytes: what joblib compresses with, lz4 excepted, which Python can't read.
_OPENERS: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
    b"\x5d\x00": lzma.open,
    **{b"\x78" + level: _open_zlib for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")},
}
#: How much of a pickle is searched for its version, in bytes.
_SEARCHED = 64 * 1024 * 1024
