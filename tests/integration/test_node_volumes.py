"""What a pod sees: variables, volumes, its identity; and what it never sees."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bessemer.cluster.kubelet.volumes import memory
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kinds.secret import SECRET
from bessemer.kube.client import DeleteOptions
from node_cluster import Cluster, open_cluster

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path / "home") as opened:
        yield opened


def config(name: str, namespace: str = "default", **data: str) -> Object:
    return meta.new(CONFIG_MAP, name, namespace, data=data)


def secret(name: str, namespace: str = "default", **data: str) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return meta.new(SECRET, name, namespace, data=encoded)


def mount(path: str, **parts: object) -> list[Object]:
    return [{"name": "v", "mountPath": path, **parts}]


def waits(pod: Object, reason: str) -> bool:
    statuses = meta.dig(pod, "status.containerStatuses") or []
    return any(meta.dig(each, "state.waiting.reason") == reason for each in statuses)


async def test_variables_from_everywhere(cluster: Cluster) -> None:
    await cluster.client.create(CONFIG_MAP, config("c", A="1"))
    await cluster.client.create(SECRET, secret("s", password="hidden"))
    env = [
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "BOTH", "value": "$(P)-$(X_A)"},
    ]
    await cluster.run(
        "a", "sh", "-c", "echo $X_A $P $(BOTH) $BOTH $IP $KUBERNETES_SERVICE_HOST",
        env=env, envFrom=[{"configMapRef": {"name": "c"}, "prefix": "X_"}],
    )  # fmt: skip
    pod = await cluster.finished("a")
    address = pod["status"]["podIP"]
    assert await cluster.log(pod) == f"1 hidden hidden-1 hidden-1 {address} 127.0.0.1\n"


async def test_a_missing_object_is_waited_for(cluster: Cluster) -> None:
    reference = {"name": "late", "key": "k"}
    await cluster.run(
        "a",
        "sh",
        "-c",
        "echo $V",
        env=[{"name": "V", "valueFrom": {"configMapKeyRef": reference}}],
    )
    pod = await cluster.until("a", lambda pod: waits(pod, "CreateContainerConfigError"))
    message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message == 'configmap "late" not found'
    await cluster.client.create(CONFIG_MAP, config("late", k="here"))
    assert await cluster.log(await cluster.finished("a")) == "here\n"


async def test_a_missing_volume_source_is_told_and_waited_for(cluster: Cluster) -> None:
    volume = {"name": "v", "secret": {"secretName": "late"}}
    await cluster.run("a", "cat", "/v/k", volumeMounts=mount("/v"), spec={"volumes": [volume]})
    told = await cluster.event("a", "FailedMount")
    assert told == 'MountVolume.SetUp failed for volume "v" : secret "late" not found'
    await cluster.client.create(SECRET, secret("late", k="here"))
    assert await cluster.log(await cluster.finished("a")) == "here"


async def test_another_namespaces_objects_are_not_reachable(cluster: Cluster) -> None:
    await cluster.namespace("other")
    await cluster.client.create(SECRET, secret("s", "other", k="theirs"))
    await cluster.claim("data", "other")
    volumes = [
        {"name": "v", "secret": {"secretName": "s", "optional": True}},
        {"name": "w", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    await cluster.run("a", "ls", "/v", volumeMounts=mount("/v"), spec={"volumes": volumes[:1]})
    assert await cluster.log(await cluster.finished("a")) == ""
    await cluster.run("b", "true", spec={"volumes": volumes[1:]})
    told = await cluster.event("b", "FailedScheduling")
    assert 'persistentvolumeclaim "data" not found' in told


async def test_a_pod_waits_for_its_claim(cluster: Cluster) -> None:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "late"}}
    await cluster.run(
        "a", "sh", "-c", "echo here > /d/x; cat /d/x",
        volumeMounts=mount("/d"), spec={"volumes": [volume]},
    )  # fmt: skip
    pod = await cluster.until("a", lambda pod: meta.condition(pod, "PodScheduled") is not None)
    (condition,) = pod["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    expected = '0/1 nodes are available: persistentvolumeclaim "late" not found.'
    assert condition["message"] == expected
    assert "nodeName" not in pod["spec"]
    await cluster.claim("late")
    assert await cluster.log(await cluster.finished("a")) == "here\n"


async def test_items_modes_and_a_single_file(cluster: Cluster) -> None:
    await cluster.client.create(CONFIG_MAP, config("c", one="1", two="2"))
    items = [{"key": "one", "path": "sub/uno", "mode": 0o400}]
    volume = {"name": "v", "configMap": {"name": "c", "items": items}}
    whole = {"name": "w", "configMap": {"name": "c"}}
    mounts = [*mount("/v"), {"name": "w", "mountPath": "/etc/two", "subPath": "two"}]
    script = "ls /v /v/sub; stat -L -c %a /v/sub/uno; cat /v/sub/uno /etc/two"
    await cluster.run(
        "a", "sh", "-c", script, volumeMounts=mounts, spec={"volumes": [volume, whole]}
    )
    log = await cluster.log(await cluster.finished("a"))
    assert log == "/v:\nsub\n\n/v/sub:\nuno\n400\n12"


async def test_a_changed_config_map_reaches_a_running_pod(cluster: Cluster) -> None:
    await cluster.client.create(CONFIG_MAP, config("c", k="old", gone="x"))
    volume = {"name": "v", "configMap": {"name": "c"}}
    new = "grep -q new /v/k && ! test -L /v/gone"
    script = f"echo up; until {new}; do sleep 0.02; done; ls /v; cat /v/k"
    await cluster.run(
        "a", "sh", "-c", script, volumeMounts=mount("/v"), spec={"volumes": [volume]}
    )
    await cluster.phase("a", "Running")
    await cluster.client.update(CONFIG_MAP, config("c", k="new"))
    assert await cluster.log(await cluster.finished("a")) == "up\nk\nnew"


async def test_the_pods_identity_is_where_clients_look(cluster: Cluster) -> None:
    await cluster.run("a", "sh", "-c", f"cd {TOKEN_PATH}; cat namespace; echo; cat ca.crt; echo; "
                      "cut -d. -f2 token; stat -L -c %a token")  # fmt: skip
    namespace, ca, claims, mode = (await cluster.log(await cluster.finished("a"))).split("\n")[:4]
    padded = claims + "=" * (-len(claims) % 4)
    assert (namespace, ca, mode) == ("default", "no certificate", "600")
    assert b"system:serviceaccount:default:default" in base64.urlsafe_b64decode(padded)


async def test_a_claim_is_bound_and_outlives_pods(cluster: Cluster) -> None:
    await cluster.claim("data")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    parts = {"volumeMounts": mount("/d"), "spec": {"volumes": [volume]}}
    await cluster.run("a", "sh", "-c", "echo kept > /d/x", **parts)
    await cluster.finished("a")
    await cluster.run("b", "cat", "/d/x", **parts)
    assert await cluster.log(await cluster.finished("b")) == "kept\n"
    bound = await cluster.client.get(PERSISTENT_VOLUME_CLAIM, "data", "default")
    assert bound["status"]["phase"] == "Bound"
    assert bound["spec"]["volumeName"] == f"pvc-{bound['metadata']['uid']}"
    assert bound["status"]["capacity"] == bound["spec"]["resources"]["requests"]
    assert bound["status"]["accessModes"] == bound["spec"]["accessModes"]
    assert (cluster.home.claim("default", "data") / "x").read_text() == "kept\n"


async def test_read_only_with_one_writable_folder(cluster: Cluster) -> None:
    await cluster.claim("data")
    folder = cluster.home.claim("default", "data")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    mounts = [*mount(str(folder), readOnly=True), *mount(f"{folder}/own", subPath="own")]
    script = f"echo 1 > {folder}/own/x; echo 2 > {folder}/y"
    await cluster.run("a", "sh", "-c", script, volumeMounts=mounts, spec={"volumes": [volume]})
    assert (await cluster.finished("a"))["status"]["phase"] == "Failed"
    assert (folder / "own" / "x").read_text() == "1\n"
    assert not (folder / "y").exists()


async def test_a_sub_path_never_leads_out(cluster: Cluster) -> None:
    await cluster.claim("data")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    spec = {"volumes": [volume]}
    await cluster.run("a", "ln", "-s", "/", "/d/root", volumeMounts=mount("/d"), spec=spec)
    await cluster.finished("a")
    await cluster.run("b", "ls", "/d", volumeMounts=mount("/d", subPath="root/etc"), spec=spec)
    assert "leads out of it" in await cluster.event("b", "Failed")


async def test_a_sub_path_of_each_kind_of_volume(cluster: Cluster) -> None:
    await cluster.client.create(CONFIG_MAP, config("c", k="from-map"))
    await cluster.client.create(SECRET, secret("s", k="from-secret"))
    await cluster.claim("data")
    volumes = [
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "e", "emptyDir": {}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    mounts = [
        {"name": "c", "mountPath": "/m/c", "subPath": "k"},
        {"name": "s", "mountPath": "/m/s", "subPath": "k"},
        {"name": "e", "mountPath": "/m/e", "subPathExpr": "$(HOSTNAME)/x"},
        {"name": "d", "mountPath": "/m/d", "subPath": "x/y"},
    ]
    script = "cat /m/c /m/s; echo 1 > /m/e/f; echo 2 > /m/d/f; cat /m/e/f /m/d/f"
    await cluster.run("a", "sh", "-c", script, volumeMounts=mounts, spec={"volumes": volumes})
    assert await cluster.log(await cluster.finished("a")) == "from-mapfrom-secret1\n2\n"
    folder = cluster.home.claim("default", "data")
    assert (folder / "x" / "y" / "f").read_text() == "2\n"


async def test_a_pod_sees_no_other_pod_and_not_the_home(cluster: Cluster) -> None:
    await cluster.client.create(SECRET, secret("s", k="hidden"))
    volume = {"name": "v", "secret": {"secretName": "s"}}
    await cluster.run("a", "sleep", "4715", volumeMounts=mount("/v"), spec={"volumes": [volume]})
    await cluster.phase("a", "Running")
    home = cluster.home.root
    look = "grep -a 'sleep.471[5]' /proc/[0-9]*/cmdline && echo seen"
    script = f"ls {home}; cat {home}/objects.db; {look}"
    await cluster.run("b", "sh", "-c", script)
    log = await cluster.log(await cluster.finished("b"))
    assert "objects.db\n" not in log
    assert "SQLite" not in log
    assert "seen" not in log


async def test_volumes_go_when_the_pod_is_over(cluster: Cluster) -> None:
    await cluster.client.create(SECRET, secret("s", k="hidden"))
    volume = {"name": "v", "secret": {"secretName": "s"}}
    await cluster.run("a", "cat", "/v/k", volumeMounts=mount("/v"), spec={"volumes": [volume]})
    pod = await cluster.finished("a")
    assert await cluster.log(pod) == "hidden"
    assert not (cluster.home.pods / meta.uid(pod) / "volumes").exists()


def _find_files(pod: Path) -> list[Path]:
    """All but what the pod itself has printed."""
    return [path for path in pod.rglob("*") if path.is_file() and path.name != "log"]


async def test_a_secret_is_in_no_file_of_the_disk(cluster: Cluster) -> None:
    await cluster.client.create(SECRET, secret("s", word="hush-4711"))
    volumes = [{"name": "v", "secret": {"secretName": "s"}}]
    script = "cat /v/word; sleep 600"
    env = [{"name": "W", "valueFrom": {"secretKeyRef": {"name": "s", "key": "word"}}}]
    spec = {"volumes": volumes}
    await cluster.run("a", "sh", "-c", script, volumeMounts=mount("/v"), env=env, spec=spec)
    pod = await cluster.until("a", lambda pod: meta.dig(pod, "status.phase") == "Running")
    folder = cluster.home.pods / meta.uid(pod)
    files = _find_files(folder)
    kept = memory.make(cluster.home)

    assert files
    assert not [path for path in files if b"hush-4711" in path.read_bytes()]
    assert kept is not None
    assert (kept / meta.uid(pod) / "v" / "word").read_text() == "hush-4711"
    await cluster.client.delete(POD, "a", "default", DeleteOptions(grace_seconds=0))
    async with asyncio.timeout(20):
        while (kept / meta.uid(pod)).exists():  # noqa: ASYNC110 -- files tell nobody
            await asyncio.sleep(0.01)
