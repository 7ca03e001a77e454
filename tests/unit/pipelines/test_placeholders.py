"""Placeholders are filled in one pass, by structure, and never read twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bessemer.pipelines import placeholders

VALUES: dict[str, Any] = {
    ".inputs.parameters['n']": 3.0,
    ".inputs.parameters['s']": "a \"quoted\" {{$.inputs.parameters['n']}}",
    ".inputs.parameters['none']": None,
    ".inputs.parameters['list']": [1, "b"],
    ".inputs.parameters['true']": True,
    ".inputs.artifacts['model'].path": "/m",
    ".inputs.artifacts['model']": [{"uri": "/m"}],
    "": '{"inputs": {}}',
}


def lookup(path: str) -> Any:
    return VALUES.get(path, placeholders.UNKNOWN)


def p(name: str) -> str:
    return f"{{{{$.inputs.parameters['{name}']}}}}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plain", "{{not}}", "$(VAR)"], ["plain", "{{not}}", "$(VAR)"]),
        (["{{$}}"], ['{"inputs": {}}']),
        ([f"--n={p('n')}"], ["--n=3"]),
        ([p("true"), p("list")], ["true", '[1, "b"]']),
        ([p("s")], ['a "quoted" {{$.inputs.parameters[\'n\']}}']),
        ([f"{p('n')}-{p('n')}"], ["3-3"]),
        (["{{$.unknown['x']}}"], ["{{$.unknown['x']}}"]),
        (["{{$.inputs.artifacts['model'].path}}"], ["/m"]),
        ([json.dumps({"Concat": ["a=", p("n"), {"Concat": ["-", p("s")]}]})],
         ['a=3-a "quoted" {{$.inputs.parameters[\'n\']}}']),
        ([json.dumps({"IfPresent": {"InputName": "n", "Then": ["--n", p("n")]}}), "z"],
         ["--n", "3", "z"]),
        ([json.dumps({"IfPresent": {"InputName": "none", "Then": "t", "Else": "e"}})], ["e"]),
        ([json.dumps({"IfPresent": {"InputName": "none", "Then": "t"}}), "z"], ["z"]),
        ([json.dumps({"IfPresent": {"InputName": "model", "Then": "has"}})], ["has"]),
        ([json.dumps({"Concat": ["x", {"IfPresent": {"InputName": "n", "Then": p("n")}}]})],
         ["x3"]),
        (['{"Concat": broken'], ['{"Concat": broken']),
        (['{"Concat": [], "more": 1}'], ['{"Concat": [], "more": 1}']),
        (['{"IfPresent": ["n"]}'], ['{"IfPresent": ["n"]}']),
    ],
)  # fmt: skip
def test_arguments(arguments: list[str], expected: list[str]) -> None:
    assert placeholders.fill_arguments(arguments, lookup) == expected


@pytest.mark.parametrize(
    "argument", [p("none"), f"--x={p('none')}", json.dumps({"Concat": ["a", p("none")]})]
)
def test_null_is_no_text(argument: str) -> None:
    with pytest.raises(placeholders.MissingValue, match="none"):
        placeholders.fill_arguments([argument], lookup)


def test_a_text_that_begins_with_a_placeholder_and_ends_in_braces_is_filled() -> None:
    assert placeholders.fill_value(f"{p('n')}: {{'a': {{'b': 1}}}}", lookup) == (
        "3: {'a': {'b': 1}}"
    )


def test_a_whole_placeholder_keeps_its_type_in_a_value() -> None:
    value = {"a": [p("n"), f"x{p('n')}"], p("n"): p("list")}

    assert placeholders.fill_value(value, lookup) == {"a": [3.0, "x3"], "3": [1, "b"]}


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        (".inputs.parameters['a.b']", ["inputs", "parameters", "a.b"]),
        (
            ".outputs.artifacts[\"m\"].metadata['k']",
            ["outputs", "artifacts", "m", "metadata", "k"],
        ),
        ("", []),
    ],
)
def test_paths_are_split_at_dots_but_not_in_names(path: str, steps: list[str]) -> None:
    assert placeholders.split(path) == steps


def test_a_value_named_again_and_again_is_refused_unbuilt() -> None:
    asked: list[str] = []

    def lookup(path: str) -> object:
        asked.append(path)
        return "x" * (1 << 20)

    metered = placeholders.Metered(lookup)
    text = "{{$.inputs.parameters['big']}}" * 3000

    with pytest.raises(placeholders.TooLong, match=r"16777216 .* has 1048576 and 0 are left"):
        placeholders.fill_text(text, metered)
    assert asked == [".inputs.parameters['big']"]


def test_structures_count_too_and_presence_does_not() -> None:
    allowance = placeholders.Allowance(100)
    metered = placeholders.Metered(lambda _path: {"k": "x" * 60}, allowance)
    present = '{"IfPresent": {"InputName": "a", "Then": "there"}}'

    assert placeholders.fill_arguments([present] * 10, metered) == ["there"] * 10
    with pytest.raises(placeholders.TooLong):
        placeholders.fill_value(["{{$.a}}", "{{$.b}}"], metered)


MANY = 100_000


@pytest.mark.parametrize("text", ["{{$" * MANY, "}}" + "{{$" * MANY], ids=["none", "before"])
def test_openings_without_an_end_stay_and_cost_little(text: str) -> None:
    assert (placeholders.fill_text(text, lambda _path: "x") == text) is True


def test_a_path_of_openings_is_read_once() -> None:
    assert placeholders.split(".a" + "['" * MANY) == ["a" + "['" * MANY]
    assert placeholders.split(".a['b.c'][\"d'\"].e") == ["a", "b.c", "d'", "e"]
