"""What a pod has of the network works as in one of its own: servers, clients, its localhost."""

from __future__ import annotations

import pytest

from adversary_world import World, pods

pytestmark = pytest.mark.timeout(180)

_INSIDE = r"""
import asyncio, http.server, multiprocessing, multiprocessing.managers, os, socket, socketserver
import subprocess, sys, tempfile, threading, urllib.request

def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def ask(url):
    return urllib.request.urlopen(url, timeout=5).status

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments): pass

class Six(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

os.chdir(tempfile.mkdtemp())
serve(http.server.ThreadingHTTPServer(("0.0.0.0", 8801), Quiet))
own = socket.gethostbyname(socket.gethostname())
for host in ("127.0.0.1", "localhost", "0.0.0.0", own):
    assert ask(f"http://{host}:8801/") == 200, host
serve(http.server.ThreadingHTTPServer(("127.0.0.1", 8802), Quiet))
assert ask("http://localhost:8802/") == 200
try:
    ask(f"http://{own}:8802/")
    raise SystemExit("what listens at localhost alone is not the pod's address")
except OSError:
    pass
serve(Six(("::", 8803), Quiet))
for host in ("127.0.0.1", "localhost", "[::1]", own):
    assert ask(f"http://{host}:8803/") == 200, host
code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8801/').status)"
assert subprocess.check_output([sys.executable, "-c", code]) == b"200\n"

async def both():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    for host, places in (
        (None, ("127.0.0.1", "::1", "localhost")),
        ("localhost", ("127.0.0.1", "localhost")),
        (("127.0.0.1", "::1"), ("127.0.0.1", "::1", "localhost")),
    ):
        server = await asyncio.start_server(echo, host, 8804)
        for where in places:
            reader, writer = await asyncio.open_connection(where, 8804)
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n", (host, where)
            writer.close()
        server.close()
        await server.wait_closed()
asyncio.run(both())

datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 8805))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b"one", ("127.0.0.1", 8805))
client.connect(("localhost", 8805))
client.send(b"two")
datagrams.settimeout(5)
text, sender = datagrams.recvfrom(10)
assert (text, datagrams.recv(10)) == (b"one", b"two")
datagrams.sendto(b"back", client.getsockname())
client.settimeout(5)
assert client.recv(10) == b"back"

os.mkdir("below")
os.umask(0o077)
for path in (os.path.abspath("a-long-socket-name"), "below/../below/a-long-name", "x"):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(path)
        listener.listen()
        assert os.stat(path).st_mode & 0o777 == 0o700, path
        assert os.stat(path).st_uid == os.getuid()
        caller.connect(path)
for path, why in (("/usr/a-long-name", OSError), ("nowhere/a-long-name", FileNotFoundError)):
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
            raise SystemExit(path)
        except why:
            pass
with multiprocessing.managers.SyncManager() as manager:
    shared = manager.dict(a=1)
    assert dict(shared) == {"a": 1}
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
with socket.socket() as free:
    free.bind(("", 0))
    port = free.getsockname()[1]
serve(http.server.ThreadingHTTPServer(("", port), Quiet))
assert ask(f"http://localhost:{port}/") == 200
with socket.socket() as busy:
    try:
        busy.bind(("0.0.0.0", 8801))
        raise SystemExit("a port that is taken can't be had")
    except OSError:
        pass
print("all is well")
"""


def test_servers_of_all_kinds_are_found_at_their_pods_localhost(world: World) -> None:
    assert world.run("inside", _INSIDE) == ("Succeeded", "all is well\n")


_WAITS = """
import socket, time
for _ in range(200):
    try:
        print(socket.create_connection(("localhost", 8810), 5).recv(100).decode())
        break
    except OSError:
        time.sleep(0.05)
"""
_SAYS = """
import socket
server = socket.create_server(("0.0.0.0", 8810))
for _ in range({times}):
    connection, _ = server.accept()
    connection.sendall({word!r})
    connection.close()
"""


def _pair(word: str) -> dict[str, object]:
    """Two containers, of which one listens on all addresses and one asks its localhost."""
    says = ["python3", "-c", _SAYS.format(word=word.encode(), times=1000)]
    waits = ["python3", "-c", _WAITS]
    probe = {"exec": {"command": waits}, "periodSeconds": 1, "timeoutSeconds": 10}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "says", "image": "python:3.11", "command": says, "readinessProbe": probe},
            {"name": "asks", "image": "python:3.11", "command": waits},
        ],
    }


def test_pods_with_servers_on_one_port_each_find_their_own(world: World) -> None:
    for tenant in ("a", "b"):
        body = {"metadata": {"name": "pair"}, "spec": _pair(f"of {tenant}")}
        world.bessemer.create(pods(tenant), body)

    for tenant in ("a", "b"):
        query = f"{pods(tenant)}?fieldSelector=metadata.name%3Dpair"

        def is_done(found: list[dict[str, object]]) -> bool:
            status: dict[str, list[dict[str, object]]] = found[0].get("status", {})  # type: ignore[assignment]
            told = {each["name"]: each for each in status.get("containerStatuses") or ()}
            return bool(
                told and told["says"]["ready"] and "terminated" in told["asks"]["state"]  # type: ignore[operator]
            )

        world.bessemer.until(query, is_done)
        log = world.bessemer.request("GET", f"{pods(tenant)}/pair/log?container=asks")
        assert log == (200, f"of {tenant}\n")
        world.bessemer.delete(f"{pods(tenant)}/pair?gracePeriodSeconds=0")
