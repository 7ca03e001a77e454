"""A step's pod from its task, and what a pod's status means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bessemer.artifacts.store import Attachment
from bessemer.kinds.kind import Object
from bessemer.pipelines import placeholders, pods, spec
from pipelines_ir import constant, pipeline, step, task
from pipelines_world import World

#: How a pod gets at the folder of its task.
ATTACHED = Attachment(
    volumes=[{"name": "kept", "emptyDir": {}}],
    mounts=[{"name": "kept", "mountPath": "/artifacts", "subPath": "s"}],
    env=[{"name": "STORE", "value": "here"}],
)


# So that the log of a step is in the order of its time.
UNBUFFERED = {"name": "PYTHONUNBUFFERED", "value": "1"}


OURS = [*ATTACHED.env, UNBUFFERED]


def build(
    container: dict[str, Any], settings: dict[str, Any] | None = None, **parameters: Any
) -> Object:
    """The pod of a lone step with those parameters (all STRING or what they are)."""
    names = {int: "NUMBER_INTEGER", str: "STRING"}
    inputs = {name: names[type(value)] for name, value in parameters.items()}
    given = {name: constant(value) for name, value in parameters.items()}
    ir = pipeline(
        {"a": task("a", parameters=given)},
        {"a": step(inputs, {"Output": "STRING"}, output_artifacts={"m": "system.Model"})},
        container=container,
    )
    platform = (
        {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec": settings}}}}}
        if settings
        else {}
    )
    world = World(spec.load({"pipeline_spec": ir, "platform_spec": platform})).start()
    return pods.build(world.pods[world.created[0]].action, world.run, ATTACHED)


def main(pod: Object) -> Object:
    found: Object = pod["spec"]["containers"][0]
    return found


def test_files_are_told_by_where_they_are_in_the_pod() -> None:
    places = ["outputs.artifacts['m'].uri", "outputs.artifacts['m'].path",
              "outputs.parameters['Output'].output_file", "outputs.output_file"]  # fmt: skip
    components = {"a": step({}, {"Output": "STRING"}, output_artifacts={"m": "system.Model"})}
    container = {"args": [f"{{{{$.{place}}}}}" for place in places] + ["{{$}}"]}
    world = World(spec.load(pipeline({"a": task("a")}, components, container=container))).start()
    attached = replace(ATTACHED, path=lambda uri: f"/pod{uri}")
    args = main(pods.build(world.pods[world.created[0]].action, world.run, attached))["args"]

    root = "/artifacts/p/run-1/a"
    assert args[:2] == [f"{root}/m", f"/pod{root}/m"]
    assert args[2:4] == [f"/pod{root}/.parameter-Output", f"/pod{root}/executor_output.json"]
    told = json.loads(args[4])["outputs"]
    assert told["outputFile"] == args[3]
    assert told["parameters"]["Output"]["outputFile"] == args[2]
    assert told["artifacts"]["m"]["artifacts"][0]["uri"] == args[0]


def test_a_pod_has_its_command_claim_and_labels() -> None:
    pod = build(
        {
            "image": "{{$.inputs.parameters['image']}}",
            "command": ["cp"],
            "args": [
                "{{$.outputs.artifacts['m'].uri}}",
                "{{$.outputs.parameters['Output'].output_file}}",
            ],
            "env": [{"name": "A", "value": "$(B)"}],
        },
        image="python:3.12",
    )
    root = "/artifacts/p/run-1/a"

    assert main(pod)["image"] == "python:3.12"
    assert main(pod)["args"] == [f"{root}/m", f"{root}/.parameter-Output"]
    assert main(pod)["env"] == [*OURS, {"name": "A", "value": "$(B)"}]
    assert main(pod)["volumeMounts"] == [
        {"name": "kept", "mountPath": "/artifacts", "subPath": "s"},
    ]
    assert pod["metadata"]["labels"][pods.RUN_LABEL] == "run-1"
    assert pod["spec"]["serviceAccountName"] == "pipeline-runner"
    assert pod["spec"]["restartPolicy"] == "Never"


def test_a_placeholder_that_nobody_knows_stays_and_one_without_a_value_fails_by_name() -> None:
    unknown, null = "{{$.inputs.parameters['nosuch']}}", "x{{$.inputs.parameters['x']}}"
    optional = {"a": step({"x": {"parameterType": "STRING", "isOptional": True}})}

    def built(*args: str) -> Object:
        ir = pipeline({"a": task("a")}, optional, container={"args": list(args)})
        world = World(spec.load(ir)).start()
        return pods.build(world.pods[world.created[0]].action, world.run, ATTACHED)

    assert main(built(unknown))["args"] == [unknown]
    with pytest.raises(placeholders.MissingValue, match=r"parameters\['x'\]\}\} has no value"):
        built(null)


def test_a_value_is_never_expanded_as_a_variable() -> None:
    pod = build({"command": ["echo", "{{$.inputs.parameters['x']}}", "$(HOME)"]}, x="$(HOME) $$")

    assert main(pod)["command"] == ["echo", "$$(HOME) $$$$", "$(HOME)"]


def test_resources_of_today_win_over_the_deprecated() -> None:
    resources = {
        "cpuLimit": 2.0,
        "memoryLimit": 0.268435456,
        "resourceCpuLimit": "{{$.inputs.parameters['cpu']}}",
        "cpuRequest": 0.5,
        "resourceMemoryRequest": "1Gi",
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "1", "count": "9"},
    }
    pod = build({"resources": resources}, cpu="1500m")

    assert main(pod)["resources"] == {
        "limits": {"cpu": "1500m", "memory": "268435456", "nvidia.com/gpu": "1"},
        "requests": {"cpu": "0.5", "memory": "1Gi"},
    }


def test_kubernetes_settings_are_written_into_the_pod() -> None:
    name = {"runtimeValue": {"constant": "s1"}}
    pod = build(
        {},
        {
            "secretAsEnv": [
                {
                    "secretNameParameter": name,
                    "keyToEnv": [{"secretKey": "k", "envVar": "E"}],
                    "optional": True,
                }
            ],
            "configMapAsVolume": [{"configMapName": "c1", "mountPath": "/c"}],
            "pvcMount": [{"constant": "data", "mountPath": "/d", "subPath": "x"}],
            "emptyDirMounts": [{"volumeName": "tmp", "mountPath": "/t", "sizeLimit": "1Gi"}],
            "podMetadata": {"labels": {"l": "1", pods.RUN_LABEL: "stolen"}},
            "nodeSelector": {"labels": {"disk": "ssd"}},
            "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": "300"}],
            "activeDeadlineSeconds": "60",
            "imagePullPolicy": "Always",
            "fieldPathAsEnv": [{"name": "POD", "fieldPath": "metadata.name"}],
        },
    )
    env = {entry["name"]: entry["valueFrom"] for entry in main(pod)["env"] if entry not in OURS}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in main(pod)["volumeMounts"]}

    assert env == {
        "E": {"secretKeyRef": {"name": "s1", "key": "k", "optional": True}},
        "POD": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    assert volumes[mounts["/c"]["name"]]["configMap"]["name"] == "c1"
    assert volumes[mounts["/d"]["name"]]["persistentVolumeClaim"] == {"claimName": "data"}
    assert mounts["/d"]["subPath"] == "x"
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "1Gi"}
    assert pod["metadata"]["labels"][pods.RUN_LABEL] == "run-1"
    assert pod["metadata"]["labels"]["l"] == "1"
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["spec"]["tolerations"] == [
        {"key": "gpu", "operator": "Exists", "tolerationSeconds": 300}
    ]
    assert pod["spec"]["activeDeadlineSeconds"] == 60
    assert main(pod)["imagePullPolicy"] == "Always"


def test_what_a_parameter_without_value_would_set_is_left_out() -> None:
    null = {"runtimeValue": {"constant": None}}
    pod = build(
        {},
        {
            "secretAsEnv": [
                {
                    "secretNameParameter": null,
                    "keyToEnv": [{"secretKey": "k", "envVar": "E"}],
                }
            ],
            "secretAsVolume": [{"secretNameParameter": null, "mountPath": "/s"}],
            "configMapAsEnv": [
                {
                    "configMapNameParameter": null,
                    "keyToEnv": [{"configMapKey": "k", "envVar": "F"}],
                }
            ],
            "imagePullSecret": [{"secretNameParameter": null}],
            "tolerations": [{"tolerationJson": null}],
            "nodeSelector": {"nodeSelectorJson": null},
            "activeDeadlineSeconds": "0",
        },
    )

    assert main(pod)["env"] == [*OURS]
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["kept"]
    assert not pod["spec"].get("imagePullSecrets")
    assert not pod["spec"].get("tolerations")
    assert not pod["spec"].get("nodeSelector")
    assert "activeDeadlineSeconds" not in pod["spec"]


def test_claims_with_long_names_that_begin_alike_stay_apart() -> None:
    names = ["x" * 70 + end for end in "ab"]
    pod = build({}, {"pvcMount": [{"constant": n, "mountPath": f"/{n[-1]}"} for n in names]})
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claims = {
        mount["mountPath"]: volumes[mount["name"]]["persistentVolumeClaim"]["claimName"]
        for mount in main(pod)["volumeMounts"]
        if mount not in ATTACHED.mounts
    }

    assert claims["/a"] == names[0]
    assert claims["/b"] == names[1]


def status(phase: str, state: dict[str, Any] | None = None, **more: Any) -> Object:
    statuses = [{"name": "main", "state": state}] if state else []
    return {"metadata": {}, "status": {"phase": phase, "containerStatuses": statuses, **more}}


def ended(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


def waits(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("pod", "phase", "why"),
    [
        (status("Succeeded", ended(0, "Completed")), pods.Phase.SUCCEEDED, ""),
        (status("Failed", ended(3)), pods.Phase.FAILED, "exit code 3"),
        (
            status("Failed", ended(137, "OOMKilled")),
            pods.Phase.FAILED,
            "OOMKilled, exit code 137: it used more memory than its limit",
        ),
        (
            status("Failed", ended(143), reason="DeadlineExceeded", message="too long"),
            pods.Phase.FAILED,
            "DeadlineExceeded, exit code 143: it ran longer than its timeout",
        ),
        (
            status("Failed", ended(255, "ContainerStatusUnknown")),
            pods.Phase.FAILED,
            "nobody saw its end",
        ),
        (status("Failed", reason="Evicted", message="full"), pods.Phase.FAILED, "Evicted: full"),
        (
            status("Pending", waits("ImagePullBackOff", "no such image")),
            pods.Phase.STUCK,
            "ImagePullBackOff: no such image",
        ),
        (status("Pending", waits("ContainerCreating")), pods.Phase.ACTIVE, ""),
        (
            status("Pending", waits("ContainerCreating", "secret not found")),
            pods.Phase.WAITING,
            "secret not found",
        ),
        (
            status(
                "Pending",
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes",
                    }
                ],
            ),
            pods.Phase.WAITING,
            "cannot be scheduled: 0/1 nodes",
        ),
        (status("Running", {"running": {}}), pods.Phase.ACTIVE, ""),
        ({"metadata": {}}, pods.Phase.ACTIVE, ""),
    ],
)
def test_a_status_tells_phase_and_reason(pod: Object, phase: pods.Phase, why: str) -> None:
    seen = pods.observe(pod)

    assert seen.phase is phase
    assert why in seen.why
