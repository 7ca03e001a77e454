"""PID 1 of a pod is not the pod's: nothing inside controls it, and its end is everybody's end."""

from __future__ import annotations

import json

import pytest

from adversary_world import World, pods, wait_until

pytestmark = pytest.mark.timeout(180)

SEIZE = r"""
import ctypes, errno, json, os, resource, signal, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
def told(result):
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"
def tried(deed):
    try:
        deed()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
pidfd = os.pidfd_open(1)
answers = {
    "attach": told(libc.ptrace(16, 1, None, None)),
    "seize": told(libc.ptrace(0x4206, 1, None, None)),
    "memory": tried(lambda: open("/proc/1/mem", "r+b")),
    "namespaces by pidfd": told(libc.setns(pidfd, 0x20000)),
    "read": told(libc.process_vm_readv(1, None, 0, None, 0, 0)),
}
answers.update({
    "descriptor %d" % n: told(libc.syscall(438, pidfd, n, 0)) for n in range(12)
})
for number in signal.valid_signals():  # none of them ends PID 1 from inside
    if number not in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                      signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD,
                      signal.SIGRTMIN):
        os.kill(1, number)
print(json.dumps(answers), flush=True)
if os.fork() == 0:
    os.setsid()
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
    libc.prctl(1, 0, 0, 0, 0)
    time.sleep(600)
resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1))
resource.prlimit(1, resource.RLIMIT_FSIZE, (0, 0))
print("waiting", flush=True)
time.sleep(600)
"""


def test_pid_1_can_not_be_seized(world: World) -> None:
    """And whatever limits it is given, the pod ends when it is told to."""
    world.start("seize", SEIZE)
    log = ""

    def has_waited(_: object) -> bool:
        nonlocal log
        log = world.bessemer.request("GET", f"{pods('a')}/seize/log")[1]
        return isinstance(log, str) and "waiting" in log

    query = f"{pods('a')}?fieldSelector=metadata.name%3Dseize"
    world.bessemer.until(query, lambda found: found and found[0]["status"].get("startTime"))
    while not has_waited(None):
        assert world.bessemer.get(query)["items"][0]["status"]["phase"] in ("Pending", "Running")
    attempts = [path for path in world.bessemer.pod_pids() if _is_of(world, path, "seize")]
    assert len(attempts) == 1
    world.bessemer.delete(f"{pods('a')}/seize?gracePeriodSeconds=0")
    world.bessemer.until(query, lambda found: not found)

    answers = json.loads(log.splitlines()[0])
    assert answers.pop("read") in ("EPERM", "done")  # of no bytes at all
    assert set(answers.values()) <= {"EPERM", "EACCES"}, answers
    uid = attempts[0].split("/")[1]
    wait_until(lambda: not [pid for pid in world.bessemer.processes() if uid in _mounts(pid)])


def _is_of(world: World, attempt: str, name: str) -> bool:
    uid = world.bessemer.get(f"{pods('a')}/{name}")["metadata"]["uid"]
    return attempt.split("/")[1] == uid


def _mounts(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
