"""What a sandboxed container sees of this machine: the mounts by name, and its own /etc."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.base.ids import hash_name
from bessemer.cluster.kubelet.runtime.base import RuntimeFailure

#: The container's own home folder.
HOME = "/home/pod"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MACHINE_ETC = "/run/machine/etc"
_RECORD = "record.json"
_PREFIX_PARTS = ("bin", "lib", "lib64", "libexec", "include", "share")
#: Of the machine's /etc: how programs of /usr find their libraries, certificates, names.
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types",
    "pki/ca-trust", "pki/tls/certs", "protocols", "services", "ssl/certs",
    "ssl/openssl.cnf", "terminfo", "timezone",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Parts of a launcher's spec: see launcher/root.py."""

    folders: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    binds: tuple[tuple[str, str, bool], ...]


def machine(prepared_etc: Path) -> Layout:
    """The machine's programs and the /etc that was prepared, read-only."""
    folders = ("/var/tmp", "/run", "/etc/ssl", "/etc/pki/tls")
    links: list[tuple[str, str]] = []
    binds = [("/usr", "/usr", True)]
    for name in _TOP:
        top = Path("/", name)
        if top.is_symlink():
            links.append((f"/{name}", str(top.readlink())))
        elif top.is_dir():
            binds.append((str(top), f"/{name}", True))
    # Links to a folder beside it: /etc itself stays writable, for mounts beneath it.
    binds.append((str(prepared_etc), _MACHINE_ETC, True))
    links.extend(
        (f"/etc/{name}", f"{_MACHINE_ETC}/{name}")
        for name in _ETC
        if (prepared_etc / name).exists()
    )
    cpus = "/sys/devices/system/cpu"  # numerical libraries count cores there
    if Path(cpus).is_dir():
        binds.append((cpus, cpus, True))
    return Layout(folders, tuple(links), tuple(binds))


def environment(path: Path) -> tuple[tuple[str, str, bool], ...]:
    """The binds that an environment's python needs: itself and its base interpreter.

    Where that is was recorded when the environment was made: packages write to the environment,
    so nothing in it is asked. The server's own environment is its owner's.

    Raises:
        RuntimeFailure: nothing was recorded.
    """
    bases = find_bases(path) if path == Path(sys.prefix) else _recorded_bases(path)
    binds = [(str(path), str(path), True)]
    for prefix in bases:
        # Its parts by name: a prefix may be somebody's home folder.
        for part in _PREFIX_PARTS:
            if (prefix / part).is_dir():
                binds.append((str((prefix / part).resolve()), str(prefix / part), True))
    return tuple(dict.fromkeys(binds))


def find_bases(path: Path) -> tuple[Path, ...]:
    """Where an environment's base interpreter is, asked of the environment itself.

    For those alone which no package has written to yet, or whose packages are trusted.

    Raises:
        RuntimeFailure: it has no interpreter.
    """
    python = path / "bin" / "python3"
    if not python.exists():
        raise RuntimeFailure(
            f"an environment needs bin/python3, but {path} has none; build it again"
        )
    prefixes = [python.resolve().parent.parent]
    settings = path / "pyvenv.cfg"
    if settings.exists():
        for line in settings.read_text().splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                prefixes.append(Path(value.strip()).parent)
    return tuple(
        prefix
        for prefix in dict.fromkeys(prefixes)
        if not prefix.is_relative_to("/usr") and prefix not in (Path("/"), path)
    )


def record_of(path: Path) -> Path:
    """The record of an environment: beside it, where no package can write."""
    return path.with_name(_RECORD)


def record_bases(path: Path, bases: Sequence[Path]) -> None:
    """Record where an environment's base interpreter is, which says that it is whole. Blocking."""
    record = record_of(path)
    draft = record.with_name(f"{_RECORD}.new")
    draft.write_text(json.dumps({"bases": [str(base) for base in bases]}))
    os.sync()  # thousands of files: a crash of the machine must not leave a mark over half of them
    draft.rename(record)


def _recorded_bases(path: Path) -> list[Path]:
    try:
        return [Path(base) for base in json.loads(record_of(path).read_text())["bases"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RuntimeFailure(
            f"an environment needs {_RECORD} beside it, which says where its base interpreter is, "
            f"but {record_of(path)} can't be read ({error}); build it again"
        ) from error


def prepare_etc(run: Path) -> Path:
    """A folder under ``run`` with the /etc that containers share: copies, to be one mount.

    Named by what it was copied from: running containers keep theirs when the machine's changes.
    """
    sources = [Path("/etc", name) for name in _ETC if Path("/etc", name).exists()]
    stamps = (f"{source}:{source.stat().st_mtime_ns}" for source in sources)
    folder = run / f"etc-{hash_name(str(os.getuid()), *stamps)}"
    if folder.exists():
        return folder
    fresh = Path(tempfile.mkdtemp(dir=run, prefix="etc-"))
    fresh.chmod(0o755)
    for source in sources:
        target = fresh / source.relative_to("/etc")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, copy_function=_copy_readable)
        else:
            _copy_readable(str(source), str(target))
    try:
        fresh.rename(folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(fresh)
    return folder


def _copy_readable(source: str, target: str) -> None:
    with contextlib.suppress(PermissionError):
        shutil.copyfile(source, target)


def users() -> dict[str, str]:
    """The texts of the files in /etc that say who is who: the owner is alone in there."""
    uid, gid = os.getuid(), os.getgid()
    people = {0: "root", 65534: "nobody"} | ({uid: "pod"} if uid else {})
    groups = {0: "root", 65534: "nogroup"} | ({gid: "pod"} if gid else {})
    return {
        "/etc/passwd": "".join(
            f"{name}:x:{number}:{number}::{HOME}:/bin/sh\n" for number, name in people.items()
        ),
        "/etc/group": "".join(f"{name}:x:{number}:\n" for number, name in groups.items()),
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }


def names(hosts: Mapping[str, str], hostname: str) -> dict[str, str]:
    """The texts of the files in /etc that say which host is where."""
    known = [("localhost", "127.0.0.1"), ("localhost", "::1"), *hosts.items()]
    if hostname not in ("localhost", *hosts):
        known.append((hostname, "127.0.0.1"))
    resolver = Path("/etc/resolv.conf")
    return {
        "/etc/hosts": "".join(f"{address}\t{name}\n" for name, address in known),
        "/etc/hostname": hostname + "\n",
        "/etc/resolv.conf": resolver.read_text() if resolver.is_file() else "",
    }
