"""Artifacts in a volume of the control plane's own, for clusters without a store of objects.

Each namespace has a folder there. URIs are ``minio://bucket/key``, upstream's built-in store:
every version of the SDK knows that their files are below ``/minio`` in the pod. Pods don't see
the volume: a launcher in them copies between ``/minio`` and ``face``, which serves it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bessemer.artifacts.disk import DRAFTS, DiskStore
from bessemer.artifacts.store import Attachment, ClaimPath, Elsewhere, Foreign, is_text, shorten

#: Where runs' outputs go that ask for no other place. Source: upstream's default pipeline root.
ROOT = "minio://mlpipeline/v2/artifacts"

_SCHEME = "minio://"
_MOUNT = "/minio"
_VOLUME = "artifacts"
_LONGEST_NAMESPACE = 63


class MinioUris:
    """What ``minio://`` URIs mean: the verbs of ``ArtifactStore`` that need no I/O."""

    def root(self, namespace: str) -> str:
        """See the port."""
        return ROOT

    def place(self, namespace: str, uri: str) -> str:
        """See the port."""
        return f"{_SCHEME}{'/'.join(split(uri))}"

    def attach(self, namespace: str, folder: str) -> Attachment:
        """See the port; the folder is the pod's own, and a launcher copies."""
        self.place(namespace, folder)
        return Attachment(
            volumes=[{"name": _VOLUME, "emptyDir": {}}],
            mounts=[{"name": _VOLUME, "mountPath": _MOUNT}],
            path=to_path,
        )

    def find_claim(self, namespace: str, uri: str) -> ClaimPath | None:
        """See the port; the volume is no claim of a namespace's."""
        return None


class VolumeStore(MinioUris, DiskStore):
    """The control plane's volume, as the control plane itself sees it."""

    def __init__(self, folder: Path) -> None:
        self._volume = folder

    async def prepare(self, namespace: str) -> None:
        """See the port."""
        folder = Path(self._folder(namespace))
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)

    def _folder(self, namespace: str) -> str:
        # It is a name of Kubernetes', but comes from a database or a token.
        if not namespace.replace("-", "").isalnum() or len(namespace) > _LONGEST_NAMESPACE:
            raise Elsewhere(f"no namespace is called {namespace[:80]!r}")
        return str(self._volume / namespace)

    def _inside(self, namespace: str, uri: str) -> str:
        return "/".join(split(uri))


def split(uri: str) -> list[str]:
    """The bucket and the parts of the key.

    Raises:
        Elsewhere: it leads out of its bucket.
        Foreign: it is of another scheme.
    """
    if not uri.startswith(_SCHEME):
        raise Foreign(
            f"{shorten(uri)} is of another sort of store; give minio://bucket/path, which is a "
            "folder of the cluster's own"
        )
    names = [name for name in uri.removeprefix(_SCHEME).split("/") if name not in ("", ".")]
    if ".." in names or not is_text(uri) or names[:1] == [DRAFTS]:
        raise Elsewhere(
            f"{shorten(uri)} leads to no place of the namespace; give another, without '..'"
        )
    return names


def to_path(uri: str) -> str:
    """Where in a pod the file of that URI is."""
    return f"{_MOUNT}/{uri.removeprefix(_SCHEME)}" if uri.startswith(_SCHEME) else uri
