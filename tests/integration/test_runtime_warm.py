"""A program started warm ends, writes and fails as its command started cold would."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.cluster.kubelet.runtime import cgroups, layout
from bessemer.cluster.kubelet.runtime.base import (
    ContainerState,
    Network,
    Observation,
    WarmProgram,
)
from bessemer.cluster.kubelet.runtime.choose import choose
from bessemer.cluster.kubelet.runtime.sandbox import SandboxRuntime
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes
from contract.runtime.bench import Bench, processes_with, read, until

SHELL = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main \
    --component_module_path "$program_path/ephemeral_component.py" "$@"
"""
# What stands in for kfp: as much of its shape as the launcher relies on.
EXECUTOR = """
import argparse, importlib.util, json, logging, os, sys

def executor_main():
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s", level=20)
    parser = argparse.ArgumentParser()
    parser.add_argument("--component_module_path")
    parser.add_argument("--executor_input")
    parser.add_argument("--function_to_execute")
    args, _ = parser.parse_known_args()
    name = os.path.basename(args.component_module_path)[:-3]
    logging.info("loading %s", name)
    spec = importlib.util.spec_from_file_location(name, args.component_module_path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(args.component_module_path))
    spec.loader.exec_module(module)
    inputs = json.loads(args.executor_input)["inputs"]["parameterValues"]
    getattr(module, args.function_to_execute)(**inputs)

if __name__ == "__main__":
    executor_main()
"""
ENDINGS = {
    "plain": "print('hello')",
    "streams": "import sys\n    for i in range(3):\n        print('o', i)\n        print('e', i, "
    "file=sys.stderr)",
    "error": "raise ValueError('no')",
    "deep": "def g():\n        raise KeyError('deep') from OSError('cause')\n    g()",
    "code": "import sys\n    sys.exit(7)",
    "text": "import sys\n    print('before')\n    sys.exit('a reason')",
    "none": "import sys\n    sys.exit()",
    "huge": "import sys\n    sys.exit(300)",
    "hard": "import os\n    print('lost, not flushed')\n    os._exit(9)",
    "killed": "import os\n    os.kill(os.getpid(), 9)",
    "interrupted": "raise KeyboardInterrupt",
    "atexit": "import atexit, sys\n    atexit.register(lambda: print('bye'))\n    sys.exit(2)",
    "thread": "import threading, time\n    threading.Thread(target=lambda: (time.sleep(0.2), "
    "print('thread'))).start()",
    "unclosed": "global f\n    f = open('left', 'w')\n    f.write('kept')",
    "library": "import csv\n    csv.f = open('left', 'w')\n    csv.f.write('kept')",
    "deleted": "global x\n    class X:\n        def __del__(self):\n            print('del')\n"
    "    x = X()",
    "subprocess": "import subprocess\n    subprocess.run(['sh', '-c', 'echo sub; exit 1'], "
    "check=True)",
    "argv": "import sys\n    print(len(sys.argv), sys.argv[0], sys.argv[3:], __name__, "
    "sys.prefix)",
    "main": "import sys\n    print(sys.modules['__main__'].__spec__.name, 'bessemer' in str("
    "sys.modules.keys()))",
    "path": "import sys\n    print(sys.path[1:], sys.flags, sys.executable)",
    "signals": "import signal\n    print([(s.name, signal.getsignal(s)) for s in "
    "(2, 13, 15, 17) for s in [signal.Signals(s)]], signal.pthread_sigmask(0, ()))",
    "files": "import os\n    print(sorted(os.listdir('/proc/self/fd')))",
    "limits": "import os, resource\n    print(os.umask(0), resource.getrlimit(7), os.getcwd(), "
    "sorted(set(os.environ) - {'_', 'PWD', 'SHLVL', 'OLDPWD'}))",
    "caps": "print([l for l in open('/proc/self/status') if l.startswith(('Cap', 'NoNew'))])",
    "unicode": "print('grüße ✓'); open('left', 'w').write('✓')",
    "import_error": "import nosuch",
    "children": "import multiprocessing as m\n    p = m.get_context('fork').Process(target=print, "
    "args=('child',)); p.start(); p.join()",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with an executor of kfp's shape."""
    folder = tmp_path_factory.mktemp("environments") / "env"
    base = Path(sys.executable).resolve()
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    dsl = next(folder.glob("lib/python*/site-packages")) / "kfp" / "dsl"
    dsl.mkdir(parents=True)
    for path, text in (
        (dsl.parent / "__init__.py", ""), (dsl / "__init__.py", ""),
        (dsl / "executor_main.py", EXECUTOR),
    ):  # fmt: skip
        path.write_text(text)
    subprocess.run([folder / "bin" / "python", "-m", "compileall", "-q", dsl.parent], check=True)
    return folder


@pytest.fixture
def environment(template: Path, tmp_path: Path) -> Path:
    """One of its own for each test, so that zygotes are told apart by it."""
    folder = shutil.copytree(template, tmp_path / "made" / "env", symlinks=True)
    layout.record_bases(folder, layout.find_bases(folder))
    return folder


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    name = f"bessemer-test-{uuid.uuid4().hex[:8]}"
    choice = await choose(tmp_path / "run", name, warm_idle=5.0)
    if choice.runtime.name != "sandbox":
        pytest.skip(f"this machine has no sandbox: {choice.describe()}")

    def make() -> SandboxRuntime:
        return SandboxRuntime(Zygotes(tmp_path / "run", 5.0), cgroups.NO_CGROUPS)

    made = Bench(choice.runtime, tmp_path, make)
    yield made
    await made.runtime.close()


def program(body: str) -> tuple[str, tuple[str, ...]]:
    source = f"import kfp\n\ndef f(a=1):\n    {body}\n"
    given = json.dumps({"inputs": {"parameterValues": {"a": 1}}})
    return source, ("--executor_input", given, "--function_to_execute", "f")


async def run(
    bench: Bench, environment: Path, body: str, *, warm: bool, **values: Any
) -> tuple[Observation, str, Path]:
    source, arguments = program(body)
    folder = await bench.start(
        "sh", "-ec", SHELL, source, *arguments, environment=environment,
        warm=WarmProgram(source, arguments) if warm else None, **values,
    )  # fmt: skip
    seen = await bench.wait(folder)
    return seen, read(folder / "log"), folder


def comparable(log: str) -> str:
    log = log.removesuffix("Killed\n")  # the shell's word, and there is no shell in a warm start
    return re.sub(r"(/tmp|/dev/shm)/tmp[^/\"']*", "/X", log)  # where the text of the program lies


@pytest.mark.parametrize("name", ENDINGS)
async def test_warm_is_as_cold(bench: Bench, environment: Path, name: str) -> None:
    warm, warm_log, folder = await run(bench, environment, ENDINGS[name], warm=True)
    cold, cold_log, other = await run(bench, environment, ENDINGS[name], warm=False)

    assert was_warm(folder)
    assert comparable(warm_log) == comparable(cold_log)
    assert (warm.exit_code, warm.start_error) == (cold.exit_code, cold.start_error)
    for left in other.glob("home/left"):
        assert read(folder / "home" / "left") == read(left)


def was_warm(folder: Path) -> bool:
    """The shell makes tmp.XXXXXXXXXX, Python's tempfile makes tmpxxxxxxxx."""
    return not list(folder.glob("tmp/tmp.*"))


async def test_env_and_cwd_are_the_specs(bench: Bench, environment: Path) -> None:
    body = "import os\n    print(os.environ['A'], os.getcwd(), os.environ.get('LC_ALL'))"
    _, log, folder = await run(
        bench, environment, body, warm=True, env={"A": "b c"}, working_dir="/usr/lib"
    )

    assert was_warm(folder)
    assert log.endswith("b c /usr/lib None\n")


async def test_unbuffered_is_honoured(bench: Bench, environment: Path) -> None:
    body = "import os\n    print('seen')\n    os._exit(0)"
    _, log, folder = await run(bench, environment, body, warm=True, env={"PYTHONUNBUFFERED": "1"})

    assert was_warm(folder)
    assert log.endswith("seen\n")


@pytest.mark.parametrize("env", [{"PYTHONPATH": "/x"}, {"LC_ALL": "de_DE.ISO-8859-1"}])
async def test_what_a_running_python_cannot_take_on_starts_cold(
    bench: Bench, environment: Path, env: dict[str, str]
) -> None:
    seen, _, folder = await run(bench, environment, "print(1)", warm=True, env=env)

    assert seen.exit_code == 0
    assert not was_warm(folder)


async def test_without_kfp_it_starts_cold(bench: Bench) -> None:
    seen, log, folder = await run(bench, Path(sys.prefix), "print(1)", warm=True)

    assert seen.exit_code == 1
    assert "kfp" in log
    assert not was_warm(folder)


async def test_programs_share_no_random_state(bench: Bench, environment: Path) -> None:
    body = "import random, tempfile, uuid\n    print(random.random(), uuid.uuid4())"
    runs = await asyncio.gather(*(run(bench, environment, body, warm=True) for _ in range(8)))

    assert len({log for _, log, _ in runs}) == 8


def says_up(log: Path) -> bool:
    return "up" in read(log)


async def test_sigterm_and_sigkill_reach_the_program(bench: Bench, environment: Path) -> None:
    body = (
        "import signal, sys, time\n"
        "    signal.signal(15, lambda *_: sys.exit(5))\n"
        "    print('up', flush=True)\n    time.sleep(60)"
    )
    source, arguments = program(body)
    for signum, code in ((signal.SIGTERM, 5), (signal.SIGKILL, 137)):
        folder = await bench.start(
            "false", environment=environment, warm=WarmProgram(source, arguments)
        )
        await until(functools.partial(says_up, folder / "log"))
        await bench.runtime.signal(folder, signum)
        assert (await bench.wait(folder)).exit_code == code


async def test_it_outlives_its_zygote_and_the_agent(bench: Bench, environment: Path) -> None:
    body = "import time\n    print('up', flush=True)\n    time.sleep(1)\n    print('done')"
    source, arguments = program(body)
    folder = await bench.start(
        "false", environment=environment, warm=WarmProgram(source, arguments)
    )
    await until(lambda: "up" in read(folder / "log"))
    zygotes = warm_zygotes(environment)
    for pid in zygotes:
        os.kill(pid, signal.SIGKILL)
    await bench.runtime.close()
    bench.runtime = bench.make()

    seen = await bench.wait(folder)
    assert seen.exit_code == 0
    assert read(folder / "log").endswith("done\n")
    again, log, other = await run(bench, environment, "print('again')", warm=True)
    assert (again.exit_code, log.endswith("again\n"), was_warm(other)) == (0, True, True)


async def test_a_killed_zygote_is_replaced(bench: Bench, environment: Path) -> None:
    await run(bench, environment, "print(1)", warm=True)
    for pid in warm_zygotes(environment):
        os.kill(pid, signal.SIGKILL)

    seen, _, folder = await run(bench, environment, "print(1)", warm=True)
    assert seen.exit_code == 0
    await run(bench, environment, "print(1)", warm=True)
    assert was_warm((await run(bench, environment, "print(1)", warm=True))[2])
    assert folder.exists()


async def test_a_killed_supervisor_takes_the_program_along(
    bench: Bench, environment: Path
) -> None:
    mark = str(uuid.uuid4())
    source, arguments = program("import time\n    print('up', flush=True)\n    time.sleep(60)")
    folder = await bench.start(
        "false", environment=environment, warm=WarmProgram(source, arguments), env={"M": mark},
        hostname=mark[:20],
    )  # fmt: skip
    await until(lambda: "up" in read(folder / "log"))
    supervisor = json.loads(read(folder / "started"))["supervisor"]["pid"]
    links = [
        os.readlink(f"/proc/{supervisor}/fd/{n}") for n in os.listdir(f"/proc/{supervisor}/fd")
    ]
    (namespace,) = [link for link in links if link.startswith("pid:")]
    os.kill(supervisor, signal.SIGKILL)

    assert (await bench.wait(folder)).state is ContainerState.LOST
    await until(lambda: not processes_in(namespace) and not processes_with(mark))


async def test_the_zygote_sees_neither_home_nor_containers(
    bench: Bench, environment: Path
) -> None:
    await run(bench, environment, "print(1)", warm=True)
    (pid,) = warm_zygotes(environment)
    root = Path(f"/proc/{pid}/root")

    assert not (root / str(bench.home).lstrip("/") / "pods").exists()
    assert not (root / __file__.lstrip("/")).exists()
    assert not (root / "proc" / "self").exists()
    status = read(Path(f"/proc/{pid}/status"))
    assert re.search(r"CapEff:\t0+\n", status)
    assert "NoNewPrivs:\t1" in status


async def test_an_idle_zygote_ends(bench: Bench, environment: Path) -> None:
    await bench.runtime.close()
    # Long enough to be found alive, and to be reached again, on a busy machine.
    bench.runtime = SandboxRuntime(Zygotes(bench.home / "run2", 2.0), cgroups.NO_CGROUPS)
    await run(bench, environment, "print(1)", warm=True)

    (first,) = warm_zygotes(environment)
    await until(lambda: not Path(f"/proc/{first}").exists())
    again, _, folder = await run(bench, environment, "print(1)", warm=True)
    assert (again.exit_code, was_warm(folder)) == (0, True)


def warm_zygotes(environment: Path) -> list[int]:
    """The environment's zygotes, without their forks, which have the same command line."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_text()
            parent = int(read(path.with_name("stat")).rpartition(")")[2].split()[1])
        except (OSError, UnicodeDecodeError):
            continue
        if "bessemer.launcher.warm" in line and f"{environment}/bin" in line:
            found[int(path.parent.name)] = parent
    return [pid for pid, parent in found.items() if parent not in found]


def processes_in(namespace: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if os.readlink(path) == namespace:
                found.append(int(path.parent.parent.name))
        except OSError:
            continue
    return found


# Two pods of one zygote, each with what it may have of the network.
NETWORKS = [
    Network(f"127.1{step}.128.9", f"127.1{step}.160.9", f"127.1{step}.192.9", (7480,))
    for step in (2, 3)
]
LISTENS = """import errno, os, socket, subprocess, sys, tempfile, threading
    def listen(address, port=18085):
        with socket.socket() as sock:
            try:
                sock.bind((address, port))
                sock.listen()
            except OSError as error:
                return errno.errorcode[error.errno]
            return sock.getsockname()[0]
    found = [listen("0.0.0.0"), listen("127.0.0.1"), listen("127.9.0.10"), listen("", 7480)]
    thread = threading.Thread(target=lambda: found.append(listen("0.0.0.0")))
    thread.start()
    thread.join()
    code = "import socket; print(socket.create_server(('', 18085)).getsockname()[0])"
    found.append(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    with socket.socket(socket.AF_UNIX) as sock:
        path = os.path.join(tempfile.mkdtemp(), "a-long-name")
        sock.bind(path)
        found.append(str(os.path.exists(path)))
    server = socket.create_server(("0.0.0.0", 18086))
    found.append(socket.create_connection(("localhost", 18086)).getpeername()[0])
    print(*found)"""


async def test_each_program_listens_at_its_own_pods_addresses(
    bench: Bench, environment: Path
) -> None:
    done = await asyncio.gather(
        *(run(bench, environment, LISTENS, warm=True, network=network) for network in NETWORKS)
    )

    for network, (_, log, folder) in zip(NETWORKS, done, strict=True):
        assert was_warm(folder)
        own = network.address
        assert log.splitlines()[-1].split() == [
            own, network.localhost, "EADDRNOTAVAIL", "EADDRINUSE", own, own, "True", own
        ]  # fmt: skip


def spoil(environment: Path) -> None:
    """Have a package do what it can before the fork, where nothing of ours can be relied on."""
    (module,) = environment.glob("lib/python*/site-packages/kfp/__init__.py")
    module.write_text(
        "import socket\n"
        "from bessemer.launcher import confinement\n"
        "confinement.confine = lambda *arguments: None\n"
        "try:\n"
        "    kept = socket.create_server(('0.0.0.0', 18087)).getsockname()\n"
        "except OSError as error:\n"
        "    kept = error.strerror\n"
    )


async def test_a_package_that_runs_in_the_zygote_names_no_socket(
    bench: Bench, environment: Path
) -> None:
    spoil(environment)
    body = "print(kfp.kept)\n    " + LISTENS

    _, log, folder = await run(bench, environment, body, warm=True, network=NETWORKS[0])

    assert was_warm(folder)
    assert "Cannot assign requested address" in log
    assert log.splitlines()[-1].split()[:3] == [
        NETWORKS[0].address, NETWORKS[0].localhost, "EADDRNOTAVAIL"
    ]  # fmt: skip


def poison(environment: Path, text: str) -> None:
    """Have a package run this as soon as the environment's Python starts, before all else."""
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "evil.py").write_text(text)
    (site / "evil.pth").write_text("import evil\n")


DAEMON = """
import os, signal, time
if os.environ.get("HOME") and "bessemer.launcher.warm" in str(__import__("sys").orig_argv):
    if os.fork() == 0:
        os.setsid()
        for number in range(1, 32):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_IGN)
        if os.fork():
            os._exit(0)
        time.sleep(600)
"""


async def test_what_a_package_forks_ends_with_its_zygote(bench: Bench, environment: Path) -> None:
    poison(environment, DAEMON)
    await run(bench, environment, "print(1)", warm=True)
    (zygote, *_) = warm_zygotes(environment)
    namespace = os.readlink(f"/proc/{zygote}/ns/pid")
    assert namespace != os.readlink("/proc/self/ns/pid")
    assert len(processes_in(namespace)) > 2
    await bench.runtime.close()

    await until(lambda: not processes_in(namespace))


async def test_a_zygote_that_never_ends_by_itself_is_ended(
    bench: Bench, environment: Path
) -> None:
    await bench.runtime.close()
    runtime = SandboxRuntime(Zygotes(bench.home / "run2", 0.5), cgroups.NO_CGROUPS)
    bench.runtime = runtime
    poison(environment, "import select\nreal = select.select\n"
           "select.select = lambda r, w, x, t=None: real(r, w, x)\n" + DAEMON)  # fmt: skip
    await run(bench, environment, "print(1)", warm=True)
    (zygote, *_) = warm_zygotes(environment)
    namespace = os.readlink(f"/proc/{zygote}/ns/pid")

    await until(lambda: not processes_in(namespace))

    assert zygote not in warm_zygotes(environment)


async def test_a_long_program_outlives_a_zygote_that_is_told_to_end(
    bench: Bench, environment: Path
) -> None:
    """Its forks are no strays while they wait for a program."""
    poison(environment, DAEMON)
    body = "import time\n    print('up', flush=True)\n    time.sleep(6)\n    raise SystemExit(7)"
    source, arguments = program(body)
    folder = await bench.start(
        "false", environment=environment, warm=WarmProgram(source, arguments)
    )
    await until(lambda: "up" in read(folder / "log"))
    (zygote, *_) = warm_zygotes(environment)
    namespace = os.readlink(f"/proc/{zygote}/ns/pid")
    before = len(processes_in(namespace))
    await bench.runtime.close()
    bench.runtime = bench.make()
    await until(lambda: len(processes_in(namespace)) <= before - 2)

    assert (await bench.wait(folder)).exit_code == 7
    await until(lambda: not processes_in(namespace))


async def test_each_namespace_has_a_zygote_of_its_own(bench: Bench, environment: Path) -> None:
    poison(environment, "import builtins, os\nbuiltins.born = os.urandom(8).hex()\n")
    body = "import builtins\n    print('born', builtins.born)"

    async def born(namespace: str) -> str:
        _, log, _ = await run(bench, environment, body, warm=True, namespace=namespace)
        return log.rpartition("born ")[2].strip()

    first, again, other = await born("a"), await born("a"), await born("b")
    assert first == again
    assert first != other


async def test_a_zygote_is_in_a_cgroup_of_its_own(bench: Bench, environment: Path) -> None:
    folders = cgroups.find_cgroups("bessemer-test-none").folders
    for folder in set(folders.values()):
        folder.rmdir()
    if "memory" not in folders:
        pytest.skip("no cgroup can be written here")
    seen, _, _ = await run(bench, environment, "print(1)", warm=True)
    (zygote,) = warm_zygotes(environment)
    groups = read(Path(f"/proc/{zygote}/cgroup"))

    assert seen.exit_code == 0
    assert re.search(r"memory.*/warm-", groups) or "0::/" in groups
    assert "warm-" in groups


SEARCH = """import re
    found = 0
    for line in open('/proc/self/maps'):
        area = line.split()
        if 'r' not in area[1] or line.rstrip().endswith(('[vvar]', '[vsyscall]')):
            continue
        first, last = (int(word, 16) for word in area[0].split('-'))
        with open('/proc/self/mem', 'rb', 0) as memory:
            try:
                memory.seek(first)
                found += memory.read(last - first).count(bytes([110, 101, 101]) + b'dle-4711')
            except OSError:
                pass
    print('found', found)"""


async def test_no_job_is_seen_by_the_next_one(bench: Bench, environment: Path) -> None:
    secret = {"SECRET": "needle" + "-4711"}
    _, log, folder = await run(bench, environment, SEARCH, warm=True, env=secret)
    assert was_warm(folder)
    assert int(log.split("found ")[1]) > 0
    for _ in range(3):
        _, log, folder = await run(bench, environment, SEARCH, warm=True)

        assert was_warm(folder)
        assert log.endswith("found 0\n")


KEEP_RIGHTS = """
import select, sys
chosen = select.select
def spoiled(*arguments):
    linux = sys._getframe(1).f_globals.get("linux")  # of who waits for connections
    if linux is not None:
        linux.drop_privileges = lambda: None
    return chosen(*arguments)
select.select = spoiled
"""
WITH_RIGHTS = """import ctypes, errno, os
    L = ctypes.CDLL(None, use_errno=True)
    def told(r):
        return errno.errorcode[ctypes.get_errno()] if r == -1 else 'done'
    print('rights', int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16) > 0)
    print('usr', told(L.mount(None, b'/usr', None, ctypes.c_ulong(0x1020), None)))
    print('sys', told(L.mount(None, b'/proc/sys', None, ctypes.c_ulong(0x1020), None)))
    print('off', told(L.umount2(b'/proc/sys', 2)))
    print('new', told(L.unshare(0x10000000)), told(L.unshare(0x20000)))
    print('root', told(L.chroot(b'/tmp')))
    L.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    print('trace', told(L.ptrace(16, 1, None, None)))
    try:
        open('/proc/sys/kernel/core_pattern', 'w')
        print('core pattern done')
    except OSError as error:
        print('core pattern', errno.errorcode[error.errno])"""


async def test_rights_that_a_package_keeps_are_worth_nothing(
    bench: Bench, environment: Path
) -> None:
    """A fork of the zygote has all rights in its container's namespaces until it gives them up."""
    poison(environment, KEEP_RIGHTS)
    _, log, folder = await run(bench, environment, WITH_RIGHTS, warm=True)

    assert was_warm(folder)
    assert "rights True\n" in log
    told = log.partition("rights True\n")[2].splitlines()
    assert told == [
        "usr EPERM", "sys EPERM", "off EPERM", "new EPERM EPERM", "root EPERM", "trace EPERM",
        "core pattern EROFS",
    ]  # fmt: skip
