"""What a storageUri means: a claim to mount, and where in the pod the model then is."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.artifacts.store import ArtifactStore
from bessemer.serving.errors import Unservable

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


def locate(namespace: str, uri: str, store: ArtifactStore) -> Location:
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
    found = store.find_claim(namespace, path)
    if found is None:
        raise Unservable(
            "StorageUriNotSupported",
            f"storageUri {uri!r} is in no volume of namespace {namespace}: {_SUPPORTED}",
        )
    claim, inside = found
    # Mounted at its own path, so that the same text means the same file in and outside the pod.
    root = path.removesuffix(f"/{inside}") if inside else path
    return Location(claim, root, path)


def _is_plain(path: str) -> bool:
    # No file has NUL in its name, and no command either.
    return "\0" not in path and not any(part in (".", "..") for part in path.split("/"))
