"""Pods through scheduler, node agent and a real runtime: how they run, end and say why."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from bessemer.cluster.kubelet.pods.dependencies import NodeConfig
from bessemer.cluster.kubelet.runtime.cgroups import NO_CGROUPS
from bessemer.cluster.kubelet.runtime.process import ProcessRuntime
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.node import NODE
from bessemer.kinds.pod import POD
from bessemer.kube.client import DeleteOptions, EventType, LogOptions
from bessemer.kube.errors import BadRequest
from node_cluster import Cluster, open_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path / "home") as opened:
        yield opened


def state(pod: Object, index: int = 0) -> Object:
    found: Object = pod["status"]["containerStatuses"][index]["state"]
    return found


def condition(pod: Object, name: str) -> Object:
    conditions = meta.dig(pod, "status.conditions") or []
    return next((each for each in conditions if each["type"] == name), {})


def is_ready(pod: Object) -> bool:
    return bool(condition(pod, "Ready").get("status") == "True")


async def delete(cluster: Cluster, name: str, grace: int | None = None) -> None:
    """Delete a pod and wait until it is gone."""
    gone = asyncio.Event()

    def changed(type_: EventType, pod: Object) -> None:
        if type_ is EventType.DELETED and meta.name(pod) == name:
            gone.set()

    cluster.informers.of(POD).subscribe(changed)
    await cluster.client.delete(POD, name, "default", DeleteOptions(grace_seconds=grace))
    async with asyncio.timeout(20):
        await gone.wait()


async def folder_gone(path: Path) -> None:
    async with asyncio.timeout(10):
        while os.path.exists(path):  # noqa: ASYNC110, ASYNC240 - the disk tells nobody
            await asyncio.sleep(0.01)


async def test_a_pod_succeeds_and_its_log_stays(cluster: Cluster) -> None:
    await cluster.run("a", "sh", "-c", "echo out; echo err >&2")
    pod = await cluster.finished("a")
    assert pod["status"]["phase"] == "Succeeded"
    assert state(pod)["terminated"]["reason"] == "Completed"
    assert condition(pod, "Ready")["reason"] == "PodCompleted"
    assert sorted((await cluster.log(pod)).splitlines()) == ["err", "out"]
    assert "Successfully assigned default/a" in await cluster.event("a", "Scheduled")
    await cluster.event("a", "Started")


async def test_exit_code_and_termination_message(cluster: Cluster) -> None:
    await cluster.run("a", "sh", "-c", "echo why > /dev/termination-log; exit 3")
    await cluster.run("b", "sh", "-c", "echo last words; exit 1",
                      terminationMessagePolicy="FallbackToLogsOnError")  # fmt: skip
    first, second = await cluster.finished("a"), await cluster.finished("b")
    ended = state(first)["terminated"]
    assert first["status"]["phase"] == "Failed"
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")
    assert state(second)["terminated"]["message"] == "last words\n"


async def test_a_command_that_is_not_there(cluster: Cluster) -> None:
    await cluster.run("a", "nosuchprogram")
    ended = state(await cluster.finished("a"))["terminated"]
    assert ended["reason"] == "ContainerCannotRun"
    assert "nosuchprogram" in ended["message"]


@pytest.mark.parametrize(
    ("command", "parts", "words"),
    [
        (("echo", "a\0b"), {}, "argument 1 of its command has one"),
        (("env",), {"env": [{"name": "V", "value": "a\0b"}]}, "its variable V has one"),
        (("pwd",), {"workingDir": "/tmp/a\0b"}, "its workingDir has one"),
    ],
)
async def test_bytes_that_no_program_can_be_given_are_named(
    cluster: Cluster, command: tuple[str, ...], parts: dict[str, object], words: str
) -> None:
    await cluster.run("a", *command, **parts)
    told = await cluster.event("a", "Failed")
    assert words in told
    assert state(await cluster.client.get(POD, "a", "default"))["waiting"]["message"] in told


async def test_init_containers_run_before(cluster: Cluster) -> None:
    volume = {"name": "shared", "emptyDir": {}}
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    init = {"name": "first", "image": "busybox", "command": ["sh", "-c", "echo 1 > /shared/x"]}
    await cluster.run(
        "a", "cat", "/shared/x", volumeMounts=mounts,
        spec={"volumes": [volume], "initContainers": [{**init, "volumeMounts": mounts}]},
    )  # fmt: skip
    pod = await cluster.finished("a")
    assert await cluster.log(pod, container="main") == "1\n"
    assert condition(pod, "Initialized")["status"] == "True"
    assert pod["status"]["initContainerStatuses"][0]["ready"]


async def test_a_failed_init_container_fails_the_pod(cluster: Cluster) -> None:
    init = {"name": "first", "image": "busybox", "command": ["false"]}
    await cluster.run("a", "true", spec={"initContainers": [init]})
    pod = await cluster.finished("a")
    assert pod["status"]["phase"] == "Failed"
    assert state(pod)["waiting"]["reason"] == "PodInitializing"


async def test_a_crashing_container_backs_off_and_keeps_its_last_log(cluster: Cluster) -> None:
    await cluster.run("a", "sh", "-c", "echo run; exit 1", spec={"restartPolicy": "Always"})
    pod = await cluster.until(
        "a", lambda pod: "waiting" in (meta.dig(pod, "status.containerStatuses") or [{}])[0]
        .get("state", {}) and state(pod)["waiting"]["reason"] == "CrashLoopBackOff",
    )  # fmt: skip
    status = pod["status"]["containerStatuses"][0]
    assert pod["status"]["phase"] == "Running"
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert "back-off 10s restarting failed container=main" in status["state"]["waiting"]["message"]
    assert await cluster.log(pod, previous=True) == "run\n"
    assert "Back-off restarting" in await cluster.event("a", "BackOff")


async def test_an_unknown_image_says_why(cluster: Cluster) -> None:
    await cluster.run("a", image="registry.example/nothing:1")
    pod = await cluster.until(
        "a", lambda pod: "ImagePullBackOff" in str(meta.dig(pod, "status.containerStatuses"))
    )
    assert pod["status"]["phase"] == "Pending"
    assert 'Back-off pulling image "registry.example/nothing:1"' in str(state(pod))
    assert "known are python:3.x" in await cluster.event("a", "Failed")


async def test_deleting_asks_first_and_leaves_nothing(cluster: Cluster) -> None:
    script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await cluster.run("a", "sh", "-c", script)
    pod = await cluster.until("a", is_ready)
    follow = asyncio.create_task(cluster.log(pod, follow=True))
    await delete(cluster, "a")
    assert "asked" in await follow
    await folder_gone(cluster.home.pods / meta.uid(pod))


async def test_one_that_ignores_sigterm_is_killed_with_its_children(cluster: Cluster) -> None:
    mark = f"4711.{os.getpid()}"  # of this run of the tests alone
    script = f"trap '' TERM; (trap '' TERM; exec sleep {mark}) & sleep {mark}"
    await cluster.run("a", "sh", "-c", script)
    await cluster.until("a", is_ready)
    await delete(cluster, "a", grace=1)
    left = [each for each in psutil.process_iter(["cmdline"])
            if each.info["cmdline"] == ["sleep", mark]]  # fmt: skip
    assert left == []


async def test_a_forced_delete_kills_at_once(cluster: Cluster) -> None:
    await cluster.run("a", "sleep", "4712")
    pod = await cluster.until("a", is_ready)
    await delete(cluster, "a", grace=0)
    folder = cluster.home.pods / meta.uid(pod)
    await folder_gone(folder)
    assert not folder.exists()


async def test_the_active_deadline(cluster: Cluster) -> None:
    spec = {"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1}
    await cluster.run("a", "sleep", "60", spec=spec)
    pod = await cluster.finished("a")
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")


async def test_a_pod_that_does_not_fit_waits_for_another_to_end(cluster: Cluster) -> None:
    node = await cluster.client.get(NODE, "bessemer")
    cores = node["status"]["allocatable"]["cpu"]
    resources = {"requests": {"cpu": cores}}
    await cluster.run("a", "sleep", "60", resources=resources)
    await cluster.until("a", is_ready)
    await cluster.run("b", "true", resources=resources)
    pod = await cluster.until("b", lambda pod: bool(condition(pod, "PodScheduled")))
    scheduled = condition(pod, "PodScheduled")
    assert pod["status"]["phase"] == "Pending"
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert scheduled["message"] == "0/1 nodes are available: 1 Insufficient cpu."
    assert "Insufficient cpu" in await cluster.event("b", "FailedScheduling")
    await delete(cluster, "a", grace=0)
    assert (await cluster.finished("b"))["status"]["phase"] == "Succeeded"


async def test_of_pods_that_come_at_once_only_those_that_fit_are_bound(cluster: Cluster) -> None:
    node = await cluster.client.get(NODE, "bessemer")
    whole = {"requests": {"cpu": node["status"]["allocatable"]["cpu"]}}
    names = [f"p{number}" for number in range(12)]
    await asyncio.gather(*(cluster.run(name, "sleep", "60", resources=whole) for name in names))

    def is_decided(pod: Object) -> bool:
        return bool(pod["spec"].get("nodeName") or condition(pod, "PodScheduled"))

    pods = await asyncio.gather(*(cluster.until(name, is_decided) for name in names))
    assert len([pod for pod in pods if pod["spec"].get("nodeName")]) == 1


async def test_each_pod_has_its_own_address_and_name(cluster: Cluster) -> None:
    for name in ("a", "b"):
        await cluster.run(name, "sh", "-c", "hostname; hostname -i; echo $HOSTNAME")
    pods = [await cluster.finished(name) for name in ("a", "b")]
    addresses = [pod["status"]["podIP"] for pod in pods]
    assert len(set(addresses)) == 2
    for pod, address in zip(pods, addresses, strict=True):
        assert address.startswith("127.77.")
        assert int(address.split(".")[2]) >= 128
        name = meta.name(pod)
        assert await cluster.log(pod) == f"{name}\n{address}\n{name}\n"


async def test_logs_by_lines_and_bytes(cluster: Cluster) -> None:
    await cluster.run("a", "seq", "1", "5")
    pod = await cluster.finished("a")
    assert await cluster.log(pod, tail_lines=2) == "4\n5\n"
    assert await cluster.log(pod, tail_lines=99) == "1\n2\n3\n4\n5\n"
    assert await cluster.log(pod, tail_lines=0) == ""
    assert await cluster.log(pod, limit_bytes=3) == "1\n2"
    for options in (LogOptions(container="no"), LogOptions(previous=True)):
        with pytest.raises(BadRequest):
            _ = [piece async for piece in cluster.logs.read(pod, options)]


async def test_a_new_agent_adopts_what_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with open_cluster(home, leave_pods=True) as first:
        await first.run("a", "sleep", "4713")
        await first.run("ends", "sh", "-c", "while ! test -e /go/now; do sleep 0.05; done; exit 5",
                        volumeMounts=[{"name": "go", "mountPath": "/go"}],
                        spec={"volumes": [{"name": "go", "emptyDir": {}}]})  # fmt: skip
        before = await first.until("a", is_ready)
        ending = await first.until("ends", is_ready)
        folder = first.home.pods / meta.uid(before) / "containers" / "main" / "0"
        pid = first.runtime.observe(folder).pid
    assert psutil.pid_exists(pid)
    (home / "pods" / meta.uid(ending) / "volumes" / "go" / "now").touch()
    async with open_cluster(home) as second:
        ended = await second.finished("ends")
        assert state(ended)["terminated"]["exitCode"] == 5
        after = await second.until("a", is_ready)
        assert second.runtime.observe(folder).pid == pid
        assert after["status"]["podIP"] == before["status"]["podIP"]
        assert after["status"]["containerStatuses"][0]["restartCount"] == 0
        await delete(second, "a", grace=0)
        await folder_gone(folder)
    assert not psutil.pid_exists(pid)


async def test_a_killed_supervisor_is_reported_as_lost(cluster: Cluster) -> None:
    await cluster.run("a", "sleep", "4714")
    pod = await cluster.until("a", is_ready)
    folder = cluster.home.pods / meta.uid(pod) / "containers" / "main" / "0"
    psutil.Process(cluster.runtime.observe(folder).pid).parent().kill()  # type: ignore[union-attr]  # it has one
    ended = state(await cluster.finished("a"))["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")


async def test_pods_without_an_object_are_removed_at_start(tmp_path: Path) -> None:
    stray = tmp_path / "home" / "pods" / "nobody" / "containers" / "main" / "0"
    stray.mkdir(parents=True)
    async with open_cluster(tmp_path / "home") as cluster:
        await cluster.run("a", "true")
        await cluster.finished("a")
        assert not stray.exists()


async def test_two_nodes_configs_give_other_addresses(tmp_path: Path) -> None:
    async with open_cluster(tmp_path / "home", NodeConfig(network=9)) as cluster:
        await cluster.run("a", "true")
        pod = await cluster.finished("a")
        assert pod["status"]["podIP"].startswith("127.9.")


async def test_without_namespaces_pods_run_and_absolute_mounts_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "home" / "run"
    run.mkdir(parents=True)
    runtime = ProcessRuntime(Zygotes(run, 1.0), NO_CGROUPS)
    limits = {"limits": {"cpu": "500m"}}
    async with open_cluster(tmp_path / "home", runtime=runtime) as cluster:
        await cluster.run("a", "python3", "-c", "print(1)", image="python:3", resources=limits)
        pod = await cluster.finished("a")
        assert await cluster.log(pod) == "1\n"
        assert "cpu: no cgroup" in condition(pod, "bessemer.dev/LimitsHeld")["message"]
        await cluster.run("b", "true", volumeMounts=[{"name": "v", "mountPath": "/v"}],
                          spec={"volumes": [{"name": "v", "emptyDir": {}}]})  # fmt: skip
        assert "switch user namespaces on" in await cluster.event("b", "Failed")
    await runtime.close()


async def test_numerical_libraries_get_the_pods_share_of_the_cores(cluster: Cluster) -> None:
    script = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['LOKY_MAX_CPU_COUNT'])"
    parts = {"image": "python:3", "resources": {"limits": {"cpu": "1"}}}
    own = [{"name": "OMP_NUM_THREADS", "value": "7"}]
    await cluster.run("a", "python3", "-c", script, **parts)
    await cluster.run("b", "python3", "-c", script, env=own, **parts)
    assert await cluster.log(await cluster.finished("a")) == "1 1\n"
    assert await cluster.log(await cluster.finished("b")) == "7 1\n"
