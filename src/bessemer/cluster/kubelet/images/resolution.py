"""What an image reference is on one machine: an environment, the machine's userland, or nothing.

Pure. No image is pulled from a registry: what is not known here can't be had, and says so. What
the platform's own images are, the composition root hands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.kinds import imagereference
from bessemer.kinds.kind import Object
from bessemer.kinds.lightweight import Install


@dataclass(frozen=True)
class Image:
    """How to run a container of an image.

    Attributes:
        python: the wanted Python ("3.11", "" for any), or None: no environment.
        is_own: runs in the server's own environment.
        packages: of ours, those that it finds on its path: "modelserver".
        is_userland: stands in for a distribution by the machine's own /usr.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    python: str | None = None
    installs: tuple[Install, ...] = ()
    is_own: bool = False
    packages: tuple[str, ...] = ()
    is_userland: bool = False


_USERLANDS = {
    "busybox": "sh", "alpine": "sh", "debian": "bash", "ubuntu": "bash", "bash": "bash",
}  # fmt: skip
_UBI_PYTHON = re.compile(r"registry\.access\.redhat\.com/ubi\d+/python-(\d)(\d+)(?:-minimal)?")
# Images whose only use to a component is their Python.
_PLAIN_PYTHONS = re.compile(r"(?:ghcr\.io/kubeflow|gcr\.io/ml-pipeline)/.*\bpython[\w-]*")
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.\d+)?(?![\d.])")


#: What an own image is by its tag; raises ValueError where there is none of that tag.
OwnImage = Callable[[str], Image]


class Images:
    """The images that a node knows.

    Args:
        own: the platform's, by repository.
    """

    def __init__(self, own: Mapping[str, OwnImage] | None = None) -> None:
        self._own = own or {}

    def resolve(self, reference: str) -> Image:
        """The image of a reference.

        Raises:
            StartFailure: it is none that this machine knows, or no reference at all.
        """
        if why := imagereference.refusal(reference):
            raise StartFailure("InvalidImageName", why)
        name, tag = imagereference.split(reference)
        if own := self._own.get(name):
            try:
                return own(tag)
            except ValueError as error:
                raise _unpulled(reference, str(error)) from error
        short = imagereference.library_name(name)
        if short == "python" or _PLAIN_PYTHONS.fullmatch(name):
            return Image(command=("python3",), python=_python_of(tag))
        if match := _UBI_PYTHON.fullmatch(name):
            return Image(command=("python3",), python=f"{match[1]}.{match[2]}")
        if shell := _USERLANDS.get(short):
            return Image(command=(shell,), is_userland=True)
        known = ["python:3.x", *_USERLANDS, *self._own]
        raise _unpulled(
            reference,
            "images from registries are not pulled yet on one machine; known are "
            f"{', '.join(known[:-1])} and {known[-1]}: name one of them",
        )

    def refusal(self, reference: str) -> str:
        """Why a container of that image can't run on this machine; "" if it can."""
        try:
            self.resolve(reference)
        except StartFailure as failure:
            return str(failure)
        return ""

    def stand_in(self, reference: str) -> str:
        """What runs instead of an image that can't be had, in words for its user; or "".

        A Python image is an environment of that Python, as is documented, unless a digest asks for
        the very bytes of one.
        """
        try:
            image = self.resolve(reference)
        except StartFailure:
            return ""
        if image.is_userland:
            return f"image {reference} is not pulled: this machine's own programs run instead"
        if "@" in reference and image.python is not None:
            return f"image {reference} is not pulled: an environment of Python runs instead"
        return ""

    def stand_ins(self, containers: Iterable[Object]) -> str:
        """What runs instead of the images of a pod's containers, in one text."""
        told = dict.fromkeys(self.stand_in(each.get("image", "")) for each in containers)
        return "; ".join(filter(None, told))


def _unpulled(reference: str, why: str) -> StartFailure:
    return StartFailure("ErrImagePull", f'Failed to pull image "{reference}": {why}')


def _python_of(tag: str) -> str:
    """The Python of a tag: "3.11" of 3.11.7-slim; "" of latest, 3, alpine3.9."""
    match = _VERSION.match(tag)
    return f"{match[1]}.{match[2]}" if match and match[2] else ""
