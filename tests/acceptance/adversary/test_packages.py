"""A package from the adversary's own pod: it decides nothing of what a pod sees of the machine."""

from __future__ import annotations

import io
import json
import zipfile
from base64 import b64encode
from collections.abc import Mapping

import pytest

from adversary_world import World, pods

pytestmark = pytest.mark.timeout(180)

#: Sends one wheel to whoever asks, whatever he asks for, until it is deleted.
_SERVE = """
import base64, http.server
DATA = base64.b64decode("{wheel}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)
    do_HEAD = do_GET
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
_EXECUTOR = (
    "import sys\npath = sys.argv[sys.argv.index('--component_module_path') + 1]\n"
    "exec(open(path).read())\n"
)
_INSTALLS = (
    '\nif ! [ -x "$(command -v pip)" ]; then\n    python3 -m ensurepip || '
    "python3 -m ensurepip --user || apt-get install python3-pip\nfi\n\n"
    "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet '{package}' && "
    '"$0" "$@"\n'
)
_PROGRAM = (
    'program_path=$(mktemp -d)\n\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main "
    '--component_module_path "$program_path/ephemeral_component.py" "$@"\n'
)


def make_wheel(name: str, files: Mapping[str, str]) -> bytes:
    info = f"{name}-1.0.dist-info"
    parts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "kfp/__init__.py": "",
        "kfp/dsl/__init__.py": "",
        "kfp/dsl/executor_main.py": _EXECUTOR,
        **files,
    }
    parts[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*parts, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        for path, text in parts.items():
            wheel.writestr(path, text)
    return buffer.getvalue()


class Shop:
    """A pod of the adversary's that gives out his package."""

    def __init__(self, world: World, name: str, files: Mapping[str, str]) -> None:
        self._world, self._name = world, name
        wheel = make_wheel(name, files)
        world.start(f"{name}-shop", _SERVE.format(wheel=b64encode(wheel).decode()))

    def url(self) -> str:
        """Where the wheel is, once the pod has said its port of 5 digits."""
        path = f"{pods('a')}/{self._name}-shop"
        query = f"{pods('a')}?fieldSelector=metadata.name%3D{self._name}-shop"
        self._world.bessemer.until(
            query, lambda found: found and found[0]["status"].get("phase") == "Running"
        )
        status, port = self._world.ask("GET", f"{path}/log?follow=true&limitBytes=5")
        assert status == 200, port
        return f"http://127.0.0.1:{int(port)}/{self._name}-1.0-py3-none-any.whl"

    def component(self, source: str) -> dict[str, object]:
        """A lightweight component's container that has the package installed."""
        installs = _INSTALLS.format(package=f"{self._name} @ {self.url()}")
        words = ["sh", "-c", installs, "sh", "-ec", _PROGRAM, source, "--executor_input", "{}",
                 "--function_to_execute", "f"]  # fmt: skip
        return {"command": words}

    def close(self) -> None:
        self._world.bessemer.delete(f"{pods('a')}/{self._name}-shop?gracePeriodSeconds=0")


def waiting_message(pod: dict[str, object]) -> str:
    return json.dumps(pod.get("status", {}))


def test_a_package_cannot_say_where_the_interpreter_is(world: World) -> None:
    claims = "/api/v1/namespaces/a/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    assert world.ask("POST", claims, {"metadata": {"name": "link"}, "spec": spec})[0] == 201
    volume = {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "link"}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    }
    home = world.bessemer.home
    # The links that would make a claim a base interpreter whose library is the whole home.
    phase, log = world.run("linker", f"import os; os.symlink({str(home)!r}, '/v/lib')", **volume)
    assert phase == "Succeeded", log
    config = f"home = {home}/volumes/a/link/bin\nversion_info = 3.11.7\n"
    shop = Shop(world, "evilcfg", {"evilcfg-1.0.data/data/pyvenv.cfg": config})
    try:
        look = f"import os\nprint(os.listdir({str(home / 'keys')!r}))\ndef f():\n    pass\n"
        world.start("thief", "", container=shop.component(look))
        (pod,) = world.bessemer.until(
            f"{pods('a')}?fieldSelector=metadata.name%3Dthief",
            lambda found: "ErrImagePull" in waiting_message(found[0]),
        )
        told = waiting_message(pod)
        assert "package 'evilcfg-1.0' brings 'pyvenv.cfg'" in told
        assert "no package may replace" in told
    finally:
        world.bessemer.delete(f"{pods('a')}/thief?gracePeriodSeconds=0")
        shop.close()
        world.bessemer.delete(f"{claims}/link")


def test_an_honest_package_from_a_pod_runs(world: World) -> None:
    shop = Shop(
        world, "honest", {"honest.py": "word = 'fine'\n", "honest-1.0.data/data/etc/h": ""}
    )
    try:
        source = "import honest\nprint('it is', honest.word)\ndef f():\n    pass\n"
        world.start("buyer", "", container=shop.component(source))
        assert world.wait("buyer") == ("Succeeded", "it is fine\n")
    finally:
        world.bessemer.delete(f"{pods('a')}/buyer?gracePeriodSeconds=0")
        shop.close()


def test_no_pod_writes_to_what_environments_share(world: World) -> None:
    script = (
        "import os, sys\n"
        "for folder, _, names in os.walk(sys.prefix):\n"
        "    for name in names:\n"
        "        path = os.path.join(folder, name)\n"
        "        try:\n"
        "            os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW))\n"
        "            print('written', path)\n"
        "        except OSError:\n"
        "            pass\n"
        "try:\n"
        "    open(os.path.join(sys.prefix, 'new'), 'w')\n"
        "    print('made')\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    assert world.run("writer", script) == ("Succeeded", "30\n")
