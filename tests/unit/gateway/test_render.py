"""What each of Envoy's routes carries."""

import json
from typing import Any

from bessemer.gateway.access import Grants
from bessemer.gateway.plan import read_files, write_files
from bessemer.gateway.render import STRIPPED_HEADERS, render
from bessemer.kinds import meta
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.kind import Object
from bessemer.kinds.rbac import CLUSTER_ROLE, ROLE_BINDING

GUARD = "envoy.filters.http.rbac"


def make_route(name: str, namespace: str, path: str, hosts: tuple[str, ...] = ()) -> Object:
    rule: Object = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": [{"name": name, "port": 80, "weight": 1}],
        "timeouts": {"request": "1m30s"},
    }
    spec: Object = {"rules": [rule]}
    if hosts:
        spec["hostnames"] = list(hosts)
    return meta.new(HTTP_ROUTE, name, namespace, spec=spec)


def make_grants(*subjects: Object) -> Grants:
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    role = meta.new(CLUSTER_ROLE, "all", rules=[rule])
    reference = {"kind": "ClusterRole", "name": "all"}
    binding = meta.new(ROLE_BINDING, "all", "a", roleRef=reference, subjects=list(subjects))
    return Grants([role], [binding])


def find_values(entry: Object) -> list[Any]:
    """What a route's rules look for in the ``sub`` of who asks, beside the admin."""
    rules = entry["typed_per_filter_config"][GUARD]["rbac"]["rules"]
    assert rules["action"] == "ALLOW"
    assert set(rules["policies"]) == {"callers", "changers"}
    admin = rules["policies"]["changers"]["principals"][0]
    assert "admin" in json.dumps(admin)
    (token,) = rules["policies"]["callers"]["principals"]
    value = token["sourced_metadata"]["metadata_matcher"]["value"]
    matchers: list[Any] = value["or_match"]["value_matchers"] if "or_match" in value else [value]
    return matchers


def test_every_route_to_a_backend_is_guarded_whichever_host_it_is_under() -> None:
    routes = [
        make_route("m", "a", "/serving/a/m"),
        make_route("n", "b", "/serving/b/n"),
        make_route("m-host", "a", "/sub", ("m-a.localhost",)),
    ]
    hosts = render(routes, {}, [], None, make_grants()).hosts

    assert set(hosts) == {"*", "m-a.localhost"}
    for host in hosts.values():
        *leading, nowhere = host["routes"]
        assert leading
        for entry in leading:
            namespace = entry["metadata"]["filter_metadata"]["bessemer.dev"]["namespace"]
            prefix = f"system:serviceaccount:{namespace}:"
            assert find_values(entry) == [{"string_match": {"prefix": prefix}}]
        assert nowhere["direct_response"]["status"] == 404
    assert len(hosts["m-a.localhost"]["routes"]) == 4


def test_the_names_of_one_route_are_one_virtual_host() -> None:
    routes = [
        make_route("m", "a", "/", ("m-a.localhost", "m.a.localhost")),
        make_route("n", "a", "/", ("n-a.localhost",)),
    ]
    hosts = render(routes, {}, [], None, make_grants()).hosts

    assert {name: host["domains"] for name, host in hosts.items()} == {
        "*": ["*"],
        "m-a.localhost": ["m-a.localhost", "m.a.localhost"],
        "n-a.localhost": ["n-a.localhost"],
    }
    assert all(host["name"] == name for name, host in hosts.items())


def test_subjects_become_what_tokens_say_and_unprovable_ones_nobody() -> None:
    grants = make_grants(
        {"kind": "Group", "name": "system:masters"},
        {"kind": "Group", "name": "system:serviceaccounts:b"},
        {"kind": "Group", "name": "system:serviceaccounts"},
        {"kind": "Group", "name": "system:authenticated"},
        {"kind": "User", "name": "ann"},
        {"kind": "User", "name": "system:serviceaccount:c:he"},
        {"kind": "ServiceAccount", "name": "she", "namespace": "b"},
    )
    snapshot = render([make_route("m", "a", "/m")], {}, [], None, grants)

    assert find_values(snapshot.hosts["*"]["routes"][0]) == [
        {"string_match": {"prefix": "system:serviceaccount:a:"}},
        {"present_match": True},
        {"string_match": {"prefix": "system:serviceaccount:"}},
        {"string_match": {"prefix": "system:serviceaccount:b:"}},
        {"string_match": {"exact": "system:serviceaccount:b:she"}},
        {"string_match": {"exact": "system:serviceaccount:c:he"}},
    ]


def test_a_changed_grant_is_another_version_and_reads_back() -> None:
    routes = [make_route("m", "a", "/m")]
    before = render(routes, {}, [], None, make_grants())
    account = {"kind": "ServiceAccount", "name": "she", "namespace": "b"}
    after = render(routes, {}, [], None, make_grants(account))

    assert before.version != after.version
    assert read_files(write_files(after, STRIPPED_HEADERS)) == after


def test_without_authentication_no_route_is_guarded() -> None:
    snapshot = render([make_route("m", "a", "/m")], {}, [])

    assert "typed_per_filter_config" not in snapshot.hosts["*"]["routes"][0]


def test_a_routes_own_timeout_is_envoys() -> None:
    snapshot = render([make_route("m", "a", "/m")], {}, [])

    assert snapshot.hosts["*"]["routes"][0]["route"]["timeout"] == "90.000s"
