"""The plan's decisions, one behaviour a test, driven in a world in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bessemer.pipelines import spec
from bessemer.pipelines.records import RunState, Task, TaskState, Values
from pipelines_ir import artifact, constant, dag, given, output, pipeline, step, task
from pipelines_world import World

ADD = step({"a": "NUMBER_INTEGER", "b": "NUMBER_INTEGER"}, {"Output": "NUMBER_INTEGER"})
ECHO = step({"text": "STRING"}, {"Output": "STRING"})
PLAIN = step()


def values(executor_input: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = executor_input["inputs"]["parameterValues"]
    return found


def behave(task_: Task, executor_input: dict[str, Any]) -> dict[str, Any] | str:
    """Add, echo or fail, by the task's name."""
    got = values(executor_input)
    if task_.name.startswith("fail"):
        return "exit code 1"
    if "a" in got:
        return {"parameterValues": {"Output": got["a"] + got["b"]}}
    if "text" in got:
        return {"parameterValues": {"Output": got["text"]}}
    return {}


def world(tasks: dict[str, Any], components: dict[str, Any], **more: Any) -> World:
    ir = pipeline(tasks, components, more.pop("inputs", None), **more.pop("ir", {}))
    return World(spec.load(ir), behave, **more)


def test_a_chain_passes_values_along_and_succeeds() -> None:
    first = task("add", parameters={"a": given("x"), "b": constant(1.0)})
    second = task("add", parameters={"a": output("first"), "b": output("first")})
    it = world(
        {"first": first, "second": second},
        {"add": ADD},
        inputs={"x": "NUMBER_INTEGER"},
        parameters={"x": 2},
    ).go()

    assert it.run.state is RunState.SUCCEEDED
    assert it.row("second").outputs.parameters == {"Output": 6}
    assert len(it.created) == 2


def test_tasks_that_are_ready_together_start_together() -> None:
    it = world({name: task("plain") for name in "abc"}, {"plain": PLAIN}).start()

    assert len(it.running) == 3


def test_a_false_condition_skips_its_subtree() -> None:
    branch = dag({"inner": task("plain")}, {"x": "NUMBER_INTEGER"})
    condition = "int(inputs.parameter_values['x']) > 3"
    tasks = {
        "yes": task("branch", parameters={"x": constant(4)}, condition=condition),
        "no": task("branch", parameters={"x": constant(3)}, condition=condition),
        "after-no": task("plain", after=["no"]),
    }
    it = world(tasks, {"branch": branch, "plain": PLAIN}).go()

    assert it.run.state is RunState.SUCCEEDED
    assert it.states() == {
        "root": "SUCCEEDED",
        "yes": "SUCCEEDED",
        "yes/inner": "SUCCEEDED",
        "no": "SKIPPED",
        "after-no": "SKIPPED",
    }


def test_one_of_takes_the_branch_that_ran() -> None:
    branch = dag(
        {"echo": task("echo", parameters={"text": given("x")})},
        {"x": "STRING"},
        {"out": ("STRING", [("echo", "Output")])},
    )
    branches = dag(
        {
            "if": task(
                "branch",
                parameters={"x": given("x")},
                condition="inputs.parameter_values['x'] == 'heads'",
            ),
            "else": task(
                "branch",
                parameters={"x": given("x")},
                condition="!(inputs.parameter_values['x'] == 'heads')",
            ),
        },
        {"x": "STRING"},
        {"one": ("STRING", [("if", "out"), ("else", "out")])},
    )
    tasks = {
        "branches": task("branches", parameters={"x": constant("tails")}),
        "use": task("echo", parameters={"text": output("branches", "one")}),
    }
    it = world(tasks, {"branch": branch, "branches": branches, "echo": ECHO}).go()

    assert it.row("use").outputs.parameters == {"Output": "tails"}
    assert it.states()["branches/if"] == "SKIPPED"


def loop(items: str, **more: Any) -> dict[str, Any]:
    return task("body", parameterIterator={"itemInput": "i", "items": {"raw": items}}, **more)


BODY = dag(
    {"echo": task("echo", parameters={"text": given("i")})},
    {"i": "NUMBER_INTEGER"},
    {"outs": ("LIST", [("echo", "Output")])},
)
JOIN = step({"texts": "LIST"})


def test_a_loop_runs_every_item_and_collects_in_order() -> None:
    tasks = {
        "loop": loop("[3, 1.0, 2]"),
        "join": task("join", parameters={"texts": output("loop", "outs")}),
    }
    it = world(tasks, {"body": BODY, "echo": ECHO, "join": JOIN}).go(lambda pods: pods[-1])

    assert it.run.state is RunState.SUCCEEDED
    assert it.row("join").inputs.parameters == {"texts": ["3", "1", "2"]}
    assert it.row("loop/1").inputs.parameters == {"i": 1}


def test_a_loop_keeps_to_its_parallelism() -> None:
    it = world(
        {"loop": loop("[1,2,3,4,5]", iteratorPolicy={"parallelismLimit": 2})},
        {"body": BODY, "echo": ECHO},
    ).start()
    most = len(it.running)
    while it.step():
        most = max(most, len(it.running))

    assert most == 2
    assert len(it.created) == 5
    assert it.run.state is RunState.SUCCEEDED


def test_an_empty_loop_succeeds_and_collects_nothing() -> None:
    tasks = {
        "loop": loop("[]"),
        "join": task("join", parameters={"texts": output("loop", "outs")}),
    }
    it = world(tasks, {"body": BODY, "echo": ECHO, "join": JOIN}).go()

    assert it.row("join").inputs.parameters == {"texts": []}


def test_a_loop_over_something_else_fails_and_says_what_it_got() -> None:
    looped = task(
        "body",
        parameters={"list": constant("not json")},
        parameterIterator={"itemInput": "i", "items": {"inputParameter": "list"}},
    )
    body = dag({"plain": task("plain")}, {"i": "STRING", "list": "STRING"})
    it = world({"loop": looped}, {"body": body, "plain": PLAIN}).go()

    assert it.run.state is RunState.FAILED
    assert "must go over a list" in it.run.error
    assert "'not json'" in it.run.error


def test_nested_loops_nest_parameters() -> None:
    inner = {**loop("[1, 2]")}
    outer_body = dag(
        {"inner": inner}, {"i": "NUMBER_INTEGER"}, {"outs": ("LIST", [("inner", "outs")])}
    )
    tasks = {
        "outer": task(
            "outer-body", parameterIterator={"itemInput": "i", "items": {"raw": "[7, 8]"}}
        ),
        "join": task("join", parameters={"texts": output("outer", "outs")}),
    }
    components = {"outer-body": outer_body, "body": BODY, "echo": ECHO, "join": JOIN}
    it = world(tasks, components).go()

    assert it.row("join").inputs.parameters == {"texts": [["1", "2"], ["1", "2"]]}


def test_an_exit_task_runs_after_a_failure_and_is_told_of_it() -> None:
    tasks = {
        "body": task("body"),
        "report": task(
            "report",
            always=True,
            after=["body"],
            parameters={"status": {"taskFinalStatus": {"producerTask": "body"}}},
        ),
    }
    components = {
        "body": dag({"fail": task("plain"), "next": task("plain", after=["fail"])}),
        "plain": PLAIN,
        "report": step({"status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}),
    }
    it = world(tasks, components).go()
    status = it.row("report").inputs.parameters["status"]

    assert it.run.state is RunState.FAILED
    assert it.states()["report"] == "SUCCEEDED"
    assert it.states()["body/next"] == "SKIPPED"
    assert status["state"] == "FAILED"
    assert status["pipelineTaskName"] == "body"
    assert status["error"]["message"] == "task 'fail' failed: exit code 1"
    assert it.run.error == "task 'body' failed: task 'fail' failed: exit code 1"


def test_an_exit_task_of_a_good_body_is_told_complete() -> None:
    tasks = {
        "body": task("plain"),
        "report": task(
            "report",
            always=True,
            parameters={"status": {"taskFinalStatus": {"producerTask": "body"}}},
        ),
    }
    report = step({"status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}})
    it = world(tasks, {"plain": PLAIN, "report": report}).go()

    assert it.row("report").inputs.parameters["status"]["state"] == "COMPLETE"
    assert it.run.state is RunState.SUCCEEDED


def test_ignoring_an_upstream_failure_takes_the_default() -> None:
    echo = step({"text": {"parameterType": "STRING", "defaultValue": "none"}})
    tasks = {
        "fail": task("echo", parameters={"text": constant("x")}),
        "print": task("print", always=True, parameters={"text": output("fail")}),
    }
    it = world(tasks, {"echo": ECHO, "print": echo}).go()

    assert it.row("print").inputs.parameters == {"text": "none"}
    assert it.run.state is RunState.FAILED


def retry_at(it: Any) -> datetime:
    moment = it.row("fail").retry_at
    assert moment is not None
    return moment


def test_retries_wait_longer_each_time_and_get_new_pods() -> None:
    retry = {"maxRetryCount": 2, "backoffDuration": "10s", "backoffFactor": 3}
    it = world({"fail": task("plain", retryPolicy=retry)}, {"plain": PLAIN}).start()
    it.end(it.running[0])

    assert it.row("fail").state == "PENDING"
    assert it.row("fail").error == "exit code 1"
    assert (retry_at(it) - it.now).total_seconds() == 10
    assert it.step()
    it.end(it.running[0])
    assert (retry_at(it) - it.now).total_seconds() == 30
    while it.step():
        pass
    assert len(set(it.created)) == 3
    assert it.run.state is RunState.FAILED


def test_a_delay_that_grows_beyond_all_measure_ends_the_retries() -> None:
    retry = {"maxRetryCount": 5000, "backoffDuration": "0.001s", "backoffFactor": 1e18}
    it = world({"fail": task("plain", retryPolicy=retry)}, {"plain": PLAIN}).go()

    assert it.run.state is RunState.FAILED
    assert len(it.created) == 2


def test_more_than_a_thousand_retries_without_delay() -> None:
    retry = {"maxRetryCount": 1100}
    it = world({"fail": task("plain", retryPolicy=retry)}, {"plain": PLAIN}).go()

    assert it.run.state is RunState.FAILED
    assert len(it.created) == 1101


def test_null_passes_through_a_group_to_what_may_do_without() -> None:
    maybe = step({"text": {"parameterType": "STRING", "isOptional": True}})
    tasks = {
        "group": task("group", parameters={"channel": given("x")}),
        "strict": task("strict", parameters={"channel": given("x")}),
    }
    components = {
        "maybe": maybe,
        "echo": ECHO,
        "group": dag({"maybe": task("maybe", parameters={"text": given("channel")})},
                     {"channel": "STRING"}),
        "strict": dag({"echo": task("echo", parameters={"text": given("channel")})},
                      {"channel": "STRING"}),
    }  # fmt: skip
    it = world(tasks, components, inputs={"x": {"parameterType": "STRING", "isOptional": True}})
    it.go()

    assert it.states()["group"] == "SUCCEEDED"
    assert it.row("group/maybe").inputs.parameters == {"text": None}
    assert it.row("strict/echo").error == "task 'echo': input 'text' has no value and no default"


def test_a_loops_item_that_leaks_into_the_groups_around_it_does_no_harm() -> None:
    body = dag({"echo": task("echo", parameters={"text": given("loop-item-1")})},
               {"loop-item-1": "STRING"})  # fmt: skip
    group = dag(
        {
            "loop": task(
                "body",
                parameterIterator={"itemInput": "loop-item-1", "items": {"raw": '["a", "b"]'}},
            )
        },
        {"loop-item-1-subvar": "STRING"},
    )
    leak = {**given("loop-item-1"), "parameterExpressionSelector": 'parseJson(string_value)["s"]'}
    tasks = {"group": task("group", parameters={"loop-item-1-subvar": leak})}
    it = world(tasks, {"group": group, "body": body, "echo": ECHO}).go()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert it.row("group/loop/1/echo").outputs.parameters == {"Output": "b"}


def test_a_loop_keeps_what_only_placeholders_see_over_a_crash() -> None:
    retry = {"x": constant("seen")}
    looped = task(
        "plain",
        parameters=retry,
        parameterIterator={"itemInput": "i", "items": {"raw": "[1, 2, 3]"}},
        iteratorPolicy={"parallelismLimit": 1},
    )
    container = {"args": ["{{$.inputs.parameters['x']}}"]}
    it = world({"loop": looped}, {"plain": PLAIN}, ir={"container": container}, crash_at=4).go()

    assert it.run.state is RunState.SUCCEEDED
    assert [it.pods[name].action.extra for name in it.created] == [{"x": "seen"}] * 3


def test_a_retry_policy_is_inherited_by_children_without_one() -> None:
    body = dag({"fail": task("plain")})
    it = world(
        {"body": task("body", retryPolicy={"maxRetryCount": 1})}, {"body": body, "plain": PLAIN}
    ).go()

    assert len(it.created) == 2


def test_equal_tasks_are_taken_from_the_cache() -> None:
    tasks = {"echo": task("echo", cached=True, parameters={"text": constant("x")})}
    first = world(tasks, {"echo": ECHO}).go()
    second = world(tasks, {"echo": ECHO})
    second.cache[first.row("echo").fingerprint] = (Values({"Output": "cached"}), [])
    second.go()

    assert second.states()["echo"] == "CACHED"
    assert second.row("echo").outputs.parameters == {"Output": "cached"}
    assert second.created == []
    assert second.run.state is RunState.SUCCEEDED


def test_termination_deletes_pods_and_ends_the_run_failed() -> None:
    tasks = {"a": task("plain"), "b": task("plain", after=["a"])}
    it = world(tasks, {"plain": PLAIN}).start()
    it.terminate()

    assert it.run.state is RunState.FAILED
    assert it.run.error == "the run was terminated"
    assert it.deleted == set(it.created)
    assert it.states() == {"root": "CANCELED", "a": "CANCELED"}


def test_termination_ends_an_iteration_that_came_after_others() -> None:
    it = world(
        {"loop": loop("[1,2,3]", iteratorPolicy={"parallelismLimit": 1})},
        {"body": BODY, "echo": ECHO},
    ).start()
    it.step()
    it.terminate()

    assert it.run.state is RunState.FAILED
    assert it.deleted == {it.created[1]}
    assert it.states() == {
        "root": "CANCELED",
        "loop": "CANCELED",
        "loop/0": "SUCCEEDED",
        "loop/0/echo": "SUCCEEDED",
        "loop/1": "CANCELED",
        "loop/1/echo": "CANCELED",
    }


def test_artifacts_of_nested_loops_flatten() -> None:
    make = step({"i": "NUMBER_INTEGER"}, output_artifacts={"model": "system.Model"})
    body = dag(
        {"make": task("make", parameters={"i": given("i")})},
        {"i": "NUMBER_INTEGER"},
        output_artifacts={"models": ("system.Model", [("make", "model")])},
    )
    outer = dag(
        {"inner": task("body", parameterIterator={"itemInput": "i", "items": {"raw": "[1,2]"}})},
        {"j": "NUMBER_INTEGER"},
        output_artifacts={"models": ("system.Model", [("inner", "models")])},
    )
    models = {"artifactType": {"schemaTitle": "system.Model"}, "isArtifactList": True}
    tasks = {
        "outer": task("outer", parameterIterator={"itemInput": "j", "items": {"raw": "[1,2]"}}),
        "pick": task("pick", artifacts={"models": artifact("outer", "models")}),
    }
    components = {
        "make": make,
        "body": body,
        "outer": outer,
        "pick": step(input_artifacts={"models": models}),
    }
    it = world(tasks, components).go()
    uris = [
        a["uri"] for a in it.input_of(it.created[-1])["inputs"]["artifacts"]["models"]["artifacts"]
    ]

    assert it.run.state is RunState.SUCCEEDED
    assert uris == [
        f"/artifacts/p/run-1/outer/{j}/inner/{i}/make/model" for j in (0, 1) for i in (0, 1)
    ]


def test_a_mistyped_input_fails_its_task_alone() -> None:
    tasks = {
        "echo": task("echo", parameters={"text": constant("words")}),
        "add": task("add", parameters={"a": output("echo"), "b": constant(1)}),
        "other": task("plain"),
    }
    it = world(tasks, {"echo": ECHO, "add": ADD, "plain": PLAIN}).go()

    assert it.states()["other"] == "SUCCEEDED"
    assert it.row("add").error == (
        "task 'add': parameter 'a' must be an integer (NUMBER_INTEGER), but got 'words'"
    )
    assert it.run.state is RunState.FAILED


def test_an_imported_artifact_reaches_its_consumer() -> None:
    importer = {
        "importer": {
            "artifactUri": {"runtimeParameter": "uri"},
            "typeSchema": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"},
            "metadata": {"from": "{{$.inputs.parameters['uri']}}"},
        }
    }
    load = step({"uri": "STRING"}, output_artifacts={"artifact": "system.Dataset"}, executor="imp")
    tasks = {
        "load": task("load", parameters={"uri": constant("/data/x.csv")}),
        "use": task("use", artifacts={"data": artifact("load", "artifact")}),
    }
    components = {"load": load, "use": step(input_artifacts={"data": "system.Dataset"})}
    it = world(tasks, components, ir={"executors": {"imp": importer}}).go()
    [data] = it.input_of(it.created[0])["inputs"]["artifacts"]["data"]["artifacts"]

    assert it.run.state is RunState.SUCCEEDED
    assert data["uri"] == "/data/x.csv"
    assert data["metadata"] == {"from": "/data/x.csv"}


def test_a_loop_over_artifacts_gives_each_iteration_one() -> None:
    models = {"artifactType": {"schemaTitle": "system.Model"}, "isArtifactList": True}
    make = step({}, output_artifacts={"models": models})
    use = step(input_artifacts={"one": "system.Model"})
    body = dag(
        {"use": task("use", artifacts={"one": {"componentInputArtifact": "item"}})},
        input_artifacts={"item": "system.Model", "all": models},
    )
    tasks = {
        "make": task("make"),
        "loop": task(
            "body",
            artifacts={"all": artifact("make", "models")},
            artifactIterator={"itemInput": "item", "items": {"inputArtifact": "all"}},
        ),
    }

    def make_two(task_: Task, _: dict[str, Any]) -> dict[str, Any]:
        two = [{"uri": "/a"}, {"uri": "/b"}]
        return {"artifacts": {"models": {"artifacts": two}}} if task_.name == "make" else {}

    it = world(tasks, {"make": make, "use": use, "body": body})
    it.behaviour = make_two
    it.go()
    uris = [
        it.input_of(pod)["inputs"]["artifacts"]["one"]["artifacts"][0]["uri"]
        for pod in it.created[1:]
    ]

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert uris == ["/a", "/b"]


def test_why_a_pod_waits_is_told_until_it_waits_no_more() -> None:
    it = world({"a": task("plain")}, {"plain": PLAIN}).start()
    (pod,) = it.created
    for why in ("no room for its cpu", "no room for its memory", ""):
        it.plan.pod_waits(pod, why, it.now)
        it.act()
        assert (it.row("a").state, it.row("a").error) == (TaskState.RUNNING, why)
        assert it.run.error == (f"task 'a' waits: {why}" if why else "")
    it.plan.pod_waits("of-another-run", "no room", it.now)
    assert not it.plan.has_actions


def test_a_run_says_what_its_steps_wait_for_until_none_waits() -> None:
    it = world({"a": task("plain"), "b": task("plain")}, {"plain": PLAIN}).start()
    first, second = it.created
    it.plan.pod_waits(first, "no room", it.now)
    it.plan.pod_waits(second, "installing", it.now)
    assert it.plan.run.error == "task 'a' waits: no room"
    it.end(first)
    assert it.run.error == "task 'b' waits: installing"
    it.end(second)
    assert (it.run.state, it.run.error) == (RunState.SUCCEEDED, "")


def test_a_value_that_is_none_of_the_literals_fails_the_task_that_takes_it() -> None:
    picky = step({"text": {"parameterType": "STRING", "literals": ["a", "b"]}})
    for text, state in (("b", RunState.SUCCEEDED), ("c", RunState.FAILED)):
        tasks = {
            "say": task("echo", parameters={"text": constant(text)}),
            "take": task("picky", parameters={"text": output("say")}),
        }
        it = world(tasks, {"echo": ECHO, "picky": picky}).start().go()
        assert it.run.state is state
    assert "must be one of ['a', 'b'], but got 'c'" in it.row("take").error
