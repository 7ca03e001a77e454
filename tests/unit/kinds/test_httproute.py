"""HTTPRoute: whatever comes is judged, and what is refused is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.kinds import meta
from bessemer.kinds.httproute import HTTP_ROUTE, default, seconds, validate

BACKEND = {"name": "a", "port": 80}
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
# Places of a whole rule, each of which anything may stand in.
_PLACES = (
    (),
    ("rules",),
    ("hostnames",),
    ("rules", 0),
    *(("rules", 0, part) for part in ("matches", "filters", "backendRefs", "timeouts", "retry")),
    *(("rules", 0, part, 0) for part in ("matches", "filters", "backendRefs")),
    ("rules", 0, "matches", 0, "path"),
    ("rules", 0, "matches", 0, "path", "type"),
    ("rules", 0, "matches", 0, "path", "value"),
    ("rules", 0, "filters", 0, "type"),
    ("rules", 0, "filters", 0, "urlRewrite"),
    ("rules", 0, "filters", 0, "urlRewrite", "path"),
    ("rules", 0, "filters", 0, "urlRewrite", "path", "replacePrefixMatch"),
    *(("rules", 0, "backendRefs", 0, name) for name in ("name", "port", "weight", "kind")),
    ("rules", 0, "timeouts", "request"),
    ("rules", 0, "retry", "attempts"),
    ("rules", 0, "retry", "codes"),
    ("hostnames", 0),
)


def make_spec() -> dict[str, Any]:
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    return {
        "hostnames": ["a.example.com"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/a"}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"path": path}}],
                "backendRefs": [{**BACKEND, "weight": 1, "kind": "Service"}],
                "timeouts": {"request": "1m30s"},
                "retry": {"attempts": 2, "codes": [503]},
            }
        ],
    }


def judge(spec: Any) -> dict[str, str]:
    route = meta.new(HTTP_ROUTE, "a", "default", spec=spec)
    default(route)
    return {cause.field: cause.message for cause in validate(route, None)}


def test_a_whole_route_is_taken() -> None:
    assert judge(make_spec()) == {}


@given(st.sampled_from(_PLACES), _ANYTHING)
def test_anything_anywhere_is_judged_without_raising(place: tuple[Any, ...], value: Any) -> None:
    spec: Any = make_spec()
    if not place:
        spec = value
    else:
        holder = spec
        for step in place[:-1]:
            holder = holder[step]
        holder[place[-1]] = value
    assert all(field.startswith("spec.") for field in judge(spec))


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (5, "spec.rules[0]"),
        ({"sessionPersistence": {}}, "spec.rules[0].sessionPersistence"),
        ({"matches": {"path": 1}}, "spec.rules[0].matches"),
        ({"matches": [{"path": "/a"}]}, "spec.rules[0].matches[0].path"),
        ({"matches": [{"headers": []}]}, "spec.rules[0].matches[0].headers"),
        ({"matches": [{"path": {"value": "/a?x"}}]}, "spec.rules[0].matches[0].path.value"),
        ({"filters": ["x"]}, "spec.rules[0].filters[0]"),
        ({"backendRefs": [{**BACKEND, "port": True}]}, "spec.rules[0].backendRefs[0].port"),
        ({"backendRefs": [{**BACKEND, "name": 7}]}, "spec.rules[0].backendRefs[0].name"),
        ({"backendRefs": [{**BACKEND, "weight": -1}]}, "spec.rules[0].backendRefs[0].weight"),
        ({"backendRefs": [{**BACKEND, "kind": "Pod"}]}, "spec.rules[0].backendRefs[0].kind"),
        ({"timeouts": {"request": 30}}, "spec.rules[0].timeouts.request"),
        ({"timeouts": {"backendRequest": "1s"}}, "spec.rules[0].timeouts.backendRequest"),
        ({"retry": {"codes": [200]}}, "spec.rules[0].retry.codes"),
        ({"retry": {"attempts": 0}}, "spec.rules[0].retry.attempts"),
    ],
)
def test_what_is_refused_is_named(rule: Any, field: str) -> None:
    assert field in judge({"rules": [rule]})


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/", True), ("/a", True), ("/a/", True), ("/a/.b/c..d", True), ("/%C3%BC", True),
        ("", False), ("a", False), ("//", False), ("/a//b", False), ("/a/./b", False),
        ("/a/..", False), ("/a%2Fb", False), ("/a b", False), ("/\u00fc", False),
        ("/a\n", False), ("/%zz", False), ("/" + "a" * 1024, False),
    ],
)  # fmt: skip
def test_paths_are_what_a_client_can_ask_for(path: str, taken: bool) -> None:  # noqa: FBT001 - a case
    rule = {"matches": [{"path": {"value": path}}]}
    assert (judge({"rules": [rule]}) == {}) is taken


def test_durations_are_gateway_apis() -> None:
    assert seconds("1m30s") == 90
    assert seconds("1h2ms") == 3600.002
