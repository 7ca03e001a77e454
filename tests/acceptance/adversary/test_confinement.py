"""What a pod may ask of the kernel: Kubernetes' RuntimeDefault, and no namespaces of its own."""

from __future__ import annotations

import json

import pytest

from adversary_world import World

pytestmark = pytest.mark.timeout(180)

BREAK_OUT = r"""
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
def told(result):
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"
def mount(kind, data=None):
    os.makedirs("/tmp/m", exist_ok=True)
    return told(libc.mount(b"none", b"/tmp/m", kind, 0, data))
answers = {}
for name, flag in {"user": 0x10000000, "mnt": 0x20000, "cgroup": 0x2000000, "net": 0x40000000,
                   "pid": 0x20000000, "ipc": 0x8000000}.items():
    answers["unshare " + name] = told(libc.unshare(flag))
numbers = {"x86_64": (56, 250, 308), "aarch64": (220, 219, 268)}[os.uname().machine]
answers["clone user"] = told(libc.syscall(numbers[0], 0x10000011, 0, 0, 0, 0))
answers["clone3"] = told(libc.syscall(435, 0, 0))
answers["keyctl"] = told(libc.syscall(numbers[1], 10, ctypes.c_long(-3), b"user", b"k", 0))
answers["setns"] = told(libc.syscall(numbers[2], os.open("/proc/self/ns/user", os.O_RDONLY), 0))
answers["mount cgroup"] = mount(b"cgroup", b"memory")
answers["mount cgroup2"] = mount(b"cgroup2")
answers["mount tmpfs"] = mount(b"tmpfs")
answers["remount proc/sys"] = told(libc.mount(None, b"/proc/sys", None, 0x1020, None))
answers["umount proc/sys"] = told(libc.umount2(b"/proc/sys", 2))
answers["open_tree"] = told(libc.syscall(428, -100, b"/", 1))
answers["io_uring"] = told(libc.syscall(425, 1, 0))
import socket
try:
    socket.socket(40, socket.SOCK_STREAM); answers["vsock"] = "done"
except OSError as error:
    answers["vsock"] = errno.errorcode[error.errno]
status = dict(l.split(":\t") for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
answers["filter"] = status["Seccomp"], status["NoNewPrivs"]
answers["cgroups"] = sorted({l.rstrip("\n").split(":", 2)[2] for l in open("/proc/self/cgroup")})
answers["cgroup files"] = os.path.exists("/sys/fs/cgroup")
answers["user namespaces"] = open("/proc/sys/user/max_user_namespaces").read().strip()
print(json.dumps(answers))
"""


def test_no_way_leads_out_of_the_namespaces(world: World) -> None:
    phase, log = world.run("break-out", BREAK_OUT)

    assert phase == "Succeeded", log
    answers = json.loads(log)
    assert answers.pop("filter") == ["2", "1"]
    assert answers.pop("cgroups") == ["/"]
    assert answers.pop("cgroup files") is False
    assert answers.pop("user namespaces") == "0"
    assert answers.pop("clone3") == "ENOSYS"
    assert set(answers.values()) == {"EPERM"}, answers


ORDINARY = r"""
import asyncio, concurrent.futures, ctypes, mmap, multiprocessing, os, signal, socket, sqlite3
import subprocess, tempfile, threading
assert subprocess.run(["sh", "-c", "echo a | tr a b"], capture_output=True).stdout == b"b\n"
assert os.WEXITSTATUS(os.system("exit 3")) == 3
box = []
threads = [threading.Thread(target=box.append, args=(n,)) for n in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(box) == 20
def square(n): return n * n
for way in ("fork", "spawn", "forkserver"):
    if way == "fork":
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
lock, queue = multiprocessing.Lock(), multiprocessing.SimpleQueue()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(square, range(5))) == 30
async def talk():
    server = await asyncio.start_server(lambda r, w: (w.write(b"hi"), w.close()), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b"hi"
asyncio.run(talk())
socket.getaddrinfo("localhost", 80)
socket.if_nameindex()
with tempfile.NamedTemporaryFile() as file:
    base = sqlite3.connect(file.name); base.execute("create table t (a)"); base.commit()
shared = mmap.mmap(-1, 4096); shared.madvise(mmap.MADV_DONTNEED)
os.memfd_create("m"); os.eventfd(0); os.pidfd_open(os.getpid()); os.sched_getaffinity(0)
os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}); assert os.wait()[1] == 0
signal.setitimer(signal.ITIMER_REAL, 0)
os.nice(1); os.getrandom(8); os.statvfs("/"); os.sync()
print("all of it works")
"""


def test_what_programs_do_all_day_works(world: World) -> None:
    phase, log = world.run("ordinary", ORDINARY)

    assert (phase, log) == ("Succeeded", "all of it works\n")


def test_a_probe_runs_as_its_container_does(world: World, kind: str) -> None:
    tell = (
        "import os; "
        "keep = ('Seccomp:', 'NoNewPrivs:', 'CapEff:', 'CapPrm:', 'CapBnd:'); "
        "lines = [l.split()[1] for l in open('/proc/self/status') if l.startswith(keep)]; "
        "groups = {l.rstrip().split(':', 2)[2] for l in open('/proc/self/cgroup')}; "
        "fds = [f for f in range(3, 200) if os.path.exists(f'/proc/self/fd/{f}')]; "
        "open('/tmp/probed.new', 'w').write(f'{sorted(lines)} {groups} {fds}'); "
        "os.rename('/tmp/probed.new', '/tmp/probed')"
    )
    wait = (
        "import os, time\n"
        "while not os.path.exists('/tmp/probed'): time.sleep(0.02)\n"
        "print(open('/tmp/probed').read())"
    )
    probe = {"exec": {"command": ["python3", "-c", tell]}, "periodSeconds": 1}
    phase, log = world.run("probed", wait, container={"readinessProbe": probe})

    assert phase == "Succeeded"
    assert log == f"{['0' * 16] * 3 + ['1', '2']} {{'/'}} []\n"
