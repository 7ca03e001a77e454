"""Built-in kinds: defaults are upstream's and idempotent, cells are what kubectl shows."""

import copy
from datetime import UTC, datetime, timedelta

import pytest

from bessemer.kinds import columns
from bessemer.kinds.catalog import KINDS
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kinds.secret import SECRET
from bessemer.kinds.service import SERVICE

TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "m", "image": "x:1"}]},
}


def default(kind, obj):
    obj = copy.deepcopy(obj)
    kind.default(obj)
    once = copy.deepcopy(obj)
    kind.default(obj)

    assert obj == once
    return obj


def test_pod_defaults():
    probe = {"httpGet": {"port": 80}}
    container = {
        "name": "m",
        "image": "python",
        "readinessProbe": probe,
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }
    spec = {"containers": [container], "volumes": [{"name": "v"}]}

    found = default(POD, {"metadata": {"name": "a"}, "spec": spec})

    first = found["spec"]["containers"][0]
    assert found["spec"]["restartPolicy"] == "Always"
    assert found["spec"]["terminationGracePeriodSeconds"] == 30
    assert found["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert first["imagePullPolicy"] == "Always"
    assert first["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert first["readinessProbe"]["periodSeconds"] == 10
    assert first["readinessProbe"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}
    assert found["status"]["qosClass"] == "Guaranteed"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_from_requests_and_limits(
    resources: Object, expected: str
) -> None:
    container = {"name": "m", "image": "a", "resources": resources}

    found = default(POD, {"metadata": {"name": "a"}, "spec": {"containers": [container]}})

    assert found["status"]["qosClass"] == expected


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("host:5000/a", "Always"),
        ("host:5000/a:2", "IfNotPresent"),
        ("a@sha256:0", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image, policy):
    spec = {"containers": [{"name": "m", "image": image}]}

    found = default(POD, {"metadata": {}, "spec": spec})

    assert found["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_deployment_defaults():
    spec = default(DEPLOYMENT, {"metadata": {}, "spec": {"template": TEMPLATE}})["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"


def test_job_gets_its_selector_from_its_uid():
    found = default(JOB, {"metadata": {"name": "j", "uid": "u"}, "spec": {"template": TEMPLATE}})

    selector = found["spec"]["selector"]["matchLabels"]
    assert selector == {"batch.kubernetes.io/controller-uid": "u"}
    assert found["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    assert (found["spec"]["completions"], found["spec"]["parallelism"]) == (1, 1)


def test_secret_takes_string_data():
    found = default(SECRET, {"metadata": {}, "stringData": {"a": "b"}})

    assert found == {"metadata": {}, "type": "Opaque", "data": {"a": "Yg=="}}


def test_service_ports_default_their_target():
    found = default(SERVICE, {"metadata": {}, "spec": {"ports": [{"port": 80}]}})

    assert found["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"phase": "Pending"}, "Pending"),
        (
            {
                "phase": "Running",
                "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
            "ExitCode:3",
        ),
        (
            {
                "phase": "Succeeded",
                "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}],
            },
            "Completed",
        ),
        ({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}, "Init:0/1"),
    ],
)
def test_what_kubectl_shows_as_a_pod_s_status(status, shown):
    spec = {"containers": [{"name": "m"}], "initContainers": [{"name": "i"}]}
    cells = {column.name: column for column in POD.columns}

    assert cells["Status"].read({"metadata": {}, "spec": spec, "status": status}) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (125, "2m5s"),
        (600, "10m"),
        (4 * 3600, "4h"),
        (30 * 3600, "30h"),
        (3 * 86400 + 3600, "3d1h"),
        (100 * 86400, "100d"),
        (800 * 86400, "2y70d"),
    ],
)
def test_ages(seconds, text):
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert columns.human(now + timedelta(seconds=seconds) - now) == text


def test_every_built_in_kind_has_a_schema_and_columns():
    for kind in KINDS:
        assert kind.custom or (kind.schema and kind.columns), kind
