"""The order in which changes reach Envoy."""

from hypothesis import given
from hypothesis import strategies as st

from bessemer.gateway.plan import (
    InUse,
    Snapshot,
    harms_nobody,
    read_files,
    read_in_use,
    step,
    write_files,
)
from bessemer.kinds.kind import Object

STRIPPED = ("kubeflow-userid",)


def cluster(name: str, *ports: int) -> Object:
    members = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    assignment: Object = {"cluster_name": name}
    if members:
        assignment["endpoints"] = [{"lb_endpoints": members}]
    return {"name": name, "load_assignment": assignment}


def snapshot(clusters: dict[str, int], routes: dict[str, str]) -> Snapshot:
    """Clusters by name with their endpoint's port; hosts and listeners with their cluster."""
    return Snapshot(
        clusters={name: cluster(name, port) for name, port in clusters.items()},
        listeners={f"{name}:80": {"name": f"{name}:80"} for name in routes.values()},
        hosts={
            host: {"name": host, "domains": [host], "routes": [{"route": {"cluster": cluster}}]}
            for host, cluster in routes.items()
        },
    )


def test_new_route_comes_after_what_it_needs_and_before_the_old_goes() -> None:
    old, new = snapshot({"a": 1}, {"*": "a"}), snapshot({"b": 1}, {"*": "b"})
    prepared = step(old, new)
    assert set(prepared.clusters) == {"a", "b"}
    assert prepared.hosts == old.hosts
    moved = step(prepared, new)
    assert set(moved.clusters) == {"a", "b"}
    assert moved.hosts == new.hosts
    assert step(moved, new) == new
    assert harms_nobody(old, prepared)
    assert not harms_nobody(prepared, moved)
    assert not harms_nobody(moved, new)


def test_changed_endpoints_alone_go_at_once() -> None:
    old, new = snapshot({"a": 1}, {"*": "a"}), snapshot({"a": 2}, {"*": "a"})
    assert step(old, new) == new
    assert harms_nobody(old, new)


_SNAPSHOTS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), min_size=1).flatmap(
    lambda clusters: st.dictionaries(
        st.sampled_from(["*", "x"]), st.sampled_from(sorted(clusters)), min_size=1
    ).map(lambda routes: snapshot(clusters, routes))
)


@given(_SNAPSHOTS, _SNAPSHOTS)
def test_every_way_ends_and_no_step_lacks_a_cluster(old: Snapshot, new: Snapshot) -> None:
    current = old
    for _ in range(3):
        coming = step(current, new)
        # Whichever of the two an Envoy half way has taken of each kind, routes find a cluster.
        for hosts in (current.hosts, coming.hosts):
            used = {host["routes"][0]["route"]["cluster"] for host in hosts.values()}
            assert used <= set(current.clusters) or hosts is coming.hosts
            assert used <= set(coming.clusters)
        current = coming
    assert current == new


@given(_SNAPSHOTS)
def test_files_read_back_as_they_were_written(given_one: Snapshot) -> None:
    assert read_files(write_files(given_one, STRIPPED)) == given_one


def test_files_that_are_none_of_ours_are_an_empty_configuration() -> None:
    assert read_files({}) == Snapshot()
    assert read_files({"cds.json": "no json", "rds.json": "{}"}) == Snapshot()


def test_what_envoy_does_not_use_yet_is_not_followed() -> None:
    wanted = snapshot({"a": 1, "b": 2}, {"*": "a"})
    dump = {"configs": [{"cluster": wanted.clusters["a"]}, {"cluster": wanted.clusters["b"]}]}
    listening = {"configs": [{"name": "a:80", "active_state": {"version_info": "1"}}]}
    assert read_in_use(wanted.version, dump, listening).follows(wanted)
    assert not read_in_use("older", dump, listening).follows(wanted)
    one_is_not_warm = {"configs": dump["configs"][:1]}
    assert not read_in_use(wanted.version, one_is_not_warm, listening).follows(wanted)
    assert not read_in_use(wanted.version, dump, {}).follows(wanted)
    before = {"configs": [dump["configs"][0], {"cluster": cluster("b", 1)}]}
    assert not read_in_use(wanted.version, before, listening).follows(wanted)


def test_a_listener_that_envoy_refused_is_not_waited_for_and_says_why() -> None:
    wanted = snapshot({"a": 1}, {"*": "a"})
    dump = {"configs": [{"cluster": wanted.clusters["a"]}]}
    error = {"failed_configuration": {"name": "a:80"}, "details": "cannot bind"}
    in_use = read_in_use(wanted.version, dump, {"configs": [{"error_state": error}]})
    assert in_use == InUse(
        wanted.version, {"a": frozenset({("127.0.0.1", 1)})}, refused={"a:80": "cannot bind"}
    )
    assert in_use.follows(wanted)


def test_a_cluster_without_endpoints_is_followed_when_envoy_has_none_either() -> None:
    wanted = Snapshot(clusters={"a": cluster("a")})
    dump = {"configs": [{"cluster": {"name": "a", "load_assignment": {}}}]}
    assert read_in_use(wanted.version, dump, {}).follows(wanted)
