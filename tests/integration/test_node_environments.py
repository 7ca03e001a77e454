"""Environments by the real uv, without an index: packages are made here."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bessemer.base.clock import SystemClock
from bessemer.base.home import Home
from bessemer.cluster.kubelet.errors import BuildFailure, PodInstalls
from bessemer.cluster.kubelet.images.bounded import Bounds
from bessemer.cluster.kubelet.images.environments import EnvironmentRequest, Environments
from bessemer.cluster.kubelet.runtime import layout
from bessemer.cluster.kubelet.runtime.base import RuntimeFailure
from bessemer.kinds import lightweight
from bessemer.kinds.lightweight import Install
from node_cluster import open_cluster

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def make_wheel(
    folder: Path, name: str, version: str, more: Mapping[str, str] | None = None
) -> None:
    """The smallest package: a module that knows its version."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(more or {}),
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def make_bomb(folder: Path, size: int) -> None:
    """A package that is a thousand times as large as its archive."""
    make_wheel(folder, "bomb", "1.0")
    with (
        zipfile.ZipFile(
            folder / "bomb-1.0-py3-none-any.whl", "a", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as wheel,
        wheel.open("bomb_data.bin", "w", force_zip64=True) as file,
    ):
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


def store_wheels(wheels: Path, claim: Path) -> None:
    for wheel in wheels.iterdir():
        (claim / wheel.name).write_bytes(wheel.read_bytes())


def freeze(path: Path) -> bytes:
    return subprocess.run([path / "bin" / "pip", "freeze"], capture_output=True, check=True).stdout


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "ore", "1.0")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    return home


class Told:
    """The events, kept."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def __call__(self, type_: str, reason: str, message: str) -> None:
        self.events.append(f"{reason}: {message}")


def request(*requirements: str, python: str = OWN) -> EnvironmentRequest:
    return EnvironmentRequest(python, (Install(requirements),) if requirements else ())


def python(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [path / "bin" / "python", *arguments], capture_output=True, text=True, check=False
    )


async def test_one_build_serves_all_who_wait(home: Home, wheels: Path) -> None:
    environments, told = Environments(home, SystemClock()), Told()
    found = await asyncio.gather(*(environments.ensure(request("ore"), told) for _ in range(5)))
    assert len({each.path for each in found}) == 1
    path = found[0].path
    assert python(path, "-c", "import ore; print(ore.version)").stdout == "1.0\n"
    assert len(list((path / "lib").rglob("ore*.pyc"))) == 1
    assert told.events[0] == f"Pulling: installing environment Python {OWN} with ore"


async def test_what_was_resolved_once_is_reused(home: Home, wheels: Path) -> None:
    first = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    make_wheel(wheels, "ore", "2.0")
    told = Told()
    second = await Environments(home, SystemClock()).ensure(request("ore"), told)
    assert (second.path, told.events) == (first.path, [])
    newer = await Environments(home, SystemClock()).ensure(request("ore>=2"), told)
    assert python(newer.path, "-c", "import ore; print(ore.version)").stdout == "2.0\n"


async def test_a_build_that_was_cut_off_is_built_anew(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    layout.record_of(made.path).unlink()
    next((made.path / "lib").rglob("ore.py")).unlink()
    again = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    assert again.path == made.path
    assert python(again.path, "-c", "import ore; print(ore.version)").stdout == "1.0\n"


async def test_a_build_waits_for_one_that_a_killed_server_left(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    layout.record_of(made.path).unlink()
    lock = os.open(home.environments / f".{made.path.parent.name}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as the uv of the killed one
    again = asyncio.create_task(Environments(home, SystemClock()).ensure(request("ore"), Told()))
    done, _ = await asyncio.wait({again}, timeout=0.5)
    assert not done
    os.close(lock)
    assert (await again).path == made.path


async def test_a_failed_build_tells_uvs_last_lines_and_can_be_tried_again(
    home: Home, wheels: Path
) -> None:
    environments = Environments(home, SystemClock())
    with pytest.raises(BuildFailure, match="ingot"):
        await environments.ensure(request("ingot==3"), Told())
    make_wheel(wheels, "ingot", "3")
    made = await environments.ensure(request("ingot==3"), Told())
    assert python(made.path, "-c", "import ingot").returncode == 0


async def test_a_failed_build_leaves_nothing_on_the_disk(home: Home, wheels: Path) -> None:
    with pytest.raises(BuildFailure, match="ingot"):
        await Environments(home, SystemClock()).ensure(request("ingot==3"), Told())
    assert [each.name for each in home.environments.iterdir() if each.is_dir()] == []


async def test_an_environment_that_cannot_be_finished_is_a_build_failure(
    home: Home, wheels: Path
) -> None:
    # A package that leaves a folder where the stand-in's program must go: the write fails.
    make_wheel(wheels, "spoil", "1.0", {"spoil-1.0.data/data/bin/pip/x": ""})
    with pytest.raises(BuildFailure, match="the environment could not be written"):
        await Environments(home, SystemClock()).ensure(request("spoil"), Told())
    assert [each.name for each in home.environments.iterdir() if each.is_dir()] == []


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("data/pyvenv.cfg", "package 'evil-1.0' brings 'pyvenv.cfg', which is the environment's"),
        (
            "data/bin/activate",
            "package 'evil-1.0' brings 'bin/activate', which is the env",
        ),
        ("data/.ready", "package 'evil-1.0' brings '.ready', which is a name of Bessemer's own"),
        ("purelib/_bessemer.pth", "_bessemer.pth', which is a name of Bessemer's own"),
        (f"data/{'d/' * 70}x", "folders of packages lie at most 64 deep, but a package brings"),
    ],
)
async def test_what_no_package_may_bring_is_refused_with_its_name(
    home: Home, wheels: Path, path: str, told: str
) -> None:
    make_wheel(wheels, "evil", "1.0", {f"evil-1.0.data/{path}": "home = /etc/bin\n"})
    with pytest.raises(BuildFailure) as failure:
        await Environments(home, SystemClock()).ensure(request("evil"), Told())
    assert told in str(failure.value)
    assert "use another release of it" in str(failure.value)
    assert [each.name for each in home.environments.iterdir() if each.is_dir()] == []


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (Bounds(written=64 << 20), "packages may unpack to 64 MiB, but these are larger"),
        (Bounds(size=64 << 20), "at most 400000 files and 64 MiB, but these packages bring more"),
        (Bounds(files=3), "at most 3 files and"),
        (Bounds(file=64 << 20), "uv pip install failed"),
        (Bounds(room=1 << 60), "leaves"),
    ],
)
async def test_an_archive_that_unpacks_to_too_much_is_refused(
    home: Home, wheels: Path, bounds: Bounds, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(home.cache / "uv"))
    make_bomb(wheels, 700 << 20)
    with pytest.raises(BuildFailure, match=told):
        await Environments(home, SystemClock(), bounds).ensure(request("bomb"), Told())
    assert [each.name for each in home.environments.iterdir() if each.is_dir()] == []
    assert list(home.cache.rglob(".tmp*")) == []


async def test_a_mark_that_a_package_brings_makes_no_environment_whole(
    home: Home, wheels: Path
) -> None:
    made = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    layout.record_of(made.path).unlink()  # as a kill -9 in the middle of the build leaves it
    (made.path / "record.json").write_text('{"bases": ["/etc"]}')
    settings = made.path / "pyvenv.cfg"
    settings.write_text("home = /etc/bin\n")

    with pytest.raises(RuntimeFailure, match="build it again"):
        layout.environment(made.path)
    again = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    assert again.path == made.path
    assert "/etc" not in settings.read_text()


async def test_the_base_is_what_was_recorded_whatever_the_environment_says_later(
    home: Home, wheels: Path
) -> None:
    made = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    before = layout.environment(made.path)
    (made.path / "pyvenv.cfg").write_text(f"home = {home.root}/bin\n")
    (made.path / "bin" / "python3").unlink()
    (made.path / "bin" / "python3").symlink_to(home.root / "lib" / "x" / "python3")
    assert layout.environment(made.path) == before


async def test_a_stop_does_not_wait_for_a_lock(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    layout.record_of(made.path).unlink()
    environments = Environments(home, SystemClock())
    with (home.environments / f".{made.path.parent.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waits = asyncio.create_task(environments.ensure(request("ore"), Told()))
        done, _ = await asyncio.wait({waits}, timeout=0.5)
        await environments.close()
        assert not done
        with pytest.raises(asyncio.CancelledError):
            await waits


async def test_one_who_gives_up_does_not_stop_the_build(home: Home, wheels: Path) -> None:
    environments = Environments(home, SystemClock())
    quitter = asyncio.create_task(environments.ensure(request("ore"), Told()))
    other = asyncio.create_task(environments.ensure(request("ore"), Told()))
    await asyncio.sleep(0)
    quitter.cancel()
    assert (await other).path.exists()


async def test_an_unknown_python_gets_the_nearest_with_a_note(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(request(python="3.99"), Told())
    assert "Python 3.99 is not on this machine; the nearest, 3." in made.note


async def test_pip_is_satisfied_by_what_is_there(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(request("ore<2"), Told())
    for words in (["ore"], ["ore==1.0"], ["--quiet", "ore<2"]):
        done = python(made.path, "-m", "pip", "install", *words)
        assert (done.returncode, done.stderr) == (0, ""), words
    missing = python(made.path, "-m", "pip", "install", "ingot")
    assert missing.returncode == 1
    assert "not in the environment" in missing.stderr
    assert freeze(made.path) == b"ore==1.0\n"


async def test_a_pod_installs_more_for_itself_only(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, "ingot", "3")
    script = (
        "python -c 'import ingot' 2>/dev/null && exit 9; "
        "python -m pip install -q --no-index --find-links /wheels ingot && "
        "python -c 'import ingot; print(ingot.version)'"
    )
    async with open_cluster(tmp_path / "home") as cluster:
        store_wheels(wheels, await cluster.bound("wheels"))
        parts = {
            "volumeMounts": [{"name": "w", "mountPath": "/wheels"}],
            "spec": {"volumes": [{"name": "w", "persistentVolumeClaim": {"claimName": "wheels"}}]},
        }
        for name in ("a", "b"):
            await cluster.run(name, "sh", "-c", script, image="python:3", **parts)
            pod = await cluster.finished(name)
            assert await cluster.log(pod) == "3\n"


def make_source(folder: Path, name: str, mark: Path) -> None:
    """A source distribution whose build is a program that leaves a mark."""
    build = f"""
        from pathlib import Path
        Path({str(mark)!r}).write_text("built")
        raise SystemExit("no more than that")
        """
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "b"\n'
        'backend-path = ["."]\n',
        "b.py": textwrap.dedent(build),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as source:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            source.addfile(member, io.BytesIO(text.encode()))


async def test_no_code_of_a_package_runs_while_it_is_installed(home: Home, wheels: Path) -> None:
    mark = home.root / "mark"
    code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    make_wheel(wheels, "ore_trap", "1.0", {"ore_trap.pth": code})
    two = EnvironmentRequest(OWN, (Install(("ore_trap",)), Install(("ore",))))
    made = await Environments(home, SystemClock()).ensure(two, Told())
    assert not mark.exists()

    assert python(made.path, "-c", "import ore").returncode == 0
    assert mark.exists()  # it does what it is feared for


async def test_programs_of_packages_run_in_the_environment(home: Home, wheels: Path) -> None:
    points = {"ore-2.0.dist-info/entry_points.txt": "[console_scripts]\nore = ore:main\n"}
    make_wheel(wheels, "ore", "2.0", points)
    made = await Environments(home, SystemClock()).ensure(request("ore"), Told())
    first = (made.path / "bin" / "ore").read_text().splitlines()[0]

    assert first == f"#!{made.path}/bin/python"
    assert os.access(made.path / "bin" / "ore", os.X_OK)
    assert list(made.path.glob("lib/python3*/site-packages/__pycache__/ore.*.pyc"))


async def test_what_must_be_built_is_left_to_the_pod(home: Home, wheels: Path) -> None:
    mark = home.root / "mark"
    make_source(wheels, "ore_slag", mark)
    environments = Environments(home, SystemClock())
    for _ in range(2):  # remembered the second time
        with pytest.raises(PodInstalls, match=r"ore[_-]slag"):
            await environments.ensure(request("ore_slag"), Told())

    assert not mark.exists()
    assert not [path for path in home.environments.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "requirement",
    ["{home}/secret", "file://{home}/x.whl", "./x", "x @ file://{home}/x.whl", "x.tar.gz",
     "git+ssh://host/x", "x @ git+https://host/x", "-r{home}/secret", "x==1\n-r{home}/secret"],
)  # fmt: skip
async def test_the_servers_files_are_not_read_for_a_pod(
    home: Home, wheels: Path, requirement: str
) -> None:
    (home.root / "secret").write_text("hush")
    with pytest.raises(PodInstalls, match="neither a name nor on the web"):
        await Environments(home, SystemClock()).ensure(
            request(requirement.format(home=home.root)), Told()
        )


async def test_an_index_of_files_is_not_read_for_a_pod(home: Home, wheels: Path) -> None:
    install = Install(("ore",), index_urls=(wheels.as_uri(),))
    with pytest.raises(PodInstalls, match="is not on the web"):
        await Environments(home, SystemClock()).ensure(EnvironmentRequest(OWN, (install,)), Told())


async def test_a_container_then_installs_for_itself(tmp_path: Path, wheels: Path) -> None:
    executor = "import sys, ore\nprint('ran with ore', ore.version)\n"
    more = {"kfp/__init__.py": "", "kfp/dsl/__init__.py": "", "kfp/dsl/executor_main.py": executor}
    make_wheel(wheels, "kfp", "2.99", more)
    files = "'/wheels/ore-1.0-py3-none-any.whl' '/wheels/kfp-2.99-py3-none-any.whl'"
    guard = (
        '\nif ! [ -x "$(command -v pip)" ]; then\n    python3 -m ensurepip || '
        "python3 -m ensurepip --user || apt-get install python3-pip\nfi\n\n"
        "PIP_DISABLE_PIP_VERSION_CHECK=1 "
    )
    installs = f'{guard}python3 -m pip install --quiet {files} && "$0" "$@"\n'
    program = (
        'program_path=$(mktemp -d)\n\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
        "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main "
        '--component_module_path "$program_path/ephemeral_component.py" "$@"\n'
    )
    command = ["sh", "-c", installs, "sh", "-ec", program, "text of the component", "--f", "g"]
    assert lightweight.parse(command) is not None
    async with open_cluster(tmp_path / "home") as cluster:
        store_wheels(wheels, await cluster.bound("wheels"))
        volumes = [{"name": "w", "persistentVolumeClaim": {"claimName": "wheels"}}]
        mounts = [{"name": "w", "mountPath": "/wheels"}]
        await cluster.run(
            "a", *command, image="python:3", volumeMounts=mounts,
            spec={"volumes": volumes, "restartPolicy": "Never"},
        )  # fmt: skip
        pod = await cluster.finished("a")
        log = await cluster.log(pod)

    assert pod["status"]["phase"] == "Succeeded", log
    assert log == "ran with ore 1.0\n"


async def test_a_build_failure_is_the_pods_waiting_reason(tmp_path: Path, wheels: Path) -> None:
    async with open_cluster(tmp_path / "home") as cluster:
        await cluster.run("a", image="bessemer/modelserver:sklearn-0.0.1")
        pod = await cluster.until("a", lambda pod: "ImagePullBackOff" in str(pod.get("status")))
        assert "scikit-learn==0.0.1" in str(pod["status"]["containerStatuses"])
