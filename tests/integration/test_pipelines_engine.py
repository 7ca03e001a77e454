"""Whole runs with real pods: the engine, SQLite and the node agent together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.claim import CLAIM
from bessemer.base.clock import SystemClock
from bessemer.kinds import meta
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kube.client import DeleteOptions, EventType
from bessemer.pipelines import retrying
from bessemer.pipelines.records import RunState, TaskState
from bessemer.pipelines.spec import load
from node_cluster import open_cluster
from pipelines_cluster import NAMESPACE, Pipelines, open_pipelines
from pipelines_ir import artifact, constant, dag, given, output, pipeline, step, task


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Pipelines]:
    async with open_cluster(tmp_path / "home") as cluster, open_pipelines(cluster) as opened:
        yield opened


def shell(script: str, *args: str) -> dict[str, Any]:
    """An executor: a shell script with arguments $1, $2 ..."""
    container = {"image": "busybox", "command": ["sh", "-c", script, "sh", *args]}
    return {"container": container}


async def started(it: Pipelines, run_id: str, name: str) -> str:
    """The name of a task's pod, once that runs."""
    pod = await named(it, run_id, name)
    await it.cluster.phase(pod, "Running", namespace=NAMESPACE)
    return pod


async def named(it: Pipelines, run_id: str, name: str) -> str:
    """The name of a task's pod, once it has one."""
    async with asyncio.timeout(30):
        while (row := (await it.tasks(run_id)).get(name)) is None or not row.pod_name:  # noqa: ASYNC110 - SQL tells nobody
            await asyncio.sleep(0.01)
    return row.pod_name


INPUT = "{{$.inputs.parameters['text']}}"
OUTPUT = "{{$.outputs.parameters['Output'].output_file}}"


async def test_a_chain_of_steps_passes_parameters_and_artifacts(it: Pipelines) -> None:
    components = {
        "write": step(
            {"text": "STRING"}, output_artifacts={"model": "system.Model"}, executor="write"
        ),
        "read": step(
            {}, {"Output": "STRING"}, input_artifacts={"model": "system.Model"}, executor="read"
        ),
    }
    executors = {
        "write": shell('printf "%s" "$1" > "$2"', INPUT, "{{$.outputs.artifacts['model'].path}}"),
        "read": shell('cp "$1" "$2"', "{{$.inputs.artifacts['model'].path}}", OUTPUT),
    }
    tasks = {
        "write": task("write", parameters={"text": constant('$(HOME) $$ "quotes" {{x}}')}),
        "read": task("read", artifacts={"model": artifact("write")}),
    }
    run = await it.run(pipeline(tasks, components, executors=executors))
    rows = await it.tasks(run.id)

    assert run.state is RunState.SUCCEEDED, run.error
    assert rows["read"].outputs.parameters == {"Output": '$(HOME) $$ "quotes" {{x}}'}


async def test_a_failing_step_says_why_and_the_exit_task_still_runs(it: Pipelines) -> None:
    components = {
        "fail": step(executor="fail"),
        "body": dag({"fail": task("fail")}),
        "report": step(
            {"status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}},
            {"Output": "STRING"},
            executor="report",
        ),
    }
    executors = {
        "fail": shell("echo before; echo no such column: age >&2; exit 3"),
        "report": shell('printf "%s" "$1" > "$2"', "{{$.inputs.parameters['status']}}", OUTPUT),
    }
    status = {"status": {"taskFinalStatus": {"producerTask": "body"}}}
    tasks = {
        "body": task("body"),
        "report": task("report", always=True, parameters=status, after=["body"]),
    }
    run = await it.run(pipeline(tasks, components, executors=executors))
    rows = await it.tasks(run.id)

    assert run.state is RunState.FAILED
    assert "exit code 3" in run.error
    assert "no such column: age" in rows["fail"].error
    assert '"state": "FAILED"' in rows["report"].outputs.parameters["Output"]


async def test_a_missing_output_parameter_fails_the_step_by_name(it: Pipelines) -> None:
    components = {"lazy": step({}, {"Output": "STRING"}, executor="lazy")}
    run = await it.run(
        pipeline({"lazy": task("lazy")}, components, executors={"lazy": shell("true")})
    )

    assert run.state is RunState.FAILED
    assert "output parameter 'Output' was not written" in run.error


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('{"parameterValues": []}', "'parameterValues' of the executor output must be"),
        ('{"artifacts": {"m": {"artifacts": ["x"]}}}', "artifact 'm' of the executor output"),
        ('{"artifacts": {"m": {"artifacts": [{"metadata": {"a": NaN}}]}}}', "JSON has no number"),
        ('{"artifacts": {"m": {"artifacts": [{"metadata": {"a": "\\\\ud800"}}]}}}', "surrogate"),
    ],
)
async def test_an_executor_output_of_another_shape_fails_the_step(
    it: Pipelines, written: str, why: str
) -> None:
    components = {"odd": step(output_artifacts={"m": "system.Metrics"}, executor="odd")}
    odd = shell('printf "$1" > "$2"', written, "{{$.outputs.output_file}}")
    run = await it.run(pipeline({"odd": task("odd")}, components, executors={"odd": odd}))

    assert run.state is RunState.FAILED
    assert why in run.error


async def test_the_largest_numbers_pass_from_step_to_step(it: Pipelines) -> None:
    types = {"Output": "NUMBER_DOUBLE"}
    components = {
        "make": step({}, types, executor="make"),
        "copy": step({"text": "NUMBER_DOUBLE"}, types, executor="copy"),
    }
    executors = {
        "make": shell('printf 1e30 > "$1"', OUTPUT),
        "copy": shell('printf "%s" "$1" > "$2"', INPUT, OUTPUT),
    }
    tasks = {"make": task("make"), "copy": task("copy", parameters={"text": output("make")})}
    run = await it.run(pipeline(tasks, components, executors=executors))
    rows = await it.tasks(run.id)

    assert run.state is RunState.SUCCEEDED, run.error
    assert rows["copy"].outputs.parameters == {"Output": 1e30}


async def test_a_fan_out_is_cached_the_second_time(it: Pipelines) -> None:
    body = dag(
        {"echo": task("echo", cached=True, parameters={"text": given("i")})},
        {"i": "STRING"},
        {"outs": ("LIST", [("echo", "Output")])},
    )
    join = step({"texts": "LIST"}, {"Output": "STRING"}, executor="join")
    executors = {
        "echo": shell('printf "%s" "$1" > "$2"', INPUT, OUTPUT),
        "join": shell('printf "%s" "$1" > "$2"', "{{$.inputs.parameters['texts']}}", OUTPUT),
    }
    components = {
        "body": body,
        "join": join,
        "echo": step({"text": "STRING"}, {"Output": "STRING"}, executor="echo"),
    }
    tasks = {
        "loop": task(
            "body", parameterIterator={"itemInput": "i", "items": {"raw": '["a","b","c"]'}}
        ),
        "join": task("join", parameters={"texts": output("loop", "outs")}),
    }
    document = pipeline(tasks, components, executors=executors)
    first, second = await it.run(document), await it.run(document)
    rows = await it.tasks(second.id)

    assert first.state is second.state is RunState.SUCCEEDED
    assert rows["join"].outputs.parameters["Output"] == '["a", "b", "c"]'
    assert rows["echo"].state is TaskState.CACHED
    assert len(await it.pods(second.id)) == 1


async def test_an_image_that_is_nowhere_fails_the_step_with_its_name(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path / "home") as cluster,
        open_pipelines(cluster, stuck_seconds=0.2) as it,
    ):
        nowhere = {"container": {"image": "registry.invalid/nowhere:1", "command": ["true"]}}
        run = await it.run(
            pipeline(
                {"a": task("a")}, {"a": step(executor="nowhere")}, executors={"nowhere": nowhere}
            )
        )

        assert run.state is RunState.FAILED
        assert "registry.invalid/nowhere:1" in run.error
        assert "ImagePull" in run.error


async def test_termination_ends_the_pods_and_the_run(it: Pipelines) -> None:
    run_id = await it.submit(
        pipeline(
            {"nap": task("nap")}, {"nap": step(executor="n")}, executors={"n": shell("sleep 300")}
        )
    )
    await started(it, run_id, "nap")
    await it.runs.terminate_run(run_id, SystemClock().now())
    it.engine.wake(run_id)
    run = await it.ended(run_id)

    assert run.state is RunState.FAILED
    assert run.error == "the run was terminated"
    assert [p for p in await it.pods(run_id) if p["status"]["phase"] == "Running"] == []


async def test_a_killed_engine_goes_on_where_it_was(tmp_path: Path) -> None:
    script = 'echo ran >> "$(dirname "$1")/count"; sleep 0.2; printf x > "$1"'
    components = {"a": step({}, {"Output": "STRING"}, executor="e")}
    tasks = {f"t{n}": task("a", after=[f"t{n - 1}"] if n else []) for n in range(6)}
    async with open_cluster(tmp_path / "home") as cluster:
        async with open_pipelines(cluster) as it:
            run_id = await it.submit(
                pipeline(tasks, components, executors={"e": shell(script, OUTPUT)})
            )
            while len(await it.tasks(run_id)) < 3:
                pass
        async with open_pipelines(cluster) as it:
            run = await it.ended(run_id)
            rows = await it.tasks(run_id)

    counts = [
        (Path(row.task_root) / "count").read_text() for row in rows.values() if row.task_root
    ]
    assert run.state is RunState.SUCCEEDED, run.error
    assert counts == ["ran\n"] * 6


async def test_a_retried_run_goes_on_over_a_crash_and_repeats_no_step(tmp_path: Path) -> None:
    count = 'echo ran >> "$(dirname "$1")/count"; printf x > "$1"'
    flaky = f'{count}; case "$1" in */b/*) exit 1; esac'  # its second attempt's folder is b.1
    steps = ("a", "b", "c", "d", "e")
    components = {name: step({}, {"Output": "STRING"}, executor=name) for name in steps}
    executors = {name: shell(flaky if name == "b" else count, OUTPUT) for name in steps}
    tasks = {
        name: task(name, after=[steps[number - 1]] if number else [])
        for number, name in enumerate(steps)
    }
    document = pipeline(tasks, components, executors=executors)
    async with open_cluster(tmp_path / "home") as cluster:
        async with open_pipelines(cluster) as it:
            run = await it.run(document)
            first = (await it.tasks(run.id))["b"]
            loaded = await it.history.load_run(run.id)
            assert loaded is not None
            now = SystemClock().now()
            reset = retrying.plan_retry(load(document), loaded[1], now)
            await it.runs.retry_run(loaded[0], reset, now)
            it.engine.wake(run.id)
            async with asyncio.timeout(30):
                while (await it.tasks(run.id))["b"].state is not TaskState.SUCCEEDED:
                    pass
        async with open_pipelines(cluster) as it:
            again = await it.ended(run.id)
            rows = await it.tasks(run.id)
            pods = [meta.name(pod) for pod in await it.pods(run.id)]

    assert (run.state, again.state) == (RunState.FAILED, RunState.SUCCEEDED), again.error
    folders = [Path(row.task_root) for row in (first, *rows.values()) if row.task_root]
    assert [(folder / "count").read_text() for folder in folders] == ["ran\n"] * 6
    assert (rows["b"].attempt, rows["b"].pod_name != first.pod_name) == (1, True)
    assert first.pod_name in pods


def lone(script: str, **more: Any) -> dict[str, Any]:
    """A pipeline of one step ``a`` without outputs."""
    return pipeline(
        {"a": task("a", **more)}, {"a": step(executor="e")}, executors={"e": shell(script)}
    )


async def test_a_loud_step_with_children_ends_with_its_state_and_whole_log(it: Pipelines) -> None:
    script = "sleep 300 & head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last; exit 7"
    run = await it.run(lone(script))
    [pod] = await it.pods(run.id)
    log = await it.cluster.log(pod, tail_lines=1)

    assert run.state is RunState.FAILED
    assert "exit code 7" in run.error
    assert "last" in run.error
    assert len(run.error) < 10_000
    assert log == "last\n"


async def test_a_pod_deleted_by_someone_fails_its_step_or_is_tried_again(it: Pipelines) -> None:
    run_id = await it.submit(lone("sleep 300"))
    name = await started(it, run_id, "a")
    await it.cluster.client.delete(POD, name, NAMESPACE, DeleteOptions(grace_seconds=0))
    run = await it.ended(run_id)

    assert run.state is RunState.FAILED
    assert "deleted" in run.error or "exit code" in run.error


async def test_a_step_over_its_timeout_is_ended(it: Pipelines) -> None:
    settings = {"e": {"activeDeadlineSeconds": "1"}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": settings}}}}
    run = await it.run({"pipeline_spec": lone("sleep 300"), "platform_spec": platform})

    assert run.state is RunState.FAILED
    assert "DeadlineExceeded" in run.error
    assert "set_timeout" in run.error


async def test_a_flaky_step_is_tried_again_in_a_new_pod(it: Pipelines) -> None:
    run = await it.run(lone("exit 4", retryPolicy={"maxRetryCount": 1, "backoffDuration": "0s"}))

    assert run.state is RunState.FAILED
    assert len(await it.pods(run.id)) == 2


async def test_a_deleted_run_leaves_no_pods(it: Pipelines) -> None:
    run_id = await it.submit(lone("sleep 300"))
    name = await started(it, run_id, "a")
    await it.runs.delete_run(run_id)
    it.engine.wake(run_id)
    gone = asyncio.Event()
    it.cluster.informers.of(POD).subscribe(
        lambda type_, pod: (
            gone.set() if type_ is EventType.DELETED and meta.name(pod) == name else None
        )
    )

    async with asyncio.timeout(40):
        await gone.wait()
    assert await it.pods(run_id) == []


async def test_a_step_can_not_write_into_another_steps_folder(it: Pipelines) -> None:
    components = {
        "make": step({}, output_artifacts={"model": "system.Model"}, executor="make"),
        "break": step(input_artifacts={"model": "system.Model"}, executor="break"),
    }
    executors = {
        "make": shell('echo good > "$1"', "{{$.outputs.artifacts['model'].path}}"),
        "break": shell('echo bad > "$1"', "{{$.inputs.artifacts['model'].path}}"),
    }
    tasks = {
        "make": task("make"),
        "break": task("break", artifacts={"model": artifact("make")}),
    }
    run = await it.run(pipeline(tasks, components, executors=executors))
    rows = await it.tasks(run.id)

    assert rows["break"].state is TaskState.FAILED
    assert "Read-only file system" in rows["break"].error
    assert (Path(rows["make"].task_root) / "model").read_text() == "good\n"


async def test_a_claim_of_artifacts_that_was_deleted_is_made_again(it: Pipelines) -> None:
    client = it.cluster.client
    plain = {"image": "busybox"}
    lone = pipeline({"a": task("a")}, {"a": step()}, container=plain)
    await it.run(lone)
    # A pod of somebody's keeps the claim from going, so that for a while it is being deleted.
    mounted = {"name": "kept", "persistentVolumeClaim": {"claimName": CLAIM}}
    container = {
        "name": "main", "image": "busybox", "command": ["sleep", "600"],
        "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
    }  # fmt: skip
    spec = {"containers": [container], "volumes": [mounted]}
    await client.create(POD, meta.new(POD, "holder", NAMESPACE, spec=spec))
    await it.cluster.phase("holder", "Running", namespace=NAMESPACE)
    # One run is under way, whose next step finds the claim going; another begins meanwhile.
    gated = pipeline(
        {"first": task("first"), "second": task("second", after=["first"])},
        {"first": step(executor="gate"), "second": step()},
        container=plain,
        executors={
            "gate": shell(
                'until [ -e "${1%/*}/go" ]; do sleep 0.01; done', "{{$.outputs.output_file}}"
            )
        },
    )
    under_way = await it.submit(gated)
    await started(it, under_way, "first")
    before = await client.get(PERSISTENT_VOLUME_CLAIM, CLAIM, NAMESPACE)
    await client.delete(PERSISTENT_VOLUME_CLAIM, CLAIM, NAMESPACE)
    root = (await it.tasks(under_way))["first"].task_root
    await asyncio.to_thread((Path(root) / "go").touch)
    second = await named(it, under_way, "second")
    await it.cluster.until(
        second,
        lambda pod: "is being deleted" in str(meta.condition(pod, "PodScheduled")),
        NAMESPACE,
    )
    begun = await it.submit(lone)

    await client.delete(POD, "holder", NAMESPACE, DeleteOptions(grace_seconds=0))

    assert (await it.ended(begun)).state is RunState.SUCCEEDED
    assert (await it.ended(under_way)).state is RunState.SUCCEEDED
    after = await client.get(PERSISTENT_VOLUME_CLAIM, CLAIM, NAMESPACE)
    assert meta.uid(after) != meta.uid(before)
