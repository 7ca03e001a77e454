"""A pod that fills the disk: by its log, its volumes, its own folders, or folders in folders."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

import harness
from adversary_world import World, open_world, pods
from bessemer.base import trees
from contract.runtime.bench import until

pytestmark = pytest.mark.timeout(180)

MIB = 2**20
#: What a container's log may take: five files of 10 MiB.
LOG_BYTES = 50 * MIB

_FLOOD_LOG = """
line = b"x" * 63 + b"\\n"
import os
for number in range({mib}):
    for _ in range(16):
        os.write(1, line * 1024)
os.write(1, b"the end\\n")
"""
#: Goes on until it is killed, whatever the disk says.
_FLOOD = """
import itertools, os, sys
for number in itertools.count():
    try:
        with open(sys.argv[1] + f"/{number}", "wb", buffering=0) as file:
            for _ in range(16):
                file.write(bytes(1 << 20))
    except OSError:
        pass
"""
_DIG = """
import os
os.chdir("/tmp")
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chmod(".", 0)
"""


def flood(name: str, where: str, world: World, **spec: Any) -> None:
    container = {"command": ["python3", "-c", _FLOOD, where], **spec.pop("container", {})}
    world.start(name, "", container=container, **spec)


def evicted(world: World, name: str) -> Any:
    """The status of the pod, once it is evicted."""
    query = f"{pods('a')}?fieldSelector=metadata.name%3D{name}"
    world.bessemer.until(query, lambda found: found and found[0]["status"].get("reason"))
    (pod,) = world.bessemer.get(query)["items"]
    status = pod["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    return status


def pod_folder(world: World, name: str) -> Path:
    uid = world.bessemer.get(f"{pods('a')}/{name}")["metadata"]["uid"]
    return world.bessemer.home / "pods" / str(uid)


def test_a_log_is_rotated_and_its_end_is_kept(world: World) -> None:
    world.start("log-flood", _FLOOD_LOG.format(mib=120))
    phase, log = world.wait("log-flood")
    folder = pod_folder(world, "log-flood")
    _, tail = world.ask("GET", f"{pods('a')}/log-flood/log?tailLines=2")

    assert phase == "Succeeded"
    assert log.endswith("x\nthe end\n")
    assert tail == log[-72:]
    assert 40 * MIB < len(log) <= LOG_BYTES
    assert trees.measure(folder) < LOG_BYTES + MIB
    world.bessemer.delete(f"{pods('a')}/log-flood?gracePeriodSeconds=0")


def test_an_empty_dir_beyond_its_limit_costs_the_pod_its_life_and_gives_its_room_back(
    world: World,
) -> None:
    mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    volume = {"name": "scratch", "emptyDir": {"sizeLimit": "20Mi"}}
    command = _FLOOD.replace("itertools.count()", "range(4)") + "import time; time.sleep(600)"
    container = {"command": ["python3", "-c", command, "/scratch"], **mount}
    world.start("volume-flood", "", container=container, volumes=[volume], restartPolicy="Always")

    status = evicted(world, "volume-flood")

    assert status["message"] == 'Usage of EmptyDir volume "scratch" exceeds the limit "20Mi". '
    (why,) = (each for each in status["conditions"] if each["type"] == "DisruptionTarget")
    assert (why["status"], why["reason"]) == ("True", "TerminationByKubelet")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] in (137, 143)
    world.bessemer.until(
        "/api/v1/namespaces/a/events",
        lambda found: [each for each in found if each["reason"] == "Evicted"],
    )
    folder = pod_folder(world, "volume-flood")
    asyncio.run(until(lambda: trees.measure(folder) < MIB))
    world.bessemer.delete(f"{pods('a')}/volume-flood?gracePeriodSeconds=0")


def test_a_container_beyond_its_limit_of_storage_is_ended(world: World) -> None:
    command = _FLOOD.replace("itertools.count()", "range(2)") + "import time; time.sleep(600)"
    container = {
        "command": ["python3", "-c", command, "/tmp"],
        "resources": {"limits": {"ephemeral-storage": "10Mi"}},
    }
    world.start("tmp-flood", "", container=container)

    status = evicted(world, "tmp-flood")

    words = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "
    assert status["message"] == words
    folder = pod_folder(world, "tmp-flood")
    asyncio.run(until(lambda: trees.measure(folder) < MIB))
    world.bessemer.delete(f"{pods('a')}/tmp-flood?gracePeriodSeconds=0")


def test_folders_deeper_than_any_stack_go_with_their_pod(world: World) -> None:
    world.start("dig", _DIG)
    phase, _ = world.wait("dig")
    folder = pod_folder(world, "dig")
    world.bessemer.delete(f"{pods('a')}/dig?gracePeriodSeconds=0")

    assert phase == "Succeeded"
    asyncio.run(until(lambda: not folder.exists()))


def names(found: list[Any]) -> list[str]:
    return [each["metadata"]["name"] for each in found]


def test_who_fills_the_disk_is_evicted_and_everybody_goes_on(small_disk: Path, kind: str) -> None:
    with open_world(small_disk, kind) as world:
        running = world.bessemer
        if not running.is_sandboxed:
            pytest.skip("this machine gives pods no namespaces")
        world.start("innocent", "import time; time.sleep(600)")
        running.until(pods("a"), lambda found: found[0]["status"].get("phase") == "Running")
        flood("flood", "/tmp", world)
        status = evicted(world, "flood")
        (node,) = running.until("/api/v1/nodes", lambda found: not has_pressure(found[0]))

        assert status["message"].startswith("The node was low on resource: ephemeral-storage. ")
        assert "Container main was using" in status["message"]
        assert not node["spec"].get("taints")
        (innocent,) = running.get(f"{pods('a')}?fieldSelector=metadata.name%3Dinnocent")["items"]
        assert innocent["status"]["phase"] == "Running"
        assert world.ask("DELETE", f"{pods('a')}/flood?gracePeriodSeconds=0")[0] == 200
        assert world.run("after", "print('well')")[1] == "well\n"
        assert not [line for line in running.lines if "Traceback" in line]


def has_pressure(node: Any) -> bool:
    conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
    return conditions["DiskPressure"] == "True" or bool(node["spec"].get("taints"))


def test_on_a_full_disk_all_can_be_deleted_ended_and_started(small_disk: Path, kind: str) -> None:
    """The disk is filled by somebody else, so that no eviction helps."""
    with open_world(small_disk, kind) as world:
        running = world.bessemer
        world.start("waits", "import time; time.sleep(600)")
        running.until(pods("a"), lambda found: found[0]["status"].get("phase") == "Running")
        harness.fill_disk(small_disk / "ballast-0")
        running.until("/api/v1/nodes", lambda found: has_pressure(found[0]))
        told = harness.run("status", "--home", str(running.home))
        assert (told.code, "DiskPressure: kubelet has disk pressure" in told.out) == (0, True)
        maps = "/api/v1/namespaces/a/configmaps"
        for number in itertools.count(1):  # until the reserve is used up, too
            harness.fill_disk(small_disk / f"ballast-{number}")
            status, answer = world.ask("POST", maps, {"metadata": {"name": f"new-{number}"}})
            if status != 201:
                break

        assert (status, "disk is full" in answer["message"]) == (503, True)
        assert world.ask("DELETE", f"{pods('a')}/waits?gracePeriodSeconds=1")[0] == 200
        running.until(pods("a"), lambda found: not found)
        assert harness.run("down", "--home", str(running.home)).code == 0
        assert running.wait() == 0
        assert not running.processes()

        running.restart()
        assert [line for line in running.lines if line.startswith("warning: ") and "full" in line]
        assert world.ask("DELETE", "/api/v1/namespaces/b", tenant="b")[0] == 403
        running.delete("/api/v1/namespaces/b")
        running.until("/api/v1/namespaces", lambda found: "b" not in names(found))
        running.kill9()
        assert harness.run("prune", "--home", str(running.home)).code == 0
        for ballast in small_disk.glob("ballast-*"):
            ballast.unlink()
        running.restart()
        assert world.ask("POST", maps, {"metadata": {"name": "new"}})[0] == 201
