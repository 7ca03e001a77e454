"""Structures: what a checker normalises, and what it finds."""

import pytest

from bessemer.kinds import schemas
from bessemer.kinds.schemas import Fault


def pod(**container):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "m", "image": "i", **container}]},
    }


def find(obj, type_name="core.v1.Pod"):
    return [(finding.fault, finding.path) for finding in schemas.checker(type_name)(obj) or ()]


def test_a_good_pod_has_no_findings_and_canonical_quantities():
    obj = pod(resources={"limits": {"cpu": 1, "memory": "1024Mi"}})

    assert find(obj) == []
    assert obj["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}


def test_nulls_and_unknown_fields_are_dropped():
    obj = pod(workingDir=None, colour="red")
    obj["status"] = None

    assert find(obj) == [(Fault.UNKNOWN, "spec.containers[0].colour")]
    assert obj == pod()


@pytest.mark.parametrize(
    ("container", "fault", "path"),
    [
        ({"image": 3}, Fault.MISMATCH, "spec.containers[0].image"),
        ({"env": {}}, Fault.MISMATCH, "spec.containers[0].env"),
        ({"env": [{"value": "x"}]}, Fault.MISSING, "spec.containers[0].env[0].name"),
        ({"tty": "yes"}, Fault.MISMATCH, "spec.containers[0].tty"),
        (
            {"ports": [{"containerPort": True}]},
            Fault.MISMATCH,
            "spec.containers[0].ports[0].containerPort",
        ),
        (
            {"resources": {"limits": {"cpu": "lots"}}},
            Fault.MALFORMED,
            "spec.containers[0].resources.limits.cpu",
        ),
        ({"command": ["a", 1]}, Fault.MISMATCH, "spec.containers[0].command[1]"),
    ],
)
def test_faults_are_found_where_they_are(container, fault, path):
    assert (fault, path) in find(pod(**container))


@pytest.mark.parametrize("spec", [None, [], "x", 3])
def test_any_json_is_answered_with_findings(spec):
    found = find({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})

    assert bool(found) == (spec is not None)


def test_base64_and_times_are_checked():
    secret = {"metadata": {"creationTimestamp": "yesterday"}, "data": {"a": "%%"}}

    assert set(find(secret, "core.v1.Secret")) == {
        (Fault.MALFORMED, "metadata.creationTimestamp"),
        (Fault.MALFORMED, "data.a"),
    }
