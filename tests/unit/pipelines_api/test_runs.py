from dataclasses import replace
from typing import Any

import pytest

from bessemer.pipelines import tree
from bessemer.pipelines.records import (
    Artifact,
    RunState,
    StateChange,
    Task,
    TaskKind,
    TaskState,
    Values,
)

from .conftest import BASE, Face, make_body, make_ir


async def test_a_run_is_stored_and_the_engine_woken(face: Face) -> None:
    created = await face.call("POST", "/runs", make_body(description="why"))

    assert face.woken == [created["run_id"]]
    found = await face.call("GET", f"/runs/{created['run_id']}")
    assert found.pop("run_details") == {"task_details": []}
    assert found == created
    assert created["state"] == "PENDING"
    assert created["storage_state"] == "AVAILABLE"
    assert created["created_at"] == created["scheduled_at"] == "2026-11-23T18:00:01Z"
    assert created["pipeline_spec"] == make_ir()
    assert created["runtime_config"] == {"parameters": {"a": 1}}
    assert created["state_history"] == [
        {"update_time": "2026-11-23T18:00:01Z", "state": "PENDING"}
    ]
    experiment = await face.call("GET", f"/experiments/{created['experiment_id']}")
    assert experiment["display_name"] == "Default"
    assert experiment["last_run_created_at"] == created["created_at"]


async def test_the_default_experiment_is_made_once(face: Face) -> None:
    first = await face.call("POST", "/runs", make_body())
    second = await face.call("POST", "/runs", make_body())

    assert first["experiment_id"] == second["experiment_id"]
    assert (await face.call("GET", "/experiments"))["total_size"] == 1


async def test_camel_case_and_platform_documents_are_taken(face: Face) -> None:
    platform: dict[str, Any] = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
    body = {
        "displayName": "x",
        "pipelineSpec": {"pipeline_spec": make_ir(), "platform_spec": platform},
        "runtimeConfig": {"parameters": {"a": 1}, "pipelineRoot": "/x"},
    }

    created = await face.call("POST", "/runs", body)

    assert created["pipeline_spec"] == {"pipeline_spec": make_ir(), "platform_spec": platform}
    assert created["runtime_config"]["pipeline_root"] == "/x"


async def test_a_run_is_called_what_the_sdk_calls_it(face: Face) -> None:
    """Kfp adds a date to a pipeline's name, which may have 128 characters itself."""
    name = "x" * 128 + " 2026-11-23 18-00-01"

    created = await face.call("POST", "/runs", make_body(display_name=name))

    assert created["display_name"] == name


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"runtime_config": {"parameters": {"a": "1"}}}, "'a'"),
        ({"runtime_config": {"parameters": {}}}, "a"),
        ({"runtime_config": {"parameters": {"a": 1, "zz": 1}}}, "zz"),
        ({"runtime_config": {"parameters": {"a": 1.5}}}, "'a'"),
        ({"display_name": ""}, "display_name"),
        ({"display_name": "x" * 257}, "display_name"),
        ({"display_name": 7}, "display_name"),
        ({"colour": "red"}, "colour"),
        ({"plugins_output": {"a": {}}}, "plugins_output"),
        ({"runtime_config": {"parameterz": {}}}, "parameterz"),
        ({"pipeline_spec": None}, "exactly one of"),
        ({"pipeline_spec": make_ir(schemaVersion="1.0.0")}, "1.0.0"),
        ({"pipeline_spec": {"hello": "world"}}, "pipeline"),
        ({"pipeline_spec": make_ir(components={})}, "comp-add"),
        ({"pipeline_version_reference": {"pipeline_id": "x"}}, "exactly one of"),
    ],
)
async def test_a_bad_run_is_refused_and_nothing_stored(
    face: Face, change: dict[str, object], word: str
) -> None:
    error = await face.call("POST", "/runs", make_body(**change), status=400)

    assert error["code"] == 3
    assert word in error["message"]
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.Status",
            "code": 3,
            "message": error["message"],
        }
    ]
    assert await face.call("GET", "/runs") == {}
    assert face.woken == []


async def test_a_cycle_is_refused(face: Face) -> None:
    ir = make_ir()
    task = ir["root"]["dag"]["tasks"]["add"]
    ir["root"]["dag"]["tasks"] = {
        "x": {**task, "dependentTasks": ["y"]},
        "y": {**task, "dependentTasks": ["x"]},
    }

    error = await face.call("POST", "/runs", make_body(pipeline_spec=ir), status=400)

    assert "cycl" in error["message"]
    assert await face.call("GET", "/runs") == {}


async def test_a_body_that_is_no_json_is_refused(face: Face) -> None:
    answer = await face.http.post(f"{BASE}/runs", content=b"{")

    assert answer.status_code == 400
    assert answer.json()["code"] == 3


async def test_unknown_ids_are_not_found(face: Face) -> None:
    for method, path in [
        ("GET", "/runs/x"),
        ("DELETE", "/runs/x"),
        ("POST", "/runs/x:terminate"),
        ("POST", "/runs/x:archive"),
        ("POST", "/runs/x:retry"),
        ("GET", "/artifacts/x"),
        ("GET", "/nothing"),
    ]:
        error = await face.call(method, path, status=404)
        assert error["code"] == 5

    body = make_body(experiment_id="no-such")
    assert (await face.call("POST", "/runs", body, status=404))["code"] == 5


async def test_no_token_is_401_and_no_right_403(face: Face) -> None:
    run = await face.call("POST", "/runs", make_body())
    path = f"{BASE}/runs/{run['run_id']}"

    for headers, status, code in [
        ({"Authorization": ""}, 401, 16),
        ({"Authorization": "Bearer stolen"}, 401, 16),
        ({"Authorization": "Basic admin"}, 401, 16),
        ({"Authorization": "Bearer nobody"}, 403, 7),
        ({"Authorization": "Bearer viewer"}, 200, None),
    ]:
        answer = await face.http.get(path, headers=headers)
        assert (answer.status_code, answer.json().get("code")) == (status, code)

    viewer = {"Authorization": "Bearer viewer"}
    refused = await face.http.delete(path, headers=viewer)
    assert refused.status_code == 403
    assert "may not delete runs.pipelines.kubeflow.org" in refused.json()["message"]
    # Whether an id exists is not told to those who may not see it.
    nobody = {"Authorization": "Bearer nobody"}
    assert (await face.http.get(f"{BASE}/runs/x", headers=nobody)).status_code == 403
    await face.call("GET", f"/runs/{run['run_id']}")
    # A token in the query or a cookie is for pages only.
    bare = {"Authorization": "", "Cookie": "bessemer-None=admin"}
    answer = await face.http.get(path, headers=bare, params={"token": "admin"})
    assert answer.status_code == 401


async def test_terminate_asks_and_wakes(face: Face) -> None:
    run = await face.call("POST", "/runs", make_body())
    id_ = run["run_id"]

    assert await face.call("POST", f"/runs/{id_}:terminate") == {}
    assert await face.call("POST", f"/runs/{id_}%3Aterminate") == {}

    found = await face.call("GET", f"/runs/{id_}")
    assert found["state"] == "CANCELING"
    assert [change["state"] for change in found["state_history"]] == ["PENDING", "CANCELING"]
    assert face.woken == [id_] * 3
    stored = await face.history.get_run(id_)
    await face.history.save(replace(stored, state=RunState.FAILED))
    error = await face.call("POST", f"/runs/{id_}:terminate", status=400)
    assert "FAILED" in error["message"]


async def test_archiving_an_experiment_archives_its_runs(face: Face) -> None:
    run = await face.call("POST", "/runs", make_body())
    id_, experiment = run["run_id"], run["experiment_id"]

    await face.call("POST", f"/experiments/{experiment}:archive")

    assert (await face.call("GET", f"/runs/{id_}"))["storage_state"] == "ARCHIVED"
    error = await face.call("POST", f"/runs/{id_}:unarchive", status=400)
    assert "unarchive the experiment" in error["message"]
    body = make_body(experiment_id=experiment)
    assert "archived" in (await face.call("POST", "/runs", body, status=400))["message"]
    # The default one, which is taken when none is named, is no exception.
    assert "archived" in (await face.call("POST", "/runs", make_body(), status=400))["message"]
    assert (await face.call("GET", "/runs"))["total_size"] == 1
    await face.call("POST", f"/experiments/{experiment}:unarchive")
    await face.call("POST", f"/runs/{id_}:unarchive")
    assert (await face.call("GET", f"/runs/{id_}"))["storage_state"] == "AVAILABLE"


async def make_finished_run(face: Face) -> str:
    run = await face.call("POST", "/runs", make_body())
    id_ = str(run["run_id"])
    stored = await face.history.get_run(id_)
    at = face.clock.now()
    tasks = [
        Task("t0", id_, "", "root", -1, TaskKind.DAG, TaskState.FAILED, created_at=at),
        Task(
            "t1",
            id_,
            "t0",
            "train",
            -1,
            TaskKind.CONTAINER,
            TaskState.CACHED,
            display_name="train it",
            created_at=at,
            started_at=at,
            finished_at=at,
            outputs=Values({}, {"model": ["a1"]}),
            pod_name="pod-1",
            history=(StateChange("CACHED", at),),
        ),
        Task(
            "t2",
            id_,
            "t0",
            "eval",
            -1,
            TaskKind.CONTAINER,
            TaskState.FAILED,
            created_at=at,
            inputs=Values({"x": 1}, {"model": ["a1"]}),
            error="exit code 3",
        ),
    ]
    model = Artifact("a1", "model", "system.Model", "0.0.1", "/v/model", {"depth": 3})
    ended = replace(stored, state=RunState.FAILED, finished_at=at, error="eval failed")
    await face.history.save(ended, tasks, [model])
    return id_


async def test_task_details_tell_all_that_the_proto_has_room_for(face: Face) -> None:
    id_ = await make_finished_run(face)

    run = await face.call("GET", f"/runs/{id_}")

    assert run["error"] == {"code": 13, "message": "eval failed"}
    root, train, evaluate = run["run_details"]["task_details"]
    assert root["child_tasks"] == [{"task_id": "t1", "pod_name": "pod-1"}, {"task_id": "t2"}]
    assert train["state"] == "SKIPPED"  # as upstream tells of cached tasks
    assert train["state_history"][0]["state"] == "SKIPPED"
    assert train["display_name"] == "train it"
    assert train["outputs"] == {"model": {"artifact_ids": ["a1"]}}
    assert train["parent_task_id"] == "t0"
    assert train["pod_name"] == "pod-1"
    assert evaluate["inputs"] == {"model": {"artifact_ids": ["a1"]}}
    assert evaluate["error"]["message"] == "exit code 3"
    listed = await face.call("GET", "/runs")
    assert "run_details" not in listed["runs"][0]


async def test_artifacts_and_their_lineage(face: Face) -> None:
    id_ = await make_finished_run(face)

    listed = await face.call("GET", "/artifacts", run_id=id_)
    one = await face.call("GET", "/artifacts/a1")

    assert listed == {"artifacts": [one], "total_size": 1}
    assert one["metadata"] == {"depth": 3}
    assert one["uri"] == "/v/model"
    assert (one["run_id"], one["task_id"]) == (id_, "t1")
    assert sorted((link["type"], link["task_id"]) for link in one["artifact_tasks"]) == [
        ("INPUT", "t2"),
        ("OUTPUT", "t1"),
    ]
    assert await face.call("GET", "/artifacts", run_id="other") == {}


async def test_retry_wakes_the_engine(face: Face) -> None:
    id_ = await make_finished_run(face)

    await face.call("POST", f"/runs/{id_}:retry")

    run = await face.call("GET", f"/runs/{id_}")
    assert run["state"] == "RUNNING"
    assert "error" not in run
    assert face.woken == [id_, id_]


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.SUCCEEDED])
async def test_only_a_failed_run_is_retried(face: Face, state: RunState) -> None:
    id_ = (await face.call("POST", "/runs", make_body()))["run_id"]
    await face.history.save(replace(await face.history.get_run(id_), state=state))

    error = await face.call("POST", f"/runs/{id_}:retry", status=409)

    assert error["code"] == 10  # ABORTED, as upstream
    assert str(state) in error["message"]
    assert face.woken == [id_]


async def test_the_logs_of_earlier_attempts(face: Face) -> None:
    id_ = await make_finished_run(face)
    found = await face.history.load_run(id_)
    assert found is not None
    task = next(task for task in found[1] if task.id == "t1")
    again = replace(task, attempt=2, pod_name="pod-2")
    await face.history.save(None, [again])
    pods = [*tree.earlier_pods(again, {task.id: task for task in found[1]}), "pod-2"]
    for pod in pods:
        face.logs.texts[pod] = pod.encode()
    log = f"http://test/apis/v2beta1/runs/{id_}/nodes/"

    run = await face.call("GET", f"/runs/{id_}")
    (detail,) = [one for one in run["run_details"]["task_details"] if one["task_id"] == "t1"]
    assert [child["pod_name"] for child in detail["child_tasks"]] == pods[:2]
    for number, pod in enumerate(pods):
        for address in (f"{pod}/log", f"t1/log?attempt={number}"):
            assert (await face.http.get(log + address)).text == pod
    assert (await face.http.get(f"{log}t1/log")).text == "pod-2"
    assert (await face.http.get(f"{log}t1/log?attempt=3")).status_code == 404


async def test_a_deleted_run_is_gone_with_its_logs(face: Face) -> None:
    id_ = await make_finished_run(face)

    assert await face.call("DELETE", f"/runs/{id_}") == {}

    await face.call("GET", f"/runs/{id_}", status=404)
    await face.call("GET", "/artifacts/a1", status=404)
    assert face.logs.forgotten == [id_]
    assert face.woken == [id_, id_]


@pytest.mark.parametrize("node", ["t1", "pod-1", "train", "train it"])
@pytest.mark.parametrize("version", ["v1alpha1", "v2beta1"])
async def test_a_steps_log(face: Face, node: str, version: str) -> None:
    id_ = await make_finished_run(face)
    face.logs.texts["pod-1"] = b"one\ntwo\nthree\n"
    url = f"http://test/apis/{version}/runs/{id_}/nodes/{node}/log"

    whole = await face.http.get(url)
    tail = await face.http.get(url, params={"tail_lines": "2"})

    assert whole.text == "one\ntwo\nthree\n"
    assert whole.headers["content-type"].startswith("text/plain")
    assert tail.text == "two\nthree\n"


async def test_a_log_that_is_not_there_has_the_plain_error_form(face: Face) -> None:
    id_ = await make_finished_run(face)

    for node in ("t2", "no-such"):
        error = await face.call("GET", f"/runs/{id_}/nodes/{node}/log", status=404)
        assert set(error) == {"error_message", "error_details"}
    for lines in ("x", "-1", "9" * 5000):
        bad = await face.call("GET", f"/runs/{id_}/nodes/t1/log", tail_lines=lines, status=400)
        assert "tail_lines" in bad["error_message"]


async def test_recurring_runs_say_that_they_are_not_there_yet(face: Face) -> None:
    for method, path in [("GET", ""), ("POST", ""), ("GET", "/x"), ("POST", "/x:enable")]:
        error = await face.call(method, f"/recurringruns{path}", status=501)
        assert error["code"] == 12


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "/pipeline",
        "/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy",
        "/api/v1/namespaces/kubeflow/services/http:ml-pipeline:http/proxy/",
        "/api/v1/namespaces/kubeflow/services/ml-pipeline/proxy/",
    ],
)
async def test_every_path_of_official_clients_leads_here(face: Face, prefix: str) -> None:
    answer = await face.http.get(f"http://test{prefix}/apis/v2beta1/healthz")

    assert answer.json() == {"multi_user": False, "pipeline_store": "database"}


async def test_a_huge_body_is_refused(face: Face) -> None:
    answer = await face.http.post(f"{BASE}/runs", content=b" " * (34 << 20))

    assert answer.status_code == 413
    assert answer.json()["code"] == 8
