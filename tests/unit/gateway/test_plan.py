"""The order in which changes reach Envoy."""

from hypothesis import given
from hypothesis import strategies as st

from bessemer.gateway.plan import Snapshot, harms_nobody, read_files, step, write_files

STRIPPED = ("kubeflow-userid",)


def snapshot(clusters: dict[str, int], routes: dict[str, str]) -> Snapshot:
    """Clusters by name with a version of their endpoints; hosts by name with their cluster."""
    return Snapshot(
        clusters={name: {"name": name} for name in clusters},
        endpoints={name: {"cluster_name": name, "at": at} for name, at in clusters.items()},
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
