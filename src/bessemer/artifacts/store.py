"""The port of artifacts: where runs' outputs are, whichever the place that keeps them is.

An artifact is a file or a folder of files that has a URI. Every verb names the namespace for which
it acts, and a URI means what it means there.

Laws (``tests/contract/artifacts/`` holds every implementation to them):

1. **A namespace sees its own.** A URI of anything else raises ``Elsewhere``, in the same words
   whether there is something or not.
2. **Never through a link.** Programs of users write what is kept, and may put a link anywhere at
   any moment; no verb follows one.
3. **Whole or not at all.** What ``write`` puts at a URI is seen there once all of it is durable,
   and not before, also if the writer is killed; ``write`` returns after that.
4. **An ``ArtifactError`` is final**; anything else that is raised may pass when asked again.
5. **What needs no I/O is no coroutine.** A coroutine may take long, but doesn't block the event
   loop; one whose work is shorter than waking a thread may end without giving the loop up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from bessemer.base.errors import BessemerError
from bessemer.kinds.kind import Object

_SHOWN = 200  # characters of a URI in an error


class ArtifactError(BessemerError):
    """What was asked of an artifact can't be done; asking again is no use."""


class Elsewhere(ArtifactError):
    """The URI is of no place where this store keeps what is of the namespace."""


class Foreign(Elsewhere):
    """The URI is of another sort of store, of which nothing is known here."""


class Unreadable(ArtifactError):
    """It is no plain file or folder, a link stands in the way, or it may not be opened."""


class Missing(Unreadable):
    """Nothing is there."""


class TooLarge(Unreadable):
    """It has more bytes than the caller takes."""


class Unauthenticated(ArtifactError):
    """Who asks over a network shows nothing that is known, or that counts any more."""


class NotReady(BessemerError):
    """The namespace has no place for its artifacts yet; it may have one later."""


class EntryKind(StrEnum):
    """What stands at a URI."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # a link or a device: it is there, but is never opened


class Entry(NamedTuple):
    """A thing that is kept."""

    path: str  # below what was asked for, parted by "/"; "" for that itself
    kind: EntryKind
    size: int  # bytes of a file; 0 of anything else


@dataclass(frozen=True)
class Attachment:
    """How a container of a pod gets at a folder of a run.

    Args:
        volumes: for the pod's ``spec.volumes``.
        mounts: for the container's ``volumeMounts``: all that the namespace keeps, to be read, and
            the folder itself, to be written.
        env: for the container's ``env``.
        path: where in the container the file of a URI of the store is; what has another sort of
            URI stays as it is.
    """

    volumes: Sequence[Object] = ()
    mounts: Sequence[Object] = ()
    env: Sequence[Object] = ()
    path: Callable[[str], str] = str


class ClaimPath(NamedTuple):
    """A place in a PersistentVolumeClaim of the namespace."""

    claim: str
    inside: str  # parted by "/", without one at its ends; "" is the claim's root


class OpenArtifact(Protocol):
    """A file that is open for reading, until it is closed."""

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        ...

    @property
    def version(self) -> str:
        """A short text without quotes; when the content changes, so does it."""
        ...

    def read(self, span: range) -> AsyncIterator[bytes]:
        """Those bytes in pieces; fewer, if the file has been cut meanwhile."""
        ...

    def close(self) -> None:
        """Let go of it; again is as good as once."""
        ...


class ArtifactStore(Protocol):
    """A place for artifacts. Errors are ``ArtifactError``, or what may pass."""

    def root(self, namespace: str) -> str:
        """The URI of the folder where runs' outputs go that ask for no other."""
        ...

    def place(self, namespace: str, uri: str) -> str:
        """The URI as this store spells it; ``Elsewhere`` when it is no place of the namespace.

        Several spellings mean one place: ``minio://bucket/path``, upstream's built-in store, is
        always one of them. Nothing need be there.
        """
        ...

    def attach(self, namespace: str, folder: str) -> Attachment:
        """How a pod gets at the folder of that URI, which ``lay_out`` has made."""
        ...

    def find_claim(self, namespace: str, uri: str) -> ClaimPath | None:
        """Where a claim of the namespace holds what has that URI; None: no claim does."""
        ...

    async def prepare(self, namespace: str) -> None:
        """Have the place where the namespace's artifacts are kept, and wait until it can be used.

        Again is as good as once; after the place was deleted, it is made anew.

        Raises:
            NotReady: it can't be used yet.
            kube.errors.NotFound: there is no such namespace.
        """
        ...

    async def lay_out(self, namespace: str, folders: Collection[str]) -> Mapping[str, str]:
        """Make folders, and those above them; of each that can't be made, why."""
        ...

    async def read_files(
        self, namespace: str, folder: str, names: Collection[str], most: int
    ) -> Mapping[str, bytes | None]:
        """Files that lie in a folder itself, by name; None for one that isn't there.

        Raises:
            TooLarge: one has more than ``most`` bytes.
            Unreadable: one is no plain file, or the folder is none.
        """
        ...

    async def find(self, namespace: str, uri: str) -> Entry | None:
        """What is at the URI; None when there is nothing, or a link stands in the way."""
        ...

    def list(self, namespace: str, uri: str) -> AsyncIterator[Entry]:
        """All plain files below the folder of that URI, or the file itself, in any order.

        Links and devices are left out.

        Raises:
            Missing: nothing is there.
            Unreadable: folders are nested beyond all measure.
        """
        ...

    async def open(self, namespace: str, uri: str) -> OpenArtifact:
        """The file at the URI; ``Missing``, or ``Unreadable`` when it is no plain file."""
        ...

    async def write(self, namespace: str, uri: str, pieces: AsyncIterator[bytes]) -> None:
        """Put a file at the URI, and the folders above it; a file that is there is replaced.

        Raises:
            Unreadable: a folder is there, or a link or a file stands in the way.
        """
        ...

    async def delete(self, namespace: str, uri: str) -> None:
        """Delete the file, or the folder with all in it; nothing there is as good as deleted.

        Raises:
            Elsewhere: it is all that the namespace has.
        """
        ...


class LogArchive(Protocol):
    """The logs of pods that are gone, out of the reach of pods; law 3 holds here, too."""

    async def keep(self, run_id: str, name: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep the whole log of a pod of a run; one that is kept already is replaced."""
        ...

    def read(
        self, run_id: str, name: str, *, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """The log in pieces, or its last lines; ``Missing`` when none is kept."""
        ...

    async def forget(self, run_id: str) -> None:
        """Delete what is kept of a run."""
        ...


def is_text(uri: str) -> bool:
    """Whether each place for artifacts can have a name like that: UTF-8, and no NUL."""
    try:
        uri.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in uri


def shorten(uri: str) -> str:
    """A URI as errors show it."""
    return repr(uri if len(uri) <= _SHOWN else f"{uri[:_SHOWN]}...")
