"""What a delete does, by kind, options and state."""

from datetime import UTC, datetime

import pytest

from bessemer.cluster.apiserver import deletion
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.pod import POD
from bessemer.kube.client import DeleteOptions

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def make(metadata: Object | None = None, **parts: Object) -> Object:
    return {"metadata": {"name": "a", "uid": "u", "generation": 1, **(metadata or {})}, **parts}


def running_pod(metadata: Object | None = None, **spec: object) -> Object:
    return make(metadata, spec={"nodeName": "n", **spec}, status={"phase": "Running"})


def mark(kind: Kind, obj: Object, options: DeleteOptions | None = None) -> Object:
    marked = deletion.mark(kind, obj, options or DeleteOptions(), NOW)
    assert marked is not None
    return marked


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (CONFIG_MAP, make()),
        (POD, make(spec={})),  # not bound to a node
        (POD, make(spec={"nodeName": "n"}, status={"phase": "Succeeded"})),
        (POD, make(spec={"nodeName": "n"}, status={"phase": "Failed"})),
        (NAMESPACE, make(spec={"finalizers": []})),
    ],
)
def test_what_nothing_holds_goes_at_once(kind: Kind, obj: Object) -> None:
    assert deletion.mark(kind, obj, DeleteOptions(), NOW) is None


@pytest.mark.parametrize(
    ("spec", "asked", "grace", "until"),
    [
        ({}, None, 30, "12:00:30"),
        ({"terminationGracePeriodSeconds": 5}, None, 5, "12:00:05"),
        ({"terminationGracePeriodSeconds": 5}, 60, 60, "12:01:00"),
        ({}, -7, 1, "12:00:01"),
    ],
)
def test_a_running_pod_gets_its_grace(
    spec: Object, asked: int | None, grace: int, until: str
) -> None:
    metadata = mark(POD, running_pod(**spec), DeleteOptions(grace_seconds=asked))["metadata"]
    assert metadata["deletionTimestamp"] == f"2026-11-23T{until}Z"
    assert metadata["deletionGracePeriodSeconds"] == grace
    assert metadata["generation"] == 2


def test_a_pod_without_grace_goes_at_once_even_while_it_ends() -> None:
    now = DeleteOptions(grace_seconds=0)
    assert deletion.mark(POD, running_pod(), now, NOW) is None
    assert deletion.mark(POD, running_pod(terminationGracePeriodSeconds=0), now, NOW) is None
    assert deletion.mark(POD, mark(POD, running_pod()), now, NOW) is None


def test_a_second_delete_can_only_shorten_the_grace() -> None:
    ending = mark(POD, running_pod())
    assert mark(POD, ending) is ending
    assert mark(POD, ending, DeleteOptions(grace_seconds=90)) is ending
    sooner = mark(POD, ending, DeleteOptions(grace_seconds=10))["metadata"]
    assert sooner["deletionTimestamp"] == "2026-11-23T12:00:10Z"
    assert sooner["deletionGracePeriodSeconds"] == 10


def test_a_pod_with_finalizers_stays_when_its_grace_is_over() -> None:
    held = running_pod({"finalizers": ["x/y"]})
    ended = mark(POD, mark(POD, held), DeleteOptions(grace_seconds=0))
    assert ended["metadata"]["deletionGracePeriodSeconds"] == 0
    assert not deletion.is_over(POD, ended)
    freed = {**ended, "metadata": {**ended["metadata"], "finalizers": []}}
    assert deletion.is_over(POD, freed)


def test_freeing_a_pod_within_its_grace_does_not_end_it() -> None:
    ending = mark(POD, running_pod({"finalizers": ["x/y"]}))
    freed = {**ended_without_finalizers(ending)}
    assert not deletion.is_over(POD, freed)


def ended_without_finalizers(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "finalizers": []}}


@pytest.mark.parametrize(
    ("propagation", "finalizers"),
    [
        ("Foreground", ["x/y", "foregroundDeletion"]),
        ("Orphan", ["x/y", "orphan"]),
        ("Background", ["x/y"]),
        ("", ["x/y", "orphan"]),  # nothing asked: as it is
    ],
)
def test_the_policy_is_a_finalizer_of_the_garbage_collector(
    propagation: str, finalizers: list[str]
) -> None:
    held = make({"finalizers": ["x/y", "orphan"]})
    marked = mark(CONFIG_MAP, held, DeleteOptions(propagation))
    assert marked["metadata"]["finalizers"] == finalizers
    assert held["metadata"]["finalizers"] == ["x/y", "orphan"]


def test_a_namespace_is_marked_and_waits_to_be_emptied() -> None:
    namespace = make(spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    marked = mark(NAMESPACE, namespace)
    assert marked["status"] == {"phase": "Terminating"}
    assert not deletion.is_over(NAMESPACE, marked)
    assert deletion.is_over(NAMESPACE, {**marked, "spec": {"finalizers": []}})
