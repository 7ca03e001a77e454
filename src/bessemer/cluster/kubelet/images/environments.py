"""Virtual environments, one a (Python, package set): built by uv once, shared, then read-only.

Each has a folder of its own::

    <key>/venv         the environment itself, which packages wrote to
    <key>/record.json  where its base interpreter is: found before the first package came

A folder with the record is whole; one without is a build that was cut off, and is built anew. What
lies in the environment itself decides nothing: ``inspection`` holds it against what packages may
bring. Its ``.ready`` is for pods: the pip command lines that it answers (``standin/pip``).
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from uv import find_uv_bin

from bessemer.base import logs, trees
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.errors import BuildFailure, PodInstalls
from bessemer.cluster.kubelet.images import bounded, inspection, wheels
from bessemer.cluster.kubelet.runtime import layout
from bessemer.kinds.lightweight import Install

_log = logs.get(__name__)
_STANDIN = Path(__file__).parent / "standin" / "pip"
# Raised when what is put into an environment changes.
_FORM = 2
_VENV = "venv"
_TOLD_LINES = 12
_LOCK_SECONDS = 0.2
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CONSTRAINT": "UV_CONSTRAINT",
    "PIP_NO_INDEX": "UV_NO_INDEX",
}
# Packages a pod installs on top of its environment come before it, the standard library first.
_PTH = (
    "import os, sys; p = os.environ.get('BESSEMER_PACKAGES');"
    " p and p not in sys.path and sys.path.insert("
    "next((i for i, d in enumerate(sys.path) if 'site-packages' in d), len(sys.path)), p)\n"
)
Told = Callable[[str, str, str], Awaitable[None]]


@dataclass(frozen=True)
class Python:
    """An interpreter on this machine: its version and binary."""

    version: str  # "3.11"
    binary: Path
    note: str = ""  # how it differs from the wanted one


@dataclass(frozen=True)
class EnvironmentRequest:
    """A wanted environment: the Python ("" for any) and the installs in order.

    Attributes:
        owner: the namespace's uid, whose alone it is to be where nothing proves where a package
            comes from; "": everybody's.
    """

    python: str = ""
    installs: tuple[Install, ...] = ()
    owner: str = ""

    @classmethod
    def of(cls, python: str, installs: tuple[Install, ...], namespace: str) -> EnvironmentRequest:
        """The request of a pod in the namespace of that uid."""
        is_own = any(wheels.is_unproven(install) for install in installs)
        return cls(python, installs, namespace if is_own else "")


@dataclass(frozen=True)
class Environment:
    """An environment that containers can be started in."""

    path: Path
    note: str = ""  # a warning for the pod's owner


class Environments:
    """The environments of a home."""

    def __init__(self, home: Home, clock: Clock, bounds: bounded.Bounds | None = None) -> None:
        self._home = home
        self._bounds = bounds or bounded.Bounds()
        self._clock = clock
        self._uv = find_uv_bin()
        self._pythons: dict[str, Python] = {}
        self._ready: dict[EnvironmentRequest, Environment] = {}
        self._builds: dict[str, asyncio.Task[None]] = {}
        self._left_to_pods: dict[EnvironmentRequest, str] = {}  # with the reason

    @property
    def uv(self) -> Path:
        """The uv program, for pods that install more."""
        return Path(self._uv)

    def find(self, request: EnvironmentRequest) -> Environment | None:
        """The environment if this process knows it to be ready."""
        found = self._ready.get(request)
        # Somebody may have pruned it.
        return found if found and layout.record_of(found.path).exists() else None

    async def locate(self, request: EnvironmentRequest) -> Path:
        """The folder in which it is, or would be."""
        python = await self._python(request.python)
        return self._home.environments / _key(python, request)

    async def ensure(self, request: EnvironmentRequest, tell: Told) -> Environment:
        """The environment, built first if need be; ``tell`` gets events (type, reason, message).

        Raises:
            PodInstalls: of that only a container can have its own way, in its sandbox.
            BuildFailure: it can't be made.
        """
        if found := self.find(request):
            return found
        if reason := self._left_to_pods.get(request):
            raise PodInstalls(reason)
        try:
            return await self._ensure(request, tell)
        except PodInstalls as error:
            self._left_to_pods[request] = str(error)
            raise

    async def _ensure(self, request: EnvironmentRequest, tell: Told) -> Environment:
        for install in request.installs:
            wheels.check(install)
        python = await self._python(request.python)
        key = _key(python, request)
        path = self._home.environments / key / _VENV
        if not layout.record_of(path).exists():
            await self._build_shared(key, python, request, tell)
        environment = Environment(path, python.note)
        self._ready[request] = environment
        return environment

    async def close(self) -> None:
        """Give up the builds that are under way."""
        builds = list(self._builds.values())
        for build in builds:
            build.cancel()
        await asyncio.gather(*builds, return_exceptions=True)

    def index_variables(self) -> dict[str, str]:
        """Where uv in a pod finds packages: as the server's does, without anybody's password."""
        names = ("UV_DEFAULT_INDEX", "UV_INDEX")
        found = {name: value for name, value in self._variables().items() if name in names}
        return {name: value for name, value in found.items() if "@" not in value}

    async def _build_shared(
        self, key: str, python: Python, request: EnvironmentRequest, tell: Told
    ) -> None:
        name = _words(python, request)
        await tell("Normal", "Pulling", f"installing environment {name}")
        started = self._clock.monotonic()
        build = self._builds.get(key)
        if build is None:
            build = asyncio.create_task(self._build(key, python, request))
            self._builds[key] = build
            build.add_done_callback(lambda task: self._forget(key, task))
        # A pod that is deleted meanwhile must not stop the build for the others.
        await asyncio.shield(build)
        seconds = self._clock.monotonic() - started
        await tell("Normal", "Pulled", f"installed environment {name}, {seconds:.1f} s")

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        self._builds.pop(key, None)
        if not task.cancelled():
            task.exception()  # told by those who wait, if any still does

    async def _build(self, key: str, python: Python, request: EnvironmentRequest) -> None:
        self._home.environments.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._home.environments / f".{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # uv holds it too: one that an earlier, killed server left must end before we begin.
            # No thread waits for it: there are few, and a stop would have to wait too.
            while not _try_lock(lock):
                await self._clock.sleep(_LOCK_SECONDS)
            await self._build_locked(key, python, request, lock)
        except (BuildFailure, OSError) as error:
            # What is half made only takes room, of which there may be none left.
            await asyncio.to_thread(trees.remove, self._home.environments / key)
            if list(self._builds) == [key]:
                await asyncio.to_thread(_remove_drafts, self._home.cache)
            if isinstance(error, BuildFailure):
                raise
            raise BuildFailure(f"the environment could not be written: {error}") from error
        finally:
            os.close(lock)

    async def _build_locked(
        self, key: str, python: Python, request: EnvironmentRequest, lock: int
    ) -> None:
        folder = self._home.environments / key
        if folder.exists():
            await asyncio.to_thread(trees.remove, folder)
        _log.info("environment is built", extra=fields(key=key, python=python.version))
        path = folder / _VENV
        await self._run(
            "venv", "--no-project", "--no-config", "--python", str(python.binary), str(path),
            held=lock,
        )  # fmt: skip
        bases, packages = layout.find_bases(path), wheels.find_packages(path)
        before = await asyncio.to_thread(inspection.note, path)
        base = python.binary
        for install in request.installs:
            try:
                arguments = wheels.make_arguments(install, base, path)
                await self._run(*arguments, held=lock, owner=request.owner)
            except BuildFailure as failure:
                raise wheels.explain(failure) from failure
            # Before anything else looks at what came, the next install included.
            await asyncio.to_thread(inspection.check, path, packages, before, self._bounds)
        await asyncio.to_thread(wheels.own_scripts, path, base)
        listed = await self._run("pip", "freeze", "--python", str(base), "--prefix", str(path))
        await self._compile(base, packages)
        await asyncio.to_thread(_finish, path, packages, request.installs, listed.splitlines())
        await asyncio.to_thread(layout.record_bases, path, bases)

    async def _compile(self, python: Path, packages: Path) -> None:
        """Compile what compiles; some packages carry files that don't, on purpose."""
        command = wheels.make_compilation(python, packages)
        order = bounded.Order(command, {"PATH": os.defpath}, self._home.environments)
        await bounded.run(order, self._bounds, self._clock)

    async def _run(self, *arguments: str, held: int | None = None, owner: str = "") -> str:
        # There no name of a package is a file's.
        folder = self._home.environments
        folder.mkdir(parents=True, exist_ok=True)
        variables = self._variables()
        if owner:
            # uv keeps what an address gave, and would give it to others who ask there.
            variables["UV_CACHE_DIR"] = str(self._home.cache / f"uv-{owner}")
        order = bounded.Order((self._uv, *arguments), variables, folder, held)
        ended = await bounded.run(order, self._bounds, self._clock)
        if ended.code:
            told = "\n".join(ended.errors.strip().splitlines()[-_TOLD_LINES:])
            raise BuildFailure(f"uv {' '.join(arguments[:2])} failed: {told}")
        return ended.output

    def _variables(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        env.setdefault("UV_CACHE_DIR", str(self._home.cache / "uv"))
        env["UV_PYTHON_DOWNLOADS"] = "never"
        env["UV_NO_PROGRESS"] = "1"
        for name, ours in _PIP_TO_UV.items():
            if value := os.environ.get(name):
                env.setdefault(ours, value)
        return env

    async def _python(self, wanted: str) -> Python:
        if wanted not in self._pythons:
            self._pythons[wanted] = await self._find_python(wanted)
        return self._pythons[wanted]

    async def _find_python(self, wanted: str) -> Python:
        own = Python(f"{sys.version_info.major}.{sys.version_info.minor}", _base_python())
        wanted = ".".join(wanted.split(".")[:2])
        if wanted in ("", own.version):
            return own
        found = {own.version: own.binary, **_neighbours(), **await self._listed()}
        if wanted in found:
            return Python(wanted, found[wanted])
        nearest = min(found, key=lambda version: _distance(version, wanted))
        note = (
            f"Python {wanted} is not on this machine; the nearest, {nearest}, runs the container. "
            f"Install it (uv python install {wanted}) to have the wanted one"
        )
        return Python(nearest, found[nearest], note)

    async def _listed(self) -> dict[str, Path]:
        try:
            text = await self._run("python", "list", "--only-installed", "--output-format", "json")
        except BuildFailure:
            return {}
        return _read_listed(text)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_drafts(cache: Path) -> None:
    """Delete what a uv that was ended in the middle had unpacked by then."""
    for pattern in ("uv*/.tmp*", "uv*/*/.tmp*"):
        for path in cache.glob(pattern):
            trees.remove(path)


def _base_python() -> Path:
    base = getattr(sys, "_base_executable", "") or sys.executable
    return Path(base).resolve()


def _read_listed(text: str) -> dict[str, Path]:
    """The interpreters that uv found."""
    found: dict[str, Path] = {}
    for row in orjson.loads(text):
        parts = row["version_parts"]
        if row.get("implementation") == "cpython" and row.get("path"):
            found.setdefault(f"{parts['major']}.{parts['minor']}", Path(row["path"]).resolve())
    return found


def _neighbours() -> dict[str, Path]:
    """Interpreters installed beside ours, as pyenv and uv lay them out."""
    found: dict[str, Path] = {}
    for binary in Path(sys.base_prefix).parent.glob("*/bin/python3.*"):
        version = binary.name.removeprefix("python")
        if all(part.isdigit() for part in version.split(".")):
            found.setdefault(version, binary.resolve())
    return found


def _distance(version: str, wanted: str) -> tuple[int, int]:
    """How far a version is from the wanted one; of two as far, the newer."""
    numbers = [int(part) for part in version.split(".")]
    target = [int(part) for part in wanted.split(".") if part.isdigit()]
    minor = target[1] if len(target) > 1 else numbers[1]
    return abs(numbers[1] - minor), -numbers[1]


def _key(python: Python, request: EnvironmentRequest) -> str:
    parts = (_FORM, platform.machine(), python.version, str(python.binary), request.installs)
    text = repr((*parts, request.owner))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _words(python: Python, request: EnvironmentRequest) -> str:
    packages = [name for install in request.installs for name in install.requirements]
    told = ", ".join(packages[:6]) + (" …" if len(packages) > 6 else "")
    return f"Python {python.version}" + (f" with {told}" if told else "")


def _finish(
    path: Path, packages: Path, installs: Sequence[Install], resolved: Sequence[str]
) -> None:
    """Add the stand-in for pip, and what it reads."""
    if not (packages / "pip").exists():
        shutil.copytree(_STANDIN, packages / "pip", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pip", "pip3"):
            script = path / "bin" / name
            script.unlink(missing_ok=True)  # a package's: it may be one file with uv's cache
            script.write_text(
                f"#!{path}/bin/python\nimport sys\nfrom pip import main\nsys.exit(main())\n"
            )
            script.chmod(0o755)
    (packages / inspection.PTH).write_text(_PTH)
    record: Mapping[str, object] = {
        "resolved": list(resolved),
        "pip": [_pip_words(install) for install in installs],
    }
    (path / inspection.READY).write_bytes(orjson.dumps(record))


def _pip_words(install: Install) -> list[str]:
    words = list(install.requirements)
    words += ["--no-deps"] if install.no_dependencies else []
    for name, values in (
        ("--index-url", install.index_urls),
        ("--extra-index-url", install.extra_index_urls),
        ("--trusted-host", install.trusted_hosts),
    ):
        for value in values:
            words += [name, value]
    return words
