"""What is absent never becomes an empty text, null or a default by accident."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.pipelines import spec
from bessemer.pipelines.records import RunState, Task
from pipelines_ir import artifact, constant, dag, given, output, pipeline, step, task
from pipelines_world import World

SAY = step({"text": "STRING"})
FIELD = "loop-item-1-subvar-n"
ITEMS = '[{"n": "l1"}, {"n": "l2"}]'
SELECTED = {"parameterExpressionSelector": 'parseJson(string_value)["n"]'}
OPTIONAL = {"parameterType": "STRING", "isOptional": True}
DEFAULT = {**OPTIONAL, "defaultValue": "default"}


def text(name: str) -> str:
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def say(words: str, **inputs: Any) -> dict[str, Any]:
    """A task that is given a text with placeholders, and what they stand for."""
    named = {name.replace("_", "-"): source for name, source in inputs.items()}
    return task("say", parameters={"text": constant(words), **named})


def loop(component: str, raw: str = ITEMS, item: str = "loop-item-1", **more: Any) -> Any:
    return task(component, parameterIterator={"itemInput": item, "items": {"raw": raw}}, **more)


def run(tasks: Any, inputs: Any = None, /, **components: Any) -> tuple[World, list[str]]:
    """The run, and what its steps said."""
    said: list[str] = []

    def behave(task_: Task, given_: dict[str, Any]) -> dict[str, Any]:
        said.append(given_["inputs"]["parameterValues"].get("text", "(none)"))
        return {}

    named = {name.replace("_", "-"): component for name, component in components.items()}
    ir = pipeline(tasks, {"say": SAY, **named}, inputs)
    return World(spec.load(ir), behave).go(), sorted(said)


def test_an_items_field_that_is_asked_for_outside_of_the_loop_is_the_items() -> None:
    branch = {"loop_item_1_subvar_n": given(FIELD)}
    branches = dag(
        {
            "two": task(
                "two",
                parameters={FIELD: {**given("loop-item-1"), **SELECTED}},
                condition=f"inputs.parameter_values['{FIELD}'] == 'l2'",
            ),
            "other": task(
                "other",
                parameters={FIELD: given(FIELD)},
                condition=f"!(inputs.parameter_values['{FIELD}'] == 'l2')",
            ),
        },
        {FIELD: "STRING"},
    )  # fmt: skip
    body = dag({"branches": task("branches", parameters={FIELD: given(FIELD)})},
               {"loop-item-1": "STRUCT", FIELD: "STRING"})  # fmt: skip
    it, said = run(
        {"loop": loop("body", parameters={FIELD: given("loop-item-1-subvar-n")})},
        body=body,
        branches=branches,
        two=dag({"say": say(f"two-{text(FIELD)}", **branch)}, {FIELD: "STRING"}),
        other=dag({"say": say(f"other-{text(FIELD)}", **branch)}, {FIELD: "STRING"}),
    )

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert said == ["other-l1", "two-l2"]


def test_an_outer_loops_item_is_seen_in_a_loop_that_is_not_given_it() -> None:
    seen = {"loop_item_1": given("loop-item-1"), "loop_item_3": given("loop-item-3")}
    inner = dag({"say": say(f"{text('loop-item-1')}-{text('loop-item-3')}", **seen)},
                {"loop-item-3": "STRING"})  # fmt: skip
    body = dag({"inner": loop("inner", '["p", "q"]', "loop-item-3")}, {"loop-item-1": "STRING"})
    it, said = run({"loop": loop("body", '["x", "y"]')}, body=body, inner=inner)

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert said == ["x-p", "x-q", "y-p", "y-q"]


def test_a_field_of_a_loop_over_a_tasks_output_is_the_items() -> None:
    key = "gen-Output-loop-item-subvar-n"
    body = dag({"say": say(text(key), gen_Output_loop_item_subvar_n=given(key))},
               {"list": "LIST", "gen-Output-loop-item": "STRUCT", key: "STRING"})  # fmt: skip
    looped = task(
        "body",
        parameters={"list": output("gen"), key: output("gen", "Output-loop-item-subvar-n")},
        parameterIterator={"itemInput": "gen-Output-loop-item",
                           "items": {"inputParameter": "list"}},
    )  # fmt: skip
    ir = pipeline({"gen": task("gen"), "loop": looped},
                  {"say": SAY, "body": body, "gen": step({}, {"Output": "LIST"})})  # fmt: skip
    said = []

    def behave(task_: Task, given_: dict[str, Any]) -> dict[str, Any]:
        if task_.name == "gen":
            return {"parameterValues": {"Output": [{"n": "a"}, {"n": "b"}]}}
        said.append(given_["inputs"]["parameterValues"]["text"])
        return {}

    it = World(spec.load(ir), behave).go()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert sorted(said) == ["a", "b"]


def test_an_item_that_has_no_such_field_fails_the_run_and_names_it() -> None:
    body = dag({"say": say(text(FIELD), loop_item_1_subvar_n=given(FIELD))},
               {"loop-item-1": "STRUCT", FIELD: "STRING"})  # fmt: skip
    looped = loop("body", '[{"n": "l1"}, {"m": 1}]', parameters={FIELD: given(FIELD)})
    it, said = run({"loop": looped}, body=body)

    assert it.run.state is RunState.FAILED
    assert "can't take 'n' out of" in it.run.error
    assert said == ["l1"]


@pytest.mark.parametrize("name", ["loop-item-2", "loop-item-2-subvar-n", "loop-item-1"])
def test_an_item_of_no_loop_around_is_refused_when_the_pipeline_is_read(name: str) -> None:
    group = dag({"say": task("say", parameters={"text": given(name)})}, {name: "STRING"})
    tasks = {"loop": loop("other"), "group": task("group", parameters={name: given(name)})}
    ir = pipeline(tasks, {"say": SAY, "group": group, "other": dag({}, {"loop-item-1": "STRUCT"})})

    with pytest.raises(spec.InvalidSpec, match=f"takes 'text' from input '{name}'"):
        spec.load(ir)


def test_a_condition_that_reads_what_nobody_gives_is_refused() -> None:
    condition = f"inputs.parameter_values['{FIELD}'] == 'x'"
    group = task("group", parameters={FIELD: given(FIELD)}, condition=condition)
    ir = pipeline({"group": group}, {"group": dag({}, {FIELD: "STRING"})})

    with pytest.raises(spec.InvalidSpec, match=f"takes '{FIELD}' from input"):
        spec.load(ir)


@pytest.mark.parametrize("item", ["[null]", '[{"n": null}]'])
def test_null_in_a_loops_item_is_no_empty_text(item: str) -> None:
    body = dag({"say": say(f"-{text(FIELD)}", loop_item_1_subvar_n=given(FIELD))},
               {"loop-item-1": "STRUCT", FIELD: "STRING"})  # fmt: skip
    it, said = run({"loop": loop("body", item, parameters={FIELD: given(FIELD)})}, body=body)

    assert it.run.state is RunState.FAILED
    assert said == []


def test_a_null_item_of_texts_is_no_text() -> None:
    body = dag({"say": task("say", parameters={"text": given("i")})}, {"i": "STRING"})
    it, said = run({"loop": loop("body", '["a", null]', "i")}, body=body)

    assert it.run.state is RunState.FAILED
    assert "parameter 'i' must be a string (STRING), but got null" in it.run.error
    assert said == ["a"]


def test_a_loop_over_artifacts_that_nobody_gave_is_no_empty_loop() -> None:
    models = {"artifactType": {"schemaTitle": "system.Model"}, "isArtifactList": True}
    optional = {"models": {**models, "isOptional": True}}
    body = dag({}, input_artifacts={**optional, "model": "system.Model"})
    looped = task(
        "body", artifactIterator={"itemInput": "model", "items": {"inputArtifact": "models"}}
    )
    it, _ = run({"loop": looped}, body=body)

    assert it.run.state is RunState.FAILED
    assert "input 'models' has none" in it.run.error


def test_an_optional_input_without_a_value_fails_the_text_that_it_stands_in() -> None:
    it, said = run({"say": say(f"two-{text('x')}", x=given("x"))}, {"x": OPTIONAL})

    assert it.run.state is RunState.FAILED
    assert "{{$.inputs.parameters['x']}} has no value" in it.run.error
    assert said == []


def test_null_as_an_argument_is_the_default() -> None:
    ir = pipeline({"say": task("say", parameters={"text": given("x")})}, {"say": SAY},
                  {"x": DEFAULT})  # fmt: skip
    it = World(spec.load(ir), parameters={"x": None}).go()

    assert it.row("say").inputs.parameters == {"text": "default"}


NEVER = "inputs.parameter_values['x'] == 'never'"


def skipping(consumer: Any) -> tuple[World, list[str]]:
    """A group in which the maker is skipped, and a task that takes what it would have made."""
    once = dag({"make": task("make")}, {"x": "STRING"}, {"out": ("STRING", [("make", "Output")])},
               output_artifacts={"art": ("system.Model", [("make", "model")])})  # fmt: skip
    body = dag({"maybe": task("once", parameters={"x": constant("x")}, condition=NEVER)},
               outputs={"out": ("STRING", [("maybe", "out")])},
               output_artifacts={"art": ("system.Model", [("maybe", "art")])})  # fmt: skip
    artifacts = {"model": {"artifactType": {"schemaTitle": "system.Model"}, "isOptional": True}}
    return run(
        {"body": task("body"), "take": consumer},
        body=body,
        once=once,
        make=step({}, {"Output": "STRING"}, output_artifacts={"model": "system.Model"}),
        may=step({"text": DEFAULT}),
        takes=step(input_artifacts=artifacts),
    )


@pytest.mark.parametrize(
    "consumer",
    [
        task("may", parameters={"text": output("body", "out")}),
        say(f"got {text('o')}", o=output("body", "out")),
        task("takes", artifacts={"model": artifact("body", "art")}),
    ],
)
def test_no_default_stands_in_for_what_a_skipped_task_would_have_made(consumer: Any) -> None:
    it, said = skipping(consumer)

    assert it.row("take").state == "SKIPPED"
    assert "'body' did not produce" in it.row("take").error
    assert said == []


def test_who_ignores_the_failure_upstream_gets_the_default_but_no_empty_text() -> None:
    it, said = skipping(task("may", parameters={"text": output("body", "out")}, always=True))
    assert said == ["default"]

    worded = {**say(f"got {text('o')}", o=output("body", "out"))}
    worded["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    it, said = skipping(worded)
    assert it.row("take").state == "FAILED"
    assert "input 'o' has no value" in it.row("take").error
    assert said == []
