"""References to images of our own model server: ``bessemer/modelserver:sklearn-1.9.1``.

The tag says what is in the server's environment: parts of the form ``name-version``, joined by
``_``. A part is a framework, or ``python`` for the Python itself. The shipped ServingRuntimes name
such images, serving pins a framework's version in them, a node makes an environment of one. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

REPOSITORY = "bessemer/modelserver"
#: The part that sets the Python.
PYTHON = "python"
_PART = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)-(\d[\w.]*)", re.ASCII)


class Part(NamedTuple):
    """One package of the server's environment."""

    name: str  # as model formats call it: "sklearn"
    version: str


def is_one(reference: str) -> bool:
    """Whether the image is our model server, with whichever tag."""
    return reference.startswith(f"{REPOSITORY}:")


def parse(tag: str) -> tuple[Part, ...]:
    """The parts of a tag.

    Raises:
        ValueError: it is none of this form.
    """
    found = [_PART.fullmatch(text) for text in tag.split("_")]
    if any(match is None for match in found):
        raise ValueError(
            'its tag is framework-version, several joined by "_", as sklearn-1.9.1 or '
            "xgboost-3.2.0_sklearn-1.9.1"
        )
    return tuple(Part(match[1], match[2]) for match in found if match)


def reference(*parts: Part) -> str:
    """The image whose environment has these parts."""
    return f"{REPOSITORY}:{_join(parts)}"


def pin(image: str, name: str, version: str) -> str:
    """One of our images with another version of the framework; others and no tags stay."""
    try:
        parts = parse(image.removeprefix(f"{REPOSITORY}:"))
    except ValueError:
        return image
    return reference(*(Part(name, version) if part.name == name else part for part in parts))


def _join(parts: Iterable[Part]) -> str:
    return "_".join(f"{part.name}-{part.version}" for part in parts)
