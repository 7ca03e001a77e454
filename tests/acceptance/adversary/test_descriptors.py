"""What a pod inherits: its streams, and nothing of who started Bessemer or of its own PID 1."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from adversary_world import World, open_world, person

pytestmark = pytest.mark.timeout(180)

INHERITED = r"""
import errno, json, os, signal, stat
def tried(deed):
    try:
        return deed()
    except OSError as error:
        return errno.errorcode[error.errno]
def kind(path):
    mode = os.stat(path).st_mode
    return "pipe" if stat.S_ISFIFO(mode) else "device" if stat.S_ISCHR(mode) else "other"
own = {}
for name in sorted(os.listdir("/proc/self/fd")):
    if os.path.exists("/proc/self/fd/" + name):
        own[name] = kind("/proc/self/fd/" + name)
status = dict(l.split(":\t") for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
def look(name):
    path = "/proc/1/" + name
    is_link = name in ("cwd", "root", "exe") or name.startswith(("ns/", "fd/"))
    return os.readlink(path) if is_link else open(path, "rb").read(1)
LOOKED_AT = ("environ maps smaps mem cwd root exe auxv syscall stack io ns/mnt ns/user ns/pid "
             "ns/net ns/cgroup fd/0 fd/1 fd/3 fd/4 fd/5 fd/8 fd/9").split()
print(json.dumps({
    "descriptors": own,
    "init": {n: tried(lambda: str(look(n))) for n in LOOKED_AT},
    "groups": os.getgroups(),
    "terminal": tried(lambda: os.open("/dev/tty", os.O_RDWR)),
    "leads its session": os.getsid(0) == os.getpid(),
    "blocked": int(status["SigBlk"], 16), "pending": int(status["ShdPnd"], 16),
    "umask": status["Umask"],
    "variables": sorted(n for n in os.environ if n.isupper() and "KUBERNETES" not in n),
    "oom": int(open("/proc/self/oom_score_adj").read()),
    "keys": len(open("/proc/keys").readlines()) if os.path.exists("/proc/keys") else 0,
}))
"""


def test_only_the_streams_are_inherited(world: World, kind: str) -> None:
    phase, log = world.run("inherited", INHERITED)

    assert phase == "Succeeded", log
    told = json.loads(log)
    assert told["descriptors"] == {"0": "device", "1": "pipe", "2": "pipe"}
    assert set(told["init"].values()) <= {"EACCES", "EPERM", "ENOENT"}, told["init"]
    if kind == "root":
        assert told["groups"] == []
    assert told["terminal"] == "ENXIO"
    assert told["leads its session"]
    assert (told["blocked"], told["pending"], told["umask"]) == (0, 0, "0022")
    assert told["oom"] >= 0
    assert not {"UV_CACHE_DIR", "NO_COLOR", "VIRTUAL_ENV"} & set(told["variables"])


STARTER = 'exec 8<"$0"; cd "$0"; trap "" HUP USR1 ALRM; umask 077; shift 0; exec "$@"'
LEAK = (
    "import os; "
    "print([f for f in range(3, 300) if os.path.exists(f'/proc/self/fd/{f}')], "
    "[l.split()[1] for l in open('/proc/self/status') if l.startswith('SigIgn')], "
    "[l.split()[1] for l in open('/proc/self/status') if l.startswith('Umask')])"
)


def test_what_the_starter_had_open_stays_with_him(tmp_path: Path, kind: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "secret").write_text("the starter's")
    starter = (*person(kind), "sh", "-c", STARTER, str(own))
    with open_world(tmp_path, kind, starter) as world:
        phase, log = world.run("leak", LEAK)

    assert phase == "Succeeded"
    python_ignores = 1 << 12 | 1 << 24  # SIGPIPE and SIGXFSZ
    told = re.fullmatch(r"(.*) \['(.*)'\] \['(.*)'\]\n", log)
    assert told, log
    descriptors, ignored, umask = told.groups()
    of_the_c_library = 1 << 31 | 1 << 32  # 32 and 33, which glibc lets nobody set
    assert (descriptors, umask) == ("[]", "0022")
    assert int(ignored, 16) & ~of_the_c_library == python_ignores
    assert os.listdir(own) == ["secret"]
