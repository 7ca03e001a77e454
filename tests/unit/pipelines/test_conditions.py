"""The CEL subset: what holds, and what is refused when the pipeline is read."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.pipelines.conditions import InvalidCondition, parse

VALUES: dict[str, Any] = {
    "n": 3,
    "f": 0.5,
    "s": "heads",
    "b": True,
    "num-text": "5",
    "q": "it's",
    "none": None,
    "tab": "a\tb\\c",
    "inf": float("inf"),
}


def name(key: str) -> str:
    return f"inputs.parameter_values['{key}']"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"int({name('n')}) == 3", True),
        (f"{name('n')} == 3.0", True),
        (f"int({name('num-text')}) > 4", True),
        (f"double({name('f')}) >= 0.5", True),
        (f"{name('f')} < 0.5", False),
        (f"{name('s')} == 'heads'", True),
        (f"{name('s')} != 'tails'", True),
        (f"{name('b')} == true", True),
        (name("b"), True),
        (f"!({name('s')} == 'heads')", False),
        (f"!({name('s')} == 'heads') && int({name('n')}) == 3", False),
        (f"!({name('s')} == 'x') && {name('b')} == true", True),
        (f"{name('s')} == 'x' || {name('b')} == true", True),
        (f"{name('n')} == '3'", False),
        (f"{name('q')} == 'it\\'s'", True),
        (f"{name('tab')} == 'a\\tb\\\\c'", True),
        (f"{name('none')} == null", True),
        (f"int({name('n')})\n > -1", True),
        ("true", True),
    ],
)
def test_it_evaluates_as_the_compiler_means_it(text: str, *, expected: bool) -> None:
    assert parse(text).evaluate(VALUES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "open('x')",
        "inputs.parameter_values[n]",
        "a == 1",
        "1 == 1 ; 2",
        "1 == 1 2",
        "true)",
        "int 1) == 1",
        "int(1 == 1",
        "(true",
        "'x",
        "'\\d' == 'd'",
        "(" * 100 + "true" + ")" * 100,
        "!" * 100_000 + "true",
    ],
)
def test_anything_else_is_refused_when_read(text: str) -> None:
    with pytest.raises(InvalidCondition):
        parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{name('missing')} == 1", "'missing'"),
        (f"{name('s')} > 1", "have an order"),
        (f"int({name('s')}) == 1", "'heads'"),
        (f"int({name('inf')}) == 1", "needs a number"),
        (name("n"), "must be true or false"),
        (f"!{name('n')}", "true or false"),
    ],
)
def test_a_condition_that_can_not_be_evaluated_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidCondition, match=why):
        parse(text).evaluate(VALUES)


def test_it_tells_which_inputs_it_reads() -> None:
    assert parse(f"{name('n')} == 1 && {name('s')} == 'x'").inputs == {"n", "s"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{'9' * 5000} == 1", "a number may have 400 digits"),
        (" || ".join(["true"] * 10_000), "a condition may have 65536 characters"),
    ],
)
def test_a_condition_is_bounded(text: str, why: str) -> None:
    with pytest.raises(InvalidCondition, match=why) as caught:
        parse(text)
    assert len(str(caught.value)) < 2000
