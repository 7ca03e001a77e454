"""What an image reference is on one machine: an environment, the machine's userland, or nothing.

Pure. Images that were built or loaded here, and pulling from registries, come with the images
room; until then everything that is not known here can't be pulled, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
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
        has_programs: finds our programs for pods (base, modelserver) on its path.
        is_userland: stands in for a distribution by the machine's own /usr.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    python: str | None = None
    installs: tuple[Install, ...] = ()
    is_own: bool = False
    has_programs: bool = False
    is_userland: bool = False


_USERLANDS = {
    "busybox": "sh", "alpine": "sh", "debian": "bash", "ubuntu": "bash", "bash": "bash",
}  # fmt: skip
_UBI_PYTHON = re.compile(r"registry\.access\.redhat\.com/ubi\d+/python-(\d)(\d+)(?:-minimal)?")
# Images whose only use to a component is their Python.
_PLAIN_PYTHONS = re.compile(r"(?:ghcr\.io/kubeflow|gcr\.io/ml-pipeline)/.*\bpython[\w-]*")
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.\d+)?(?![\d.])")
_PACKAGES = {"sklearn": "scikit-learn"}
# What models of a framework may need beside it: those that choose columns by name take DataFrames.
_COMPANIONS = {"sklearn": ("pandas",)}
# Without the GPU communication library (200 MB) that the full package pulls in.
_CPU_ONLY = {"xgboost": "xgboost-cpu"}
_SERVER_PACKAGES = (
    "numpy", "joblib", "uvicorn", "uvloop", "httptools", "orjson", "prometheus-client",
)  # fmt: skip
_PART = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)-(\d[\w.]*)", re.ASCII)


def resolve(reference: str) -> Image:
    """The image of a reference.

    Raises:
        StartFailure: it is none that this machine knows, or no reference at all.
    """
    if why := imagereference.refusal(reference):
        raise StartFailure("InvalidImageName", why)
    name, tag = split(reference)
    if name.startswith("bessemer/"):
        return _our_own(reference, name.removeprefix("bessemer/"), tag)
    short = imagereference.library_name(name)
    if short == "python" or _PLAIN_PYTHONS.fullmatch(name):
        return Image(command=("python3",), python=_python_of(tag))
    if match := _UBI_PYTHON.fullmatch(name):
        return Image(command=("python3",), python=f"{match[1]}.{match[2]}")
    if shell := _USERLANDS.get(short):
        return Image(command=(shell,), is_userland=True)
    raise StartFailure(
        "ErrImagePull",
        f'Failed to pull image "{reference}": images from registries are not pulled yet on one '
        "machine; known are python:3.x, busybox, alpine, debian, ubuntu, bash and bessemer/…: "
        "name one of them",
    )


def refusal(reference: str) -> str:
    """Why a container of that image can't run on this machine; "" if it can."""
    try:
        resolve(reference)
    except StartFailure as failure:
        return str(failure)
    return ""


def stand_in(reference: str) -> str:
    """What runs instead of an image that can't be had, in words for its user; "" if nothing does.

    A Python image is an environment of that Python, as is documented, unless a digest asks for the
    very bytes of one.
    """
    try:
        image = resolve(reference)
    except StartFailure:
        return ""
    if image.is_userland:
        return f"image {reference} is not pulled: this machine's own programs run instead"
    if "@" in reference and image.python is not None:
        return f"image {reference} is not pulled: an environment of Python runs instead"
    return ""


def stand_ins(containers: Iterable[Object]) -> str:
    """What runs instead of the images of a pod's containers, in one text."""
    told = dict.fromkeys(stand_in(each.get("image", "")) for each in containers)
    return "; ".join(filter(None, told))


def split(reference: str) -> tuple[str, str]:
    """Repository and tag ("latest" when absent); a digest is no tag.

    Raises:
        StartFailure: the text is no image reference.
    """
    without_digest, _, digest = reference.partition("@")
    head, slash, last = without_digest.rpartition("/")
    last, _, tag = last.partition(":")
    if not last or not re.fullmatch(r"[\w.:/-]+", without_digest, re.ASCII):
        raise StartFailure(
            "InvalidImageName",
            f'Failed to apply default image tag "{reference}": couldn\'t parse image name: '
            "write repository:tag",
        )
    return head + slash + last, tag or ("" if digest else "latest")


def _python_of(tag: str) -> str:
    """The Python of a tag: "3.11" of 3.11.7-slim; "" of latest, 3, alpine3.9."""
    match = _VERSION.match(tag)
    return f"{match[1]}.{match[2]}" if match and match[2] else ""


def _our_own(reference: str, name: str, tag: str) -> Image:
    if name == "envoy":
        return Image(entrypoint=("envoy",), is_own=True)
    if name == "modelserver":
        return _modelserver(reference, tag)
    raise StartFailure(
        "ErrImagePull",
        f'Failed to pull image "{reference}": ours are bessemer/envoy and bessemer/modelserver',
    )


def _modelserver(reference: str, tag: str) -> Image:
    """Tag: ``framework-version``, several joined by ``_``; ``python-3.11`` sets the Python."""
    python, requirements = "", []
    for part in tag.split("_"):
        match = _PART.fullmatch(part)
        if match is None:
            raise StartFailure(
                "ErrImagePull",
                f'Failed to pull image "{reference}": its tag is framework-version, several '
                'joined by "_", as sklearn-1.9.1 or xgboost-3.2.0_sklearn-1.9.1',
            )
        if match[1] == "python":
            python = match[2]
        else:
            requirements += _requirement(match[1], match[2])
    named = {requirement.partition("==")[0] for requirement in requirements}
    requirements += [name for name in _SERVER_PACKAGES if name not in named]
    return Image(
        entrypoint=("python3", "-m", "bessemer.modelserver"),
        python=python,
        installs=(Install(tuple(requirements)),),
        has_programs=True,
    )


def _requirement(name: str, version: str) -> list[str]:
    if light := _CPU_ONLY.get(name):
        return [
            f"{light}=={version}; sys_platform == 'linux'",
            f"{name}=={version}; sys_platform != 'linux'",
        ]
    return [f"{_PACKAGES.get(name, name)}=={version}", *_COMPANIONS.get(name, ())]
