"""Who listens where: at no address of another pod, of a Service or of the platform."""

from __future__ import annotations

import json
import os
import select
from pathlib import Path
from typing import Any

import pytest

from adversary_world import World, make_tenant, open_world, pods

pytestmark = pytest.mark.timeout(180)

#: Listens in every way that a program has, and prints what came of each: its place, or the error.
_LISTEN = """
import errno, json, socket, sys
def listen(address, port, *options):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family)
    for option in options:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    kept.append(sock)
    try:
        if port is not None:
            sock.bind((address, port))
        sock.listen()
    except OSError as error:
        return errno.errorcode[error.errno]
    return sock.getsockname()[0].removeprefix("::ffff:")
kept = []
"""
_SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({answer!r})
print("up", flush=True)
http.server.HTTPServer(({address!r}, {port}), Handler).serve_forever()
"""


def _server(answer: str, address: str, port: int) -> str:
    return _SERVER.format(answer=answer.encode(), address=address, port=port)


def _address(world: World, name: str, tenant: str) -> str:
    query = f"{pods(tenant)}?fieldSelector=metadata.name%3D{name}"
    (pod,) = world.bessemer.until(
        query, lambda found: any(_is_ready(each) and "podIP" in each["status"] for each in found)
    )
    address: str = pod["status"]["podIP"]
    return address


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_who_listens_on_all_addresses_gets_nothing_that_is_meant_for_another(world: World) -> None:
    port = 18_080
    world.start("everywhere", _server("the adversary", "0.0.0.0", port))
    _address(world, "everywhere", "a")
    services = "/api/v1/namespaces/b/services"
    service = {"selector": {"app": "victim"}, "ports": [{"port": port}]}
    world.bessemer.create(services, {"metadata": {"name": "victim"}, "spec": service})
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    pod = {
        "metadata": {"name": "victim", "labels": {"app": "victim"}},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": "python:3.11",
                    "command": ["python3", "-c", _server("the victim", "0.0.0.0", port)],
                    "readinessProbe": probe,
                }
            ]
        },
    }
    world.bessemer.create(pods("b"), pod)
    _address(world, "victim", "b")
    client = (
        "import urllib.request, time\n"
        "for _ in range(100):\n"
        "    try:\n"
        f"        print(urllib.request.urlopen('http://victim:{port}').read().decode())\n"
        "        break\n"
        "    except OSError as error:\n"
        "        time.sleep(0.1)\n"
    )

    assert world.run("client", client, tenant="b") == ("Succeeded", "the victim\n")

    for tenant, name in (("a", "everywhere"), ("b", "victim")):
        world.bessemer.delete(f"{pods(tenant)}/{name}?gracePeriodSeconds=0")
    world.bessemer.delete(f"{services}/victim")


def test_no_pod_listens_where_another_or_the_platform_is_looked_for(world: World) -> None:
    world.start("neighbour", "import time; time.sleep(600)", tenant="b")
    neighbour = _address(world, "neighbour", "b")
    services = "/api/v1/namespaces/b/services"
    made = world.bessemer.create(
        services, {"metadata": {"name": "lonely"}, "spec": {"ports": [{"port": 18_081}]}}
    )
    service, first = made["spec"]["clusterIP"], world.bessemer.port
    script = f"""{_LISTEN}
reuse = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
own = socket.gethostbyname(socket.gethostname())
found = {{
    "neighbour": listen("{neighbour}", 18081),
    "service": listen("{service}", 18081, *reuse),
    "mapped": listen("::ffff:{service}", 18081),
    "platform": [listen("127.0.0.1", port, *reuse) for port in range({first}, {first} + 3)],
    "all": [listen("0.0.0.0", port, *reuse) for port in range({first}, {first} + 3)],
    "everything": listen("0.0.0.0", 18081) == own,
    "everything6": listen("::", 18082) == own,
    "unnamed": listen("0.0.0.0", None) == own,
    "own": listen(own, 18083) == own,
}}
lock = socket.socket(socket.AF_UNIX)
try:
    lock.bind("\\0bessemer-network-" + own.split(".")[1])
except OSError as error:
    found["lock"] = errno.errorcode[error.errno]
print(json.dumps(found))
"""

    phase, log = world.run("grabber", script)

    assert phase == "Succeeded", log
    assert json.loads(log) == {
        "neighbour": "EADDRNOTAVAIL",
        "service": "EADDRNOTAVAIL",
        "mapped": "EADDRNOTAVAIL",
        "platform": ["EADDRINUSE"] * 3,
        "all": ["EADDRINUSE"] * 3,
        "everything": True,
        "everything6": True,
        "unnamed": True,
        "own": True,
        "lock": "EADDRINUSE",
    }
    world.bessemer.delete(f"{pods('b')}/neighbour?gracePeriodSeconds=0")
    world.bessemer.delete(f"{services}/lonely")


#: While one thread binds, another changes what the name and the descriptor are.
_RACE = """
import ctypes, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
def name(address):
    return (socket.AF_INET).to_bytes(2, "little") + (18084).to_bytes(2, "big") + address + bytes(8)
own = socket.inet_aton(socket.gethostbyname(socket.gethostname()))
foreign = socket.inet_aton("127.0.0.1")
buffer = ctypes.create_string_buffer(name(own), 16)
running = True
def change():
    while running:
        ctypes.memmove(buffer, name(foreign), 16)
        ctypes.memmove(buffer, name(own), 16)
threading.Thread(target=change).start()
found = set()
for _ in range(2000):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if libc.bind(sock.fileno(), buffer, 16) == 0:
            found.add(sock.getsockname()[0])
running = False
print("127.0.0.1" in found, len(found) > 0)
"""


def test_a_name_that_changes_while_it_is_bound_makes_no_difference(world: World) -> None:
    assert world.run("racer", _RACE) == ("Succeeded", "False True\n")


def test_what_is_no_socket_leaves_nothing_with_who_answers(world: World) -> None:
    script = (
        "import ctypes, errno, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "told = {(libc.bind(number, bytes(16), 16), errno.errorcode[ctypes.get_errno()])\n"
        "        for number in (0, 77) for _ in range(1500)}\n"
        "told |= {(libc.listen(number, 1), errno.errorcode[ctypes.get_errno()])\n"
        "         for number in (0, 77) for _ in range(1500)}\n"
        "print(sorted(told))\n"
        "socket.create_server(('', 18088))\n"
    )

    phase, log = world.run("nothing", script)

    assert (phase, log) == ("Succeeded", "[(-1, 'EBADF'), (-1, 'ENOTSOCK')]\n")


def test_io_uring_and_calls_of_other_architectures_are_no_way_around(world: World) -> None:
    script = (
        "import ctypes, errno\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.syscall(425, 8, None), errno.errorcode[ctypes.get_errno()])\n"
    )

    phase, log = world.run("uring", script)

    assert (phase, log.split()[0]) == ("Succeeded", "-1")
    assert log.split()[1] in ("EPERM", "ENOSYS")


_SURVIVOR = """
import time
while True:
    try:
        socket.create_connection(("127.0.0.1", {first}), 1).close()
    except ConnectionRefusedError:
        break
    time.sleep(0.02)
print(json.dumps([listen("0.0.0.0", port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
                  for port in ({first}, {first} + 1)]), flush=True)
lock = socket.socket(socket.AF_UNIX)
try:
    lock.bind("\\0bessemer-network-" + socket.gethostbyname(socket.gethostname()).split(".")[1])
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_a_pod_that_outlives_the_control_plane_takes_none_of_its_places(
    tmp_path: Path, kind: str
) -> None:
    with open_world(tmp_path, kind) as world:
        running = world.bessemer
        if not running.is_sandboxed:
            pytest.skip("this machine gives pods no namespaces, and says so")
        make_tenant(running, "c")
        script = _LISTEN + _SURVIVOR.format(first=running.port)
        world.start("survivor", script)
        _address(world, "survivor", "a")
        (pid,) = (
            pid for folder, pid in running.pod_pids().items() if "containers/main/" in folder
        )
        ending = os.pidfd_open(pid)

        running.kill9()
        assert select.select([ending], [], [], 60)[0], "the survivor never ended"
        running.restart()

        assert world.wait("survivor") == (
            "Succeeded",
            '["EADDRINUSE", "EADDRINUSE"]\nEADDRINUSE\n',
        )
