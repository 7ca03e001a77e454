"""A tenant's pipelines stay in its namespace: runs, experiments, versions, artifacts, claims."""

from __future__ import annotations

from typing import Any

import pytest

from adversary_world import World
from pipelines_ir import constant, pipeline, step, task

KFP = "/apis/v2beta1"
ENDED = ("SUCCEEDED", "FAILED")

pytestmark = pytest.mark.timeout(180)


def shell(script: str, *args: str, inputs: dict[str, Any] | None = None, **more: Any) -> Any:
    """A pipeline of one shell script."""
    given = {name: constant(value) for name, value in (inputs or {}).items()}
    return pipeline(
        {"one": task("one", parameters=given, **more)},
        {"one": step(dict.fromkeys(given, "STRING"), output_artifacts={"out": "system.Dataset"})},
        container={"image": "busybox", "command": ["sh", "-c", script, "sh", *args]},
    )


def submit(
    world: World, ir: Any, query: str = "", *, tenant: str = "a", **more: Any
) -> tuple[int, Any]:
    body = {"display_name": "run", "pipeline_spec": ir, **more}
    return world.ask("POST", f"{KFP}/runs{query}", body, tenant=tenant)


def end(world: World, run: Any, *, tenant: str = "a") -> Any:
    """The run, once its last pod has ended and the engine has seen it."""
    path = f"/api/v1/namespaces/{tenant}/pods?labelSelector=pipeline/runid%3D{run['run_id']}"
    world.bessemer.until(path, lambda pods: any(map(has_ended, pods)))
    while True:
        found = world.ask("GET", f"{KFP}/runs/{run['run_id']}", tenant=tenant)[1]
        if found["state"] in ENDED:
            return found


def has_ended(pod: Any) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def test_a_run_is_where_its_tenant_may_have_it_and_nowhere_else(world: World) -> None:
    status, made = submit(world, shell("true"), "?namespace=a")
    assert status == 200, made
    run = end(world, made)

    assert run["state"] == "SUCCEEDED", run
    for query in ("", "?namespace=b", "?namespace=kubeflow", "?namespace=none"):
        assert submit(world, shell("true"), query)[0] == 403, query
        assert world.ask("GET", f"{KFP}/runs{query}")[0] == 403, query
    proxied = "/api/v1/namespaces/b/services/ml-pipeline:http/proxy"
    assert world.ask("GET", f"{proxied}{KFP}/runs")[0] == 403
    for verb, path in (
        ("GET", ""), ("DELETE", ""), ("POST", ":retry"), ("POST", ":terminate"),
        ("GET", "/nodes/one/log"),
    ):  # fmt: skip
        address = f"{KFP}/runs/{run['run_id']}{path}"
        assert world.ask(verb, address, tenant="b")[0] == 403, address
    listed = f"{KFP}/artifacts?run_id={run['run_id']}"
    assert world.ask("GET", listed)[0] == 200
    assert world.ask("GET", listed, tenant="b")[0] == 403


def test_what_another_tenant_made_is_no_way_into_its_namespace(world: World) -> None:
    there = {"namespace": "b", "display_name": "theirs"}
    status, experiment = world.ask("POST", f"{KFP}/experiments", there, tenant="b")
    assert status == 200, experiment
    assert experiment["namespace"] == "b"
    made = {"pipeline": there, "pipeline_version": {"pipeline_spec": shell("true")}}
    status, theirs = world.ask("POST", f"{KFP}/pipelines/create", made, tenant="b")
    assert status == 200, theirs

    assert world.ask("POST", f"{KFP}/experiments", there)[0] == 403
    id_ = experiment["experiment_id"]
    assert submit(world, shell("true"), experiment_id=id_)[0] == 403
    assert submit(world, shell("true"), "?namespace=a", experiment_id=id_)[0] == 403
    reference = {"pipeline_id": theirs["pipeline_id"]}
    body = {"display_name": "run", "pipeline_version_reference": reference}
    assert world.ask("POST", f"{KFP}/runs?namespace=a", body)[0] == 403


def test_an_importer_reaches_into_no_other_claim_and_no_file_of_the_machine(world: World) -> None:
    volumes = world.bessemer.home / "volumes"
    for uri in (
        "/etc/passwd", f"{volumes}/b/pipeline-artifacts/x", "minio://../../b/pipeline-artifacts/x",
        f"{volumes}/a/pipeline-artifacts/../../b", "file:///etc/shadow",
    ):  # fmt: skip
        importer = {"importer": {"artifactUri": {"constant": uri}, "typeSchema": {}}}
        ir = pipeline({"get": task("get")}, {"get": step(executor="get")},
                      executors={"get": importer})  # fmt: skip
        status, answer = submit(world, ir, "?namespace=a")
        assert status == 400, answer
        assert "can't fetch" in answer["message"]


def test_the_claim_of_all_artifacts_is_not_deleted_by_a_pipeline(world: World) -> None:
    stub = {"container": {"image": "argostub/deletepvc"}}
    ir = pipeline(
        {"delete": task("delete", parameters={"pvc_name": constant("pipeline-artifacts")})},
        {"delete": step({"pvc_name": "STRING"}, executor="delete")},
        executors={"delete": stub},
    )
    status, run = submit(world, ir, "?namespace=a")
    assert status == 200, run
    while (found := world.ask("GET", f"{KFP}/runs/{run['run_id']}")[1])["state"] not in ENDED:
        pass

    assert found["state"] == "FAILED"
    assert (
        "DeletePVC needs a claim's name other than 'pipeline-artifacts'"
        in (found["error"]["message"])
    )


@pytest.mark.parametrize("path", ["/etc/passwd", "/no/such/file"])
def test_the_cache_does_not_tell_which_files_the_machine_has(world: World, path: str) -> None:
    script = """printf '{"artifacts":{"out":{"artifacts":[{"uri":"%s"}]}}}' "$1" > "$2" """
    ir = shell(
        script, "{{$.inputs.parameters['p']}}", "{{$.outputs.output_file}}",
        inputs={"p": path}, cached=True,
    )  # fmt: skip
    for _ in range(2):
        run = end(world, submit(world, ir, "?namespace=a")[1])
        (one,) = [each for each in run["run_details"]["task_details"] if each.get("pod_name")]
        assert one["state"] == "SUCCEEDED"
