"""Volumes on disk: swapped at once, never out of themselves; and pods' addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.base.home import Home
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods import addresses
from bessemer.cluster.kubelet.pods.addresses import Addresses
from bessemer.cluster.kubelet.volumes.payloads import Sources
from bessemer.cluster.kubelet.volumes.podvolumes import Volumes
from bessemer.cluster.kubelet.volumes.variables import NodeFacts
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from swapper import swapping

FACTS = NodeFacts("n1", "127.0.0.1", "127.9.128.7", {})


def pod(*volumes: Object) -> Object:
    obj = meta.new(POD, "p", "ns", spec={"containers": [], "volumes": list(volumes)})
    obj["metadata"]["uid"] = "u"
    return obj


def sources(obj: Object, **data: str) -> Sources:
    return Sources(obj, FACTS, {("ConfigMap", "c"): {"data": data}}, {"/3600": "token"})


def volumes(tmp_path: Path, claim: Object | None = None) -> Volumes:
    return Volumes(tmp_path / "volumes", Home(tmp_path / "home"), lambda *_: claim)


def mounted(found: Volumes, obj: Object, **mount: Any) -> Path:
    spec = {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    made = found.mounts(obj, spec, {"HERE": "x"})[0]
    return made.source / made.below


def test_new_content_replaces_the_old_at_once(tmp_path: Path) -> None:
    obj = pod({"name": "v", "configMap": {"name": "c"}})
    found = volumes(tmp_path)
    found.prepare(sources(obj, a="1", b="2"))
    folder = mounted(found, obj)
    old = (folder / "..data").resolve()
    found.prepare(sources(obj, a="1", b="2"))
    assert (folder / "..data").resolve() == old
    found.prepare(sources(obj, a="new"))
    assert {path.name: path.read_text() for path in folder.iterdir() if path.name[0] != "."} == {
        "a": "new"
    }
    assert not old.exists()


def test_projected_joins_its_sources(tmp_path: Path) -> None:
    parts = [
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "deep/a"}]}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    obj = pod({"name": "v", "projected": {"sources": parts}})
    found = volumes(tmp_path)
    found.prepare(sources(obj, a="1"))
    folder = mounted(found, obj)
    assert (folder / "deep" / "a").read_text() == "1"
    assert (folder / "token").read_text() == "token"
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert (folder / "n").read_text() == "p"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_a_path_in_a_volume_stays_inside(tmp_path: Path, path: str) -> None:
    items = [{"key": "a", "path": path}]
    obj = pod({"name": "v", "configMap": {"name": "c", "items": items}})
    with pytest.raises(StartFailure, match="stays inside"):
        volumes(tmp_path).prepare(sources(obj, a="1"))
    assert not (tmp_path / "volumes" / "x").exists()


@pytest.mark.parametrize("below", ["../x", "/x", "out/x"])
def test_a_sub_path_stays_inside(tmp_path: Path, below: str) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    found = volumes(tmp_path)
    (mounted(found, obj) / "out").symlink_to(tmp_path)
    with pytest.raises(StartFailure, match=r"stays inside|leads out"):
        mounted(found, obj, subPath=below)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("link", "below", "place"),
    [
        ("a", "link/x", "a/x"),
        ("a/../b", "link", "b"),
        ("new", "link/x", "new/x"),
        ("a/up", "link/x", "x"),  # and "up" leads back up to the volume
        ("a", "./link//x/", "a/x"),
    ],
)
def test_a_sub_path_may_go_by_links_inside(
    tmp_path: Path, link: str, below: str, place: str
) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    found = volumes(tmp_path)
    volume = mounted(found, obj)
    (volume / "a").mkdir()
    (volume / "a" / "up").symlink_to("..")
    (volume / "link").symlink_to(link)
    mounted(found, obj, subPath=below)
    assert (volume / place).is_dir()


@pytest.mark.parametrize("link", ["..", "a/../..", "/", "link", "a/far"])
def test_a_link_out_of_the_volume_is_refused(tmp_path: Path, link: str) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    found = volumes(tmp_path)
    volume = mounted(found, obj)
    (volume / "a").mkdir()
    (volume / "a" / "far").symlink_to("../../..")
    (volume / "link").symlink_to(link)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StartFailure, match="leads out"):
        mounted(found, obj, subPath="link/made")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sub_path_ends_at_a_file(tmp_path: Path) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    found = volumes(tmp_path)
    volume = mounted(found, obj)
    (volume / "f").write_text("content")
    assert mounted(found, obj, subPath="f").read_text() == "content"
    with pytest.raises(StartFailure, match="goes on at a file"):
        mounted(found, obj, subPath="f/x")
    assert [each.name for each in volume.iterdir()] == ["f"]


def test_a_sub_path_from_a_variable(tmp_path: Path) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    place = mounted(volumes(tmp_path), obj, subPathExpr="a/$(HERE)")
    assert place.parts[-2:] == ("a", "x")
    assert place.is_dir()


def test_a_folder_that_becomes_a_link_meanwhile_makes_nothing_outside(tmp_path: Path) -> None:
    obj = pod({"name": "v", "emptyDir": {}})
    found = volumes(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    with swapping(mounted(found, obj), outside):
        entered = sum(_enters(found, obj, f"d/new{number}") for number in range(3000))
    assert entered  # it did make some, in the volume
    assert list(outside.iterdir()) == []


def _enters(found: Volumes, obj: Object, below: str) -> bool:
    try:
        mounted(found, obj, subPath=below)
    except (StartFailure, OSError):
        return False
    return True


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (None, "not found"),
        ({"metadata": {}, "status": {"phase": "Pending"}}, "not bound yet"),
        ({"metadata": {"deletionTimestamp": "t"}, "status": {"phase": "Bound"}}, "being deleted"),
    ],
)
def test_a_claim_must_be_bound(tmp_path: Path, claim: Object | None, message: str) -> None:
    obj = pod({"name": "v", "persistentVolumeClaim": {"claimName": "d"}})
    with pytest.raises(StartFailure, match=message):
        volumes(tmp_path, claim).prepare(sources(obj))


def test_an_unknown_kind_of_volume_is_refused_by_name(tmp_path: Path) -> None:
    obj = pod({"name": "v", "nfs": {"server": "s"}})
    with pytest.raises(StartFailure, match="no volumes of the kind nfs"):
        volumes(tmp_path).prepare(sources(obj))


@given(st.sets(st.uuids(), max_size=50), st.integers(1, 254))
def test_addresses_are_distinct_and_in_the_pods_half(uids: set[Any], network: int) -> None:
    pool = Addresses(network)
    taken = {str(uid): pool.take(str(uid)) for uid in uids}
    assert len(set(taken.values())) == len(uids)
    for address in taken.values():
        first, second, third, _ = address.split(".")
        assert (first, second) == ("127", str(network))
        assert 128 <= int(third) < 160
    assert {uid: pool.take(uid) for uid in taken} == taken


def test_an_address_is_adopted_and_released() -> None:
    pool = Addresses(9)
    address = pool.take("a")
    other = Addresses(9)
    other.adopt("b", address)
    other.adopt("c", address)
    assert other.take("a") != address
    other.release("c", address)
    assert other.take("d") != address
    other.release("b", address)
    other.adopt("e", address)
    assert address not in {other.take(f"x{number}") for number in range(50)}


def test_what_stands_for_localhost_is_no_pods_own_address() -> None:
    pool = Addresses(9)
    own = addresses.network(pool.take("a"), (7480,))
    assert len({own.address, own.localhost, own.localhost6}) == 3
    earlier = Addresses(9)  # an earlier version gave a pod what now stands for a's localhost
    earlier.adopt("b", own.localhost)
    assert earlier.take("a") != own.address
    old = addresses.network(own.localhost, ())
    assert {old.address, old.localhost, old.localhost6} == {own.localhost}


def test_a_pods_folder_names_it(tmp_path: Path) -> None:
    pool = Addresses(9)
    address = pool.of_pod(pod(), tmp_path / "a")
    assert addresses.read_name(tmp_path / "a") == "ns/p"
    assert Addresses(9).of_pod(pod(), tmp_path / "a") == address
    assert addresses.read_name(tmp_path / "b") == ""


def test_hosts_of_a_pod() -> None:
    service = {"metadata": {"name": "db", "namespace": "ns"}, "spec": {"clusterIP": "127.9.0.5"}}
    headless = {"metadata": {"name": "no", "namespace": "ns"}, "spec": {"clusterIP": "None"}}
    names = addresses.hosts(pod(), "127.9.128.7", [service, headless])
    assert names["db"] == names["db.ns"] == names["db.ns.svc.cluster.local"] == "127.9.0.5"
    assert names["p"] == "127.9.128.7"
    assert names["kubernetes.default.svc"] == "127.0.0.1"
    assert "no" not in names
    assert "kubernetes" not in names
