"""What is told of a YAML text before anybody reads it."""

import pytest
import yaml

from bessemer.kube.yamlshape import survey


@pytest.mark.parametrize(
    ("text", "has_aliases", "values", "depth"),
    [
        ("", False, 0, 0),
        ("a", False, 1, 0),
        ("a: [1, 2]", False, 5, 2),
        ("a: &x 1\nb: *x", True, 5, 1),
        ("a: '*x'\n--- \nb: 1", False, 6, 1),
    ],
)
def test_the_shape_of_a_text(text: str, has_aliases: bool, values: int, depth: int) -> None:  # noqa: FBT001 - a table's column
    assert survey(text, yaml.CSafeLoader, depth=100) == (has_aliases, values, depth)


def test_a_look_ends_where_a_bound_is_passed() -> None:
    """What comes after that is not even looked at: here it is no YAML at all."""
    deep, long = "[" * 100_000, "- a\n" * 100_000 + "\t{"

    assert survey(deep, yaml.CSafeLoader, depth=10).depth == 11
    assert survey(long, yaml.CSafeLoader, depth=10, values=50).values == 51


def test_what_is_no_yaml_is_told() -> None:
    with pytest.raises(yaml.YAMLError):
        survey("a: [", yaml.CSafeLoader, depth=10)
