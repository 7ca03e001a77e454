"""Artifacts in a namespace's PersistentVolumeClaim, which is a folder of this machine.

URIs are plain absolute paths, and the claim is mounted in pods at its own: so the same text means
the same file in and outside of a pod, and the SDK's ``.path`` is where the file is (of ``file://``
URIs it makes none).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from bessemer.artifacts.disk import DiskStore, relative
from bessemer.artifacts.store import Attachment, ClaimPath, Elsewhere, Foreign, NotReady, shorten
from bessemer.base.clock import Clock
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kube.client import Client
from bessemer.kube.errors import AlreadyExists, NotFound

CLAIM = "pipeline-artifacts"

_MINIO = "minio://"
_FILE = "file://"
# How long a claim may take to be bound, and how often to look: a new one's takes milliseconds.
_BIND_SECONDS = 10.0
_BIND_LOOK_SECONDS = 0.01


class ClaimStore(DiskStore):
    """The artifacts of each namespace in its claim ``pipeline-artifacts``.

    Args:
        client: makes the claims.
        clock: the time.
        volumes: has ``<namespace>/<claim>``, the folder of each claim or a link to it.
    """

    def __init__(self, client: Client, clock: Clock, volumes: Path) -> None:
        self._client = client
        self._clock = clock
        self._volumes = str(volumes)

    def root(self, namespace: str) -> str:
        """See the port."""
        return f"{self._volumes}/{namespace}/{CLAIM}"

    def place(self, namespace: str, uri: str) -> str:
        """See the port; ``minio://bucket/path`` is the folder of that name in the claim."""
        root, names = self._split(namespace, uri)
        return "/".join((root, *names))

    def attach(self, namespace: str, folder: str) -> Attachment:
        """See the port; the claim is mounted at its own path."""
        root, names = self._split(namespace, folder)
        return Attachment(
            volumes=[{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}],
            mounts=[
                {"name": CLAIM, "mountPath": root, "readOnly": True},
                {"name": CLAIM, "mountPath": folder, "subPath": "/".join(names)},
            ],
        )

    def find_claim(self, namespace: str, uri: str) -> ClaimPath | None:
        """See the port; of any claim of the namespace."""
        inside = relative(uri.removeprefix(_FILE), f"{self._volumes}/{namespace}")
        if not inside:
            return None
        claim, _, path = inside.partition("/")
        return ClaimPath(claim, path)

    async def prepare(self, namespace: str) -> None:
        """See the port. What the claim is, the API is asked each time: anybody may delete it."""
        claim = await self._have_claim(namespace)
        deadline = self._clock.monotonic() + _BIND_SECONDS
        # A claim's folder is there before the claim is said to be bound.
        while meta.dig(claim, "status.phase") != "Bound":
            if self._clock.monotonic() > deadline:
                raise NotReady(
                    f"a run needs the claim {CLAIM} of namespace {namespace} to be bound, "
                    f"but it is not after {_BIND_SECONDS:.0f} s; see its Events"
                )
            await self._clock.sleep(_BIND_LOOK_SECONDS)
            claim = await self._have_claim(namespace)
        if meta.is_deleting(claim):
            raise NotReady(
                f"the claim {CLAIM} of namespace {namespace} is being deleted; a new one is made "
                "when it has gone, which pods that use it keep it from"
            )

    async def _have_claim(self, namespace: str) -> Object:
        with contextlib.suppress(NotFound):
            return await self._client.get(PERSISTENT_VOLUME_CLAIM, CLAIM, namespace)
        claim = meta.new(
            PERSISTENT_VOLUME_CLAIM,
            CLAIM,
            namespace,
            spec={
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "10Gi"}},
            },
        )
        with contextlib.suppress(AlreadyExists):
            return await self._client.create(PERSISTENT_VOLUME_CLAIM, claim)
        return await self._client.get(PERSISTENT_VOLUME_CLAIM, CLAIM, namespace)

    def _folder(self, namespace: str) -> str:
        return self.root(namespace)

    def _inside(self, namespace: str, uri: str) -> str:
        root = self.root(namespace)
        path = uri.removeprefix(_FILE)
        if uri.startswith(_MINIO):
            path = f"{root}/{uri.removeprefix(_MINIO).strip('/')}"
        elif not path.startswith("/"):
            raise Foreign(f"{shorten(uri)} is of another sort of store; {_cure(root)}")
        inside = relative(path, root)
        if inside is None:
            raise Elsewhere(
                f"{shorten(uri)} is in no place of namespace {namespace}; {_cure(root)}"
            )
        return inside


def _cure(root: str) -> str:
    return f"give a path in {root}, or minio://bucket/path, which is a folder in there"
