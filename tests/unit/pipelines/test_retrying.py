"""A failed run is retried: what failed and was skipped is done again, what ended well is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bessemer.pipelines import spec, tree
from bessemer.pipelines.records import RunState, Task, Values
from pipelines_ir import constant, dag, given, output, pipeline, step, task
from pipelines_world import World

PLAIN = step()
STATUS = step({"status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}})
CHAIN = dag({"a": task("plain"), "b": task("plain", after=["a"]), "c": task("plain", after=["b"])})


class Flaky:
    """Tasks that fail as often as told, and how often each ran; by their name or item."""

    def __init__(self, **fails: int) -> None:
        self.fails = fails
        self.ran: dict[str, int] = {}

    def __call__(self, task_: Task, given_: dict[str, Any]) -> dict[str, Any] | str:
        name = str(given_["inputs"]["parameterValues"].get("text", task_.name))
        self.ran[name] = self.ran.get(name, 0) + 1
        return "exit code 1" if self.ran[name] <= self.fails.get(name, 0) else {}


def world(flaky: Flaky, tasks: Any, **more: Any) -> World:
    components = {"plain": PLAIN, "chain": CHAIN, "status": STATUS, **more.pop("components", {})}
    return World(spec.load(pipeline(tasks, components)), flaky, **more)


CHAIN_TASKS = CHAIN["dag"]["tasks"]


def test_only_what_failed_and_what_waited_for_it_runs_again_in_new_pods() -> None:
    flaky = Flaky(b=1)
    it = world(flaky, CHAIN_TASKS).go()
    first = it.row("b")
    it.retry()

    assert it.run.state is RunState.SUCCEEDED
    assert flaky.ran == {"a": 1, "b": 2, "c": 1}
    assert it.row("b").attempt == 1
    assert it.row("b").pod_name != first.pod_name
    assert it.row("b").history[: len(first.history)] == first.history
    assert set(it.states().values()) == {"SUCCEEDED"}


def test_a_retry_that_fails_can_be_retried() -> None:
    flaky = Flaky(b=2)
    it = world(flaky, CHAIN_TASKS).go()
    pods = [it.row("b").pod_name]
    for _ in range(2):
        it.retry()
        pods.append(it.row("b").pod_name)

    assert it.run.state is RunState.SUCCEEDED
    assert flaky.ran == {"a": 1, "b": 3, "c": 1}
    assert len(set(pods)) == 3


def test_a_sub_pipeline_goes_on_inside() -> None:
    flaky = Flaky(b=1)
    it = world(flaky, {"sub": task("chain"), "after": task("plain", after=["sub"])}).go()
    it.retry()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert flaky.ran == {"a": 1, "b": 2, "c": 1, "after": 1}


@pytest.mark.parametrize("limit", [0, 1])
def test_a_loop_repeats_its_bad_iteration_alone(limit: int) -> None:
    flaky = Flaky(y=1)
    body = dag({"say": task("say", parameters={"text": given("i")})}, {"i": "STRING"},
               {"outs": ("LIST", [("say", "Output")])})  # fmt: skip
    looped = task("body", parameterIterator={"itemInput": "i", "items": {"raw": '["x","y","z"]'}},
                  iteratorPolicy={"parallelismLimit": limit})  # fmt: skip
    join = step({"texts": "LIST"})
    flaky_ = lambda task_, given_: (  # noqa: E731 - one step has an output
        {"parameterValues": {"Output": "o"}} if flaky(task_, given_) == {} else "exit code 1"
    )
    it = World(
        spec.load(
            pipeline(
                {
                    "loop": looped,
                    "join": task("join", parameters={"texts": output("loop", "outs")}),
                },
                {
                    "body": body,
                    "say": step({"text": "STRING"}, {"Output": "STRING"}),
                    "join": join,
                },
            )
        ),
        flaky_,
    ).go()
    it.retry()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert flaky.ran == {"x": 1, "y": 2, "z": 1, "join": 1}
    assert it.row("join").inputs.parameters == {"texts": ["o", "o", "o"]}


def test_a_loop_of_containers_repeats_its_bad_iteration_alone() -> None:
    flaky = Flaky(y=1)
    looped = task("say", parameterIterator={"itemInput": "text", "items": {"raw": '["x","y"]'}})
    it = world(flaky, {"loop": looped}, components={"say": step({"text": "STRING"})}).go()
    it.retry()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert flaky.ran == {"x": 1, "y": 2}


def test_a_condition_that_was_false_stays_so_and_its_row_stays() -> None:
    flaky = Flaky(b=1)
    never = "inputs.parameter_values['x'] == 'never'"
    maybe = dag({"inside": task("plain")}, {"x": "STRING"})
    tasks = {"no": task("maybe", parameters={"x": constant("x")}, condition=never), **CHAIN_TASKS}
    good = dag({"no": tasks["no"]})
    it = world(
        flaky, {**tasks, "good": task("good")}, components={"maybe": maybe, "good": good}
    ).go()
    skipped = [it.row("no"), it.row("good/no")]
    it.retry()

    assert it.run.state is RunState.SUCCEEDED
    assert [it.row("no"), it.row("good/no")] == skipped
    assert flaky.ran == {"a": 1, "b": 2, "c": 1}


def test_an_exit_task_is_told_of_the_new_end() -> None:
    flaky = Flaky(b=1)
    tasks = {
        "body": task("chain"),
        "exit": task("status", always=True, after=["body"],
                     parameters={"status": {"taskFinalStatus": {"producerTask": "body"}}}),
    }  # fmt: skip
    it = world(flaky, tasks).go()
    assert it.row("exit").inputs.parameters["status"]["state"] == "FAILED"
    it.retry()

    assert it.run.state is RunState.SUCCEEDED
    assert flaky.ran == {"a": 1, "b": 2, "c": 1, "exit": 2}
    assert it.row("exit").inputs.parameters["status"]["state"] == "COMPLETE"


def test_what_was_taken_from_the_cache_is_not_asked_for_again() -> None:
    flaky = Flaky(b=1)
    tasks = {"a": task("plain", cached=True), "b": task("plain", after=["a"])}
    it = world(flaky, tasks)
    it.plan.start(it.now)
    look_up = next(action for action in it.plan.actions() if hasattr(action, "fingerprint"))
    it.cache[look_up.fingerprint] = (Values(), [])
    it.plan = it._build()
    it.go()
    asked = len(it.asked)
    it.retry()

    assert it.row("a").state == "CACHED"
    assert len(it.asked) == asked
    assert flaky.ran == {"b": 2}


def test_a_retry_by_hand_has_all_the_attempts_of_the_steps_policy() -> None:
    flaky = Flaky(a=3)
    it = world(flaky, {"a": task("plain", retryPolicy={"maxRetryCount": 1})}).go()
    assert (flaky.ran["a"], it.row("a").attempt) == (2, 1)
    it.retry()

    assert it.run.state is RunState.SUCCEEDED
    assert (flaky.ran["a"], it.row("a").attempt) == (4, 3)
    assert len(it.pods) == 4
    assert tree.attempts(it.row("a")) == 2


def test_a_task_that_failed_before_it_had_a_pod_takes_its_inputs_anew() -> None:
    maker = step({}, {"Output": "STRUCT"})
    sub = dag({"say": task("plain")}, {"n": "STRING"})
    field = {**output("make"), "parameterExpressionSelector": 'parseJson(string_value)["n"]'}
    tasks = {"make": task("make"), "sub": task("sub", parameters={"n": field})}
    made: list[dict[str, Any]] = [{}, {"n": "there"}]

    def behave(task_: Task, _given: dict[str, Any]) -> dict[str, Any] | str:
        return {"parameterValues": {"Output": made[0]}} if task_.name == "make" else {}

    it = World(
        spec.load(pipeline(tasks, {"make": maker, "sub": sub, "plain": PLAIN})), behave
    ).go()
    assert "can't take 'n'" in it.row("sub").error
    made.pop(0)
    make = it.row("make")
    it.rows[make.id] = replace(make, outputs=Values({"Output": made[0]}))
    it.retry()

    assert it.run.state is RunState.SUCCEEDED, it.run.error


@pytest.mark.parametrize("crash_at", range(1, 14))
def test_a_crash_in_the_middle_of_a_retry_repeats_no_step(crash_at: int) -> None:
    flaky = Flaky(b=1)
    it = world(flaky, {"sub": task("chain"), "after": task("plain", after=["sub"])}).go()
    it.done, it.crash_at = 0, crash_at
    it.retry()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert flaky.ran == {"a": 1, "b": 2, "c": 1, "after": 1}


def test_a_terminated_run_goes_on() -> None:
    flaky = Flaky()
    it = world(flaky, CHAIN_TASKS).start()
    it.step()
    it.terminate()
    it.go()
    assert it.row("b").state == "CANCELED"
    it.retry()

    assert it.run.state is RunState.SUCCEEDED
    assert flaky.ran == {"a": 1, "b": 1, "c": 1}
