"""A package of the adversary's own: it decides nothing of what a pod sees of the machine."""

from __future__ import annotations

import http.server
import io
import json
import threading
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest

from adversary_world import World, pods, wait_until

pytestmark = pytest.mark.timeout(180)

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
    """A server of the adversary's that sends one wheel to whoever asks, whatever he asks for.

    It is outside of all pods: what is at their own addresses differs by its address already.
    """

    def __init__(self, name: str, files: Mapping[str, str], *, port: int = 0) -> None:
        self._name = name
        data = make_wheel(name, files)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def component(self, source: str) -> dict[str, object]:
        """A lightweight component's container that has the package installed."""
        url = f"http://127.0.0.1:{self.port}/{self._name}-1.0-py3-none-any.whl"
        installs = _INSTALLS.format(package=f"{self._name} @ {url}")
        words = ["sh", "-c", installs, "sh", "-ec", _PROGRAM, source, "--executor_input", "{}",
                 "--function_to_execute", "f"]  # fmt: skip
        return {"command": words}

    def close(self) -> None:
        """End it; its port is free."""
        self._server.shutdown()
        self._server.server_close()


def waiting_message(pod: dict[str, object]) -> str:
    return json.dumps(pod.get("status", {}))


def test_a_package_cannot_say_where_the_interpreter_is(world: World) -> None:
    claims = "/api/v1/namespaces/a/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    assert world.ask("POST", claims, {"metadata": {"name": "link"}, "spec": spec})[0] == 201
    volume: dict[str, Any] = {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "link"}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    }
    home = world.bessemer.home
    # The links that would make a claim a base interpreter whose library is the whole home.
    phase, log = world.run("linker", f"import os; os.symlink({str(home)!r}, '/v/lib')", **volume)
    assert phase == "Succeeded", log
    config = f"home = {home}/volumes/a/link/bin\nversion_info = 3.11.7\n"
    shop = Shop("evilcfg", {"evilcfg-1.0.data/data/pyvenv.cfg": config})
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


def test_an_honest_package_runs(world: World) -> None:
    shop = Shop("honest", {"honest.py": "word = 'fine'\n", "honest-1.0.data/data/etc/h": ""})
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
    """Two tenants give packages out at one address in turn: neither gets the other's."""
    source = "import taken\nprint('of', taken.word)\ndef f():\n    pass\n"
    port, told = 0, {}
    for tenant in ("a", "b"):
        files = {"taken.py": f"word = {tenant!r}\n"}
        shop = Shop("taken", files, port=port)
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
