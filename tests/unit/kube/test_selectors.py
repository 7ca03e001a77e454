"""Selectors: upstream's syntax and meaning, and what is no selector."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.kinds import labelselector
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.labelselector import Requirement
from bessemer.kube import selectors
from bessemer.kube.client import Selection
from bessemer.kube.errors import BadRequest

KIND = Kind("", "v1", "Pod", "pods", fields={"status.phase": "status.phase", "spec.on": "spec.on"})


def selects(text: str, labels: dict[str, str]) -> bool:
    return labelselector.matches_labels(selectors.parse_labels(text), labels)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("", {}, True),
        ("a=1", {"a": "1"}, True),
        ("a==1", {"a": "2"}, False),
        ("a=", {"a": ""}, True),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("! a", {"a": "1"}, False),
        ("a!=1", {}, True),
        ("a!=1", {"a": "1"}, False),
        ("a in (1, 2)", {"a": "2"}, True),
        ("a in (1,2)", {}, False),
        ("a notin (1,2)", {}, True),
        ("a notin (1,2)", {"a": "1"}, False),
        ("a in ()", {"a": ""}, True),
        ("a>3", {"a": "4"}, True),
        ("a<3", {"a": "x"}, False),
        ("x.io/a-b=1, in=2 ,notin", {"x.io/a-b": "1", "in": "2", "notin": ""}, True),
    ],
)
def test_labels(text: str, labels: dict[str, str], expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert selects(text, labels) is expected


@pytest.mark.parametrize(
    "text",
    ["a=1,", ",a", "a in 1", "a in (1", "=1", "a=b=c", "a b", "a=(1)", "-a", "a>x", "a/b/c", "ä=1",
     "win (x)", "win(x)", "anotin(x)",
     f"a={'x' * 64}"],
)  # fmt: skip
def test_what_is_no_label_selector(text: str) -> None:
    with pytest.raises(BadRequest, match="unable to parse requirement"):
        selectors.parse_labels(text)


_KEYS = st.sampled_from(["a", "b", "x.io/c"])
_VALUES = st.sampled_from(["1", "2", "v-x"])
_TERMS = st.one_of(
    st.builds(Requirement, _KEYS, st.sampled_from(["Exists", "DoesNotExist"]), st.just(())),
    st.builds(
        Requirement,
        _KEYS,
        st.sampled_from(["In", "NotIn"]),
        st.lists(_VALUES, min_size=1, unique=True).map(lambda found: tuple(sorted(found))),
    ),
)


@given(st.lists(_TERMS, max_size=4))
def test_terms_survive_being_written_as_text(terms: list[Requirement]) -> None:
    assert list(selectors.parse_labels(labelselector.format_labels(terms))) == terms


def test_selector_objects_mean_the_same_as_their_text() -> None:
    terms = labelselector.from_object(
        {
            "matchLabels": {"app": "a"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["x", "y"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert labelselector.format_labels(terms) == "app=a,tier notin (x,y),!old"
    assert labelselector.from_object(None) == ()


POD: Object = {
    "metadata": {"name": "a", "namespace": "n", "labels": {"x": "1"}},
    "status": {"phase": "Running"},
    "spec": {"on": True},
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("metadata.name=a", True),
        ("metadata.name==a,metadata.namespace!=n", False),
        ("status.phase!=Pending", True),
        ("status.phase=", False),
        ("spec.on=true", True),
    ],
)
def test_fields(fields: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    matches = selectors.matcher(KIND, Selection(fields=fields))
    assert matches is not None
    assert matches(POD) is expected


def test_an_unknown_field_is_named_in_upstreams_words() -> None:
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.no") as caught:
        selectors.matcher(KIND, Selection(fields="spec.no=1"))
    assert str(caught.value) == "field label not supported: spec.no"
    with pytest.raises(BadRequest, match="invalid selector"):
        selectors.matcher(KIND, Selection(fields="metadata.name"))


def test_labels_and_fields_both_have_to_hold() -> None:
    matches = selectors.matcher(KIND, Selection(labels="x=1", fields="metadata.name=b"))
    assert matches is not None
    assert not matches(POD)
    assert selectors.matcher(KIND, Selection("n")) is None


_ANY_TERM = st.one_of(
    _TERMS,
    st.builds(
        Requirement, _KEYS, st.sampled_from(["Gt", "Lt"]), st.sampled_from([("1",), ("2",)])
    ),
)


@given(st.lists(_ANY_TERM, max_size=8), st.dictionaries(_KEYS, _VALUES))
def test_joined_terms_mean_what_each_of_them_does(
    terms: list[Requirement], labels: dict[str, str]
) -> None:
    matches = selectors.matcher(KIND, Selection(labels=labelselector.format_labels(terms)))

    expected = labelselector.matches_labels(terms, labels)

    assert (matches is None or matches({"metadata": {"labels": labels}})) is expected


class Asked(dict[str, str]):
    """Labels that count how often they are looked at."""

    times = 0

    def get(self, *arguments: Any) -> Any:
        type(self).times += 1
        return super().get(*arguments)

    def __contains__(self, key: object) -> bool:
        type(self).times += 1
        return super().__contains__(key)


def test_of_thousands_of_terms_few_look_at_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asked, "times", 0)
    terms = [f"!k{number}" for number in range(5000)]
    terms += [f"x!=v{number}" for number in range(5000)]
    matches = selectors.matcher(KIND, Selection(labels=",".join(terms)))

    assert matches is not None
    assert matches({"metadata": {"labels": Asked(x="1", y="2")}})
    assert Asked.times < 10


def test_numbers_of_thousands_of_digits_are_no_bounds() -> None:
    with pytest.raises(BadRequest, match="must be an integer"):
        selectors.parse_labels(f"a>{'9' * 5000}")
