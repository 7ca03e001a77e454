"""What a storageUri means: a claim to mount, and where in the pod the model then is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bessemer.base.home import Home
from bessemer.serving.errors import Unservable

# (namespace, absolute path) -> (claim, path inside it), or None: no claim of the namespace has it.
Resolver = Callable[[str, str], tuple[str, str] | None]

# Where a claim named in the URI is mounted. Source: kserve's storage initializer.
MODELS = "/mnt/models"
_SUPPORTED = (
    "supported are an absolute path inside one of the namespace's volumes (a pipeline's "
    "artifact), the same as file://, and pvc://claim/path"
)


@dataclass(frozen=True)
class Location:
    """A claim, where to mount it, and the model's path in the pod."""

    claim: str
    mount_path: str
    model_path: str


def locate(namespace: str, uri: str, resolve: Resolver) -> Location:
    """Where the model of that URI is.

    Raises:
        Unservable: the URI is of a kind that isn't supported, or of no volume of the namespace.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "pvc":
        claim, _, path = rest.partition("/")
        if not claim or not _is_plain(path):
            raise Unservable("InvalidStorageUri", f"storageUri {uri!r}: write pvc://claim/path")
        return Location(claim, MODELS, f"{MODELS}/{path}".rstrip("/"))
    path = rest if separator and scheme == "file" else uri
    if (separator and scheme != "file") or not path.startswith("/") or not _is_plain(path):
        raise Unservable("StorageUriNotSupported", f"storageUri {uri!r}: {_SUPPORTED}")
    path = path.rstrip("/")
    found = resolve(namespace, path)
    if found is None:
        raise Unservable(
            "StorageUriNotSupported",
            f"storageUri {uri!r} is in no volume of namespace {namespace}: {_SUPPORTED}",
        )
    claim, inside = found
    inside = inside.strip("/")
    # Mounted at its own path, so that the same text means the same file in and outside the pod.
    root = path.removesuffix(f"/{inside}") if inside else path
    return Location(claim, root, path)


def volumes_of(home: Home) -> Resolver:
    """The resolver of one machine, where claims are folders of the home."""

    def resolve(namespace: str, path: str) -> tuple[str, str] | None:
        root = f"{home.volumes / namespace}/"
        claim, _, inside = path.removeprefix(root).partition("/")
        return (claim, inside) if path.startswith(root) and claim else None

    return resolve


def _is_plain(path: str) -> bool:
    # No file has NUL in its name, and no command either.
    return "\0" not in path and not any(part in (".", "..") for part in path.split("/"))
