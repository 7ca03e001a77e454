"""A package that runs when the warm Python of its environment starts, outside any pod."""

from __future__ import annotations

import functools
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adversary_world import World, pods

pytestmark = pytest.mark.timeout(240)

# Found by the zygote when it loads the executor; a program tells of it, from its own memory.
EXECUTOR = r"""
import builtins, errno, json, os, sys
def look():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    def told(result):
        return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"
    def reached(pid):
        try:
            os.kill(pid, 0)
            return True
        except PermissionError:
            return True
        except OSError:
            return False
    opened = []
    for number in range(3, 300):
        try:
            os.fstat(number)
            opened.append(number)
        except OSError:
            pass
    return {
        "pid": os.getpid(),
        "reached": [pid for pid in range(1, 100000) if reached(pid)],
        "descriptors": len(opened),
        "proc": os.path.exists("/proc/self"),
        "top": sorted(os.listdir("/")),
        "mount": told(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
        "user namespace": told(libc.unshare(0x10000000)),
        "born": os.urandom(8).hex(),
    }
if __name__ != "__main__":
    if not hasattr(builtins, "evidence"):
        builtins.evidence = look()
else:
    print(json.dumps({**getattr(builtins, "evidence", {}), "program": os.getpid()}))
"""
GUARD = (
    '\nif ! [ -x "$(command -v pip)" ]; then\n    python3 -m ensurepip || '
    "python3 -m ensurepip --user || apt-get install python3-pip\nfi\n\n"
    "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet "
    '--no-warn-script-location \'%s\' && "$0" "$@"\n'
)
PROGRAM = (
    'program_path=$(mktemp -d)\n\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main                         "
    '--component_module_path                         "$program_path/ephemeral_component.py"  '
    '                       "$@"\n'
)
WHEEL = "evilwarm-1.0-py3-none-any.whl"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a wheel whose executor is the adversary's."""
    folder = tmp_path_factory.mktemp("evil-wheel")
    _make_wheel(folder / WHEEL)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{WHEEL}"
        server.shutdown()


def _make_wheel(path: Path) -> None:
    about = "evilwarm-1.0.dist-info"
    files = {
        "kfp/__init__.py": "",
        "kfp/dsl/__init__.py": "",
        "kfp/dsl/executor_main.py": EXECUTOR,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: evilwarm\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in files) + f"{about}/RECORD,,\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    path.write_bytes(content.getvalue())


def _run(world: World, name: str, index: str, tenant: str = "a") -> dict[str, Any]:
    install = GUARD % f"evilwarm @ {index}"
    arguments = ["--executor_input", "{}", "--function_to_execute", "f"]
    container = {
        "command": ["sh", "-c", install, "sh", "-ec", PROGRAM, "def f():\n    pass\n"],
        "args": arguments,
    }
    world.start(name, "", tenant=tenant, container=container)
    try:
        phase, log = world.wait(name, tenant=tenant)
    finally:
        world.bessemer.delete(f"{pods(tenant)}/{name}?gracePeriodSeconds=0")
    assert phase == "Succeeded", log
    told: dict[str, Any] = json.loads(log)
    return told


def test_an_environments_own_code_is_shut_in(world: World, index: str) -> None:
    told = _run(world, "evil", index)

    assert told, "it did not start warm"
    # PID 1 of its own namespace, itself, and the pod that waits for it.
    assert told["pid"] == 2
    assert set(told["reached"]) <= set(range(1, 10))
    assert told["descriptors"] == 1  # where it is asked
    assert (told["mount"], told["user namespace"], told["proc"]) == ("EPERM", "EPERM", False)
    assert told["program"] == 2  # in the pod's


def test_namespaces_do_not_share_it(world: World, index: str) -> None:
    first, again = _run(world, "evil-1", index), _run(world, "evil-2", index)
    other = _run(world, "evil-3", index, tenant="b")

    assert first["born"] == again["born"]
    assert first["born"] != other["born"]
