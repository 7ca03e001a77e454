"""A pod's volumes as folders of this machine.

What objects fill (configMap, secret, downwardAPI, projected) is written as kubelet does: a fresh
folder beside the old one, then ``..data`` is moved to it at once, so that a reader sees the old
files or the new ones, never a mix.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bessemer.base import trees
from bessemer.base.home import Home
from bessemer.cluster.kubelet.errors import config_error, mount_error
from bessemer.cluster.kubelet.runtime.base import Mount
from bessemer.cluster.kubelet.volumes import claimfolders, payloads, variables
from bessemer.cluster.kubelet.volumes.payloads import Files, Sources
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

_DATA = "..data"
_DRAFT = "..data_tmp"
_BLOCK = 4096  # bytes that the smallest file takes
# Of what objects fill in one pod: each of its volumes may show the same great object again.
_MOST_BYTES = 64 * 1024 * 1024
ClaimLookup = Callable[[str, str], Object | None]


class Volumes:
    """The volumes of one pod.

    Args:
        folder: where they are.
        claims: finds a PersistentVolumeClaim by name and namespace.
        memory: where those are that no disk may hold; None: no such place here.
    """

    def __init__(
        self, folder: Path, home: Home, claims: ClaimLookup, memory: Path | None = None
    ) -> None:
        self._folder = folder
        self._memory = memory or folder
        self._home = home
        self._claims = claims
        self._written: dict[str, Files] = {}

    def prepare(self, sources: Sources) -> None:
        """Make or refresh all volumes.

        Raises:
            StartFailure: something that one refers to is not there, or they hold too much.
        """
        size = 0
        for volume in sources.pod["spec"].get("volumes") or ():
            if any(kind in volume for kind in payloads.KINDS):
                files = payloads.files(volume, sources)
                size += sum(_size_on_disk(file.data) for file in files.values())
                if size > _MOST_BYTES:
                    raise mount_error(volume["name"], _too_large(size))
                self._fill(volume, files)
            else:
                self._locate(sources.pod, volume)

    def mounts(self, pod: Object, spec: Object, env: Mapping[str, str]) -> tuple[Mount, ...]:
        """A container's mounts.

        Raises:
            StartFailure: a mount names no volume, or leads out of it.
        """
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        result = []
        for mount in spec.get("volumeMounts") or ():
            name = mount["name"]
            if name not in volumes:
                raise config_error(f'a volumeMount names a volume of the pod, got "{name}"')
            source, read_only = self._locate(pod, volumes[name])
            below = mount.get("subPath") or ""
            if expression := mount.get("subPathExpr"):
                below = variables.expand(expression, env, "subPathExpr", _MOST_PATH)
            if below:
                _enter(source, below, name)
            read_only = read_only or bool(mount.get("readOnly"))
            result.append(Mount(source, mount["mountPath"], read_only, below))
        return tuple(result)

    def remove(self) -> None:
        """Delete what belongs to the pod alone."""
        for folder in {self._folder, self._memory}:
            trees.remove(folder)

    def place(self, volume: Object) -> Path:
        """The folder of a volume that belongs to the pod alone."""
        is_kept = any(kind in volume for kind in payloads.IN_MEMORY)
        name: str = volume["name"]
        return (self._memory if is_kept else self._folder) / name

    def _locate(self, pod: Object, volume: Object) -> tuple[Path, bool]:
        """The volume's folder, and whether it is read-only."""
        name = volume["name"]
        if claim := volume.get("persistentVolumeClaim"):
            return self._claim(pod, name, claim["claimName"]), bool(claim.get("readOnly"))
        if "hostPath" in volume:
            return _host_path(volume), False
        folder = self.place(volume)
        if any(kind in volume for kind in payloads.KINDS):
            return folder, True
        if "emptyDir" not in volume and set(volume) != {"name"}:
            kinds = ", ".join(sorted(set(volume) - {"name"}))
            raise mount_error(name, f"this machine has no volumes of the kind {kinds}")
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        return folder, False

    def _claim(self, pod: Object, name: str, claim: str) -> Path:
        namespace = meta.namespace(pod)
        obj = self._claims(claim, namespace)
        if obj is None:
            raise mount_error(name, f'persistentvolumeclaim "{claim}" not found')
        if meta.is_deleting(obj) and not _has_begun(pod):
            raise mount_error(name, f'persistentvolumeclaim "{claim}" is being deleted')
        if meta.dig(obj, "status.phase") != "Bound":
            raise mount_error(name, f'persistentvolumeclaim "{claim}" is not bound yet')
        folder = self._home.claim_folder(meta.uid(obj))
        return folder if folder.is_dir() else claimfolders.ensure(self._home, obj)

    def _fill(self, volume: Object, files: Files) -> None:
        name, folder = volume["name"], self.place(volume)
        if self._written.get(name) == files:
            return
        folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
        fresh.chmod(0o755)
        for path, file in files.items():
            if ".." in Path(path).parts or Path(path).is_absolute():
                raise mount_error(name, f"a path in a volume stays inside it, got {path!r}")
            _write(fresh / path, file.data, file.mode)
        _swap(folder, fresh)
        tops = {Path(path).parts[0] for path in files}
        for top in tops:
            if not (folder / top).is_symlink():
                (folder / top).symlink_to(f"{_DATA}/{top}")
        for entry in folder.iterdir():
            if entry.name not in tops and not entry.name.startswith(".."):
                entry.unlink()
        self._written[name] = files


def _has_begun(pod: Object) -> bool:
    """Whether a container of the pod has run: then its claims are kept for it, deleted or not."""
    if meta.dig(pod, "status.phase") == "Running":
        return True
    inits = meta.dig(pod, "status.initContainerStatuses") or ()
    return any(not status.get("state", {}).get("waiting") for status in inits)


def _size_on_disk(data: bytes) -> int:
    return max(1, -(-len(data) // _BLOCK)) * _BLOCK


def _too_large(size: int) -> str:
    return (
        f"with it the ConfigMaps, Secrets and fields in the pod's volumes take {size} bytes "
        f"({_BLOCK} at least for a file), and they may take {_MOST_BYTES}: mount fewer keys by "
        "items, or put the files into a PersistentVolumeClaim"
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _swap(folder: Path, fresh: Path) -> None:
    data, draft = folder / _DATA, folder / _DRAFT
    old = data.readlink() if data.is_symlink() else None
    draft.unlink(missing_ok=True)
    draft.symlink_to(fresh.name)
    draft.replace(data)
    if old:
        shutil.rmtree(folder / old, ignore_errors=True)


def _host_path(volume: Object) -> Path:
    spec = volume["hostPath"]
    path, kind = Path(spec["path"]), spec.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch()
    if not path.exists():
        raise mount_error(volume["name"], f"hostPath {path} does not exist")
    if kind and not _HOST_PATHS[kind](path):
        raise mount_error(volume["name"], f"hostPath type check failed: {path} is not a {kind}")
    return path


_HOST_PATHS: Mapping[str, Callable[[Path], bool]] = {
    "Directory": Path.is_dir, "DirectoryOrCreate": Path.is_dir,
    "File": Path.is_file, "FileOrCreate": Path.is_file,
    "Socket": Path.is_socket, "CharDevice": Path.is_char_device,
    "BlockDevice": Path.is_block_device,
}  # fmt: skip


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_STEPS = 255
_MOST_PATH = 4096  # PATH_MAX of Linux


def _enter(root: Path, below: str, name: str) -> None:
    """Check that a path in a volume leads to something inside it; make the folders it lacks.

    Each step goes by the descriptor of the one before: a program that makes a link of a folder
    meanwhile can't lead us out. What the path means when it is mounted is checked there again.
    """
    if Path(below).is_absolute() or ".." in Path(below).parts:
        raise config_error(f'subPath of volume "{name}" stays inside it, got {below!r}')
    outside = config_error(f'subPath of volume "{name}" leads out of it: {below!r}')
    steps, taken = below.split("/")[::-1], 0
    with contextlib.ExitStack() as stack:
        folders = [_open_folder(stack, str(root), None)]
        while steps:
            step, taken = steps.pop(), taken + 1
            if taken > _MOST_STEPS:
                raise outside
            if step == "..":
                folders.pop()
            elif step not in ("", "."):
                link = _take(step, folders, stack)
                if link is None and any(steps):
                    raise config_error(f'subPath of volume "{name}" goes on at a file: {below!r}')
                if link and link.startswith("/"):
                    raise outside
                steps.extend((link or "").split("/")[::-1])
            if not folders:
                raise outside


def _take(step: str, folders: list[int], stack: contextlib.ExitStack) -> str | None:
    """Go one step down, ""; or stay: where a link leads, None at a file."""
    here = folders[-1]
    with contextlib.suppress(FileExistsError):
        os.mkdir(step, dir_fd=here)
    try:
        folders.append(_open_folder(stack, step, here))
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        try:
            return os.readlink(step, dir_fd=here)
        except OSError:
            return None
    return ""


def _open_folder(stack: contextlib.ExitStack, path: str, folder: int | None) -> int:
    flags = _FOLDER if folder is not None else _FOLDER & ~os.O_NOFOLLOW
    descriptor = os.open(path, flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor
