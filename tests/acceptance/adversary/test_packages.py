"""A package from the adversary's own pod: it decides nothing of what a pod sees of the machine."""

from __future__ import annotations

import io
import json
import zipfile
from base64 import b64encode
from collections.abc import Mapping

import pytest

from adversary_world import World, pods, wait_until

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
server = http.server.HTTPServer(("127.0.0.1", {port}), Handler)
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
    """A pod that gives out a package, at a port of the kernel's choice unless one is given."""

    def __init__(
        self,
        world: World,
        name: str,
        files: Mapping[str, str],
        *,
        tenant: str = "a",
        port: int = 0,
    ) -> None:
        self._world, self._name, self._tenant = world, name, tenant
        wheel = b64encode(make_wheel(name, files)).decode()
        world.start(f"{name}-shop", _SERVE.format(wheel=wheel, port=port), tenant=tenant)
        self.port = self._wait()

    def _wait(self) -> int:
        """The port, of 5 digits, once the pod has said it."""
        path = f"{pods(self._tenant)}/{self._name}-shop"
        query = f"{pods(self._tenant)}?fieldSelector=metadata.name%3D{self._name}-shop"
        self._world.bessemer.until(
            query, lambda found: found and found[0]["status"].get("phase") == "Running"
        )
        log = f"{path}/log?follow=true&limitBytes=5"
        status, port = self._world.ask("GET", log, tenant=self._tenant)
        assert status == 200, port
        return int(port)

    def component(self, source: str) -> dict[str, object]:
        """A lightweight component's container that has the package installed."""
        url = f"http://127.0.0.1:{self.port}/{self._name}-1.0-py3-none-any.whl"
        installs = _INSTALLS.format(package=f"{self._name} @ {url}")
        words = ["sh", "-c", installs, "sh", "-ec", _PROGRAM, source, "--executor_input", "{}",
                 "--function_to_execute", "f"]  # fmt: skip
        return {"command": words}

    def close(self) -> None:
        """End it, and wait until its port is free."""
        path = pods(self._tenant)
        self._world.bessemer.delete(f"{path}/{self._name}-shop?gracePeriodSeconds=1")
        query = f"{path}?fieldSelector=metadata.name%3D{self._name}-shop"
        self._world.bessemer.until(query, lambda found: not found)


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


def test_an_address_gives_a_namespace_its_own_package(world: World) -> None:
    """Two tenants listen at one address in turn: neither gets what the other gave out there."""
    source = "import taken\nprint('of', taken.word)\ndef f():\n    pass\n"
    port, told = 0, {}
    for tenant in ("a", "b"):
        files = {"taken.py": f"word = {tenant!r}\n"}
        shop = Shop(world, "taken", files, tenant=tenant, port=port)
        port = shop.port
        try:
            world.start("buyer", "", tenant=tenant, container=shop.component(source))
            told[tenant] = world.wait("buyer", tenant=tenant)[1]
        finally:
            world.bessemer.delete(f"{pods(tenant)}/buyer?gracePeriodSeconds=0")
            shop.close()
    assert told == {"a": "of a\n", "b": "of b\n"}


def test_a_pod_that_locks_its_own_files_away_ends_and_goes(world: World) -> None:
    script = (
        "import os\nos.chmod('/dev/termination-log', 0)\n"
        "os.makedirs('/tmp/a/b'); os.chmod('/tmp/a', 0)\n"
        "os.chdir(os.environ['HOME'])\n"
        "for _ in range(2000):\n    os.mkdir('d'); os.chdir('d')\n"
    )
    world.start("locker", script)
    query = f"{pods('a')}?fieldSelector=metadata.name%3Dlocker"
    (pod,) = world.bessemer.until(
        query, lambda found: found[0]["status"].get("phase") in ("Succeeded", "Failed")
    )
    assert pod["status"]["phase"] == "Succeeded"
    folder = world.bessemer.home / "pods" / pod["metadata"]["uid"]
    assert folder.exists()
    world.bessemer.delete(f"{pods('a')}/locker?gracePeriodSeconds=0")
    world.bessemer.until(query, lambda found: not found)
    wait_until(lambda: not folder.exists())
