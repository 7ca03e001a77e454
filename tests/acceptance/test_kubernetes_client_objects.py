"""Objects by the official ``kubernetes`` client: every verb on every kind, as upstream has it."""

from typing import Any

import pytest

import harness
from kubernetes_session import Session

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("kubernetes-objects"),
]

CONTAINER = {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
POD = {"terminationGracePeriodSeconds": 1, "containers": [CONTAINER]}
TEMPLATE = {"metadata": {"labels": {"app": "walked"}}, "spec": POD}
ONCE = {"spec": {**POD, "restartPolicy": "Never"}}
SELECTOR = {"matchLabels": {"app": "walked"}}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
ABOUT = {"apiVersion": "v1", "kind": "Pod", "name": "x", "namespace": "NAMESPACE"}
MODEL = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://absent/model"}}
SERVER = [{"name": "kserve-container", "image": "bessemer/modelserver:sklearn-1.6.1"}]
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
RBAC = "rbac.authorization.k8s.io/v1"

# kind -> (apiVersion, the object but for its metadata)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Namespace": ("v1", {}),
    "Node": ("v1", {"spec": {"unschedulable": True}}),
    "Event": ("v1", {"involvedObject": ABOUT, "reason": "Walked", "type": "Normal"}),
    "Pod": ("v1", {"spec": POD}),
    "ConfigMap": ("v1", {"data": {"a": "1"}}),
    "Secret": ("v1", {"stringData": {"a": "1"}}),
    "ServiceAccount": ("v1", {}),
    "PersistentVolumeClaim": ("v1", {"spec": CLAIM}),
    "Service": ("v1", {"spec": {"ports": [{"port": 8080}]}}),
    "EndpointSlice": ("discovery.k8s.io/v1", {"addressType": "IPv4", "endpoints": []}),
    "Lease": ("coordination.k8s.io/v1", {"spec": {"holderIdentity": "walker"}}),
    "Job": ("batch/v1", {"spec": {"suspend": True, "template": ONCE}}),
    "Deployment": (
        "apps/v1",
        {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}},
    ),
    "ReplicaSet": (
        "apps/v1",
        {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}},
    ),
    "Role": (RBAC, {"rules": RULES}),
    "ClusterRole": (RBAC, {"rules": RULES}),
    "RoleBinding": (RBAC, {"roleRef": {"kind": "Role", "name": "x"}}),
    "ClusterRoleBinding": (RBAC, {"roleRef": {"kind": "ClusterRole", "name": "x"}}),
    "InferenceService": (
        "serving.kserve.io/v1beta1",
        {"spec": {"predictor": MODEL}},
    ),
    "ServingRuntime": (
        "serving.kserve.io/v1alpha1",
        {"spec": {"containers": SERVER, "supportedModelFormats": [{"name": "walked"}]}},
    ),
}
WITH_STATUS = {
    "Namespace", "Node", "Pod", "PersistentVolumeClaim", "Service", "Job", "Deployment",
    "ReplicaSet", "InferenceService",
}  # fmt: skip
OURS = ("InferenceService", "ServingRuntime")


@pytest.mark.parametrize("kind", KINDS)
def test_every_verb_on_every_kind(session: Session, kind: str) -> None:
    version, parts = KINDS[kind]
    manifest = {"apiVersion": version, "kind": kind, **parts}
    has_status = kind in WITH_STATUS

    told = session.play("walk", manifest=manifest, has_status=has_status)

    (name,) = told.pop("listed")
    first, second = told["events"].pop("of")
    versions = told["events"].pop("versions")
    assert name.endswith("-one")
    assert first == ["ADDED", "MODIFIED", "DELETED"]
    assert [second[0], second[-1]] == ["ADDED", "DELETED"]  # controllers may write to it between
    assert versions == sorted(set(versions))
    changed = ["json", "kept", "merge"]
    assert told == {
        "read": True,
        "again": "AlreadyExists",
        "stale": "Conflict",
        # Upstream has no strategic merge patch of custom kinds.
        "patches": [*changed, 415] if kind in OURS else [*changed, "strategic"],
        "events": {},
        "after": [],
        "absent": "NotFound",
        # Upstream has none of all namespaces at once.
        **({"deletecollection": 405} if kind == "Namespace" else {}),
        **({"status": {"written": True, "spec": True, "ignored": True}} if has_status else {}),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_applied(session: Session, kind: str) -> None:
    version, parts = KINDS[kind]

    told = session.play("applied", manifest={"apiVersion": version, "kind": kind, **parts})

    kept = {"kubernetes.io/metadata.name", "walk"} if kind == "Namespace" else {"walk"}
    assert set(told.pop("given up")) >= kept
    assert told == {
        "by": [["alice", "Apply"]],
        "again": True,
        "conflict": 'Apply failed with 1 conflict: conflict with "alice": .metadata.labels.x',
        "forced": "2",
    }


def test_patches_differ_as_upstream_has_it(session: Session) -> None:
    assert session.play("patches") == {
        "strategic": ["busybox:1", "debian"],
        "merge": ["debian"],
        "json": ["alpine"],
        "test": 422,
        "absent": 422,
        "list": ["c/c", "a/a"],
    }


def test_a_stale_version_is_a_conflict(session: Session) -> None:
    told = session.play("conflicts")

    assert (told["replace"]["code"], told["replace"]["reason"]) == (409, "Conflict")
    assert "the object has been modified" in told["replace"]["message"]
    assert (told["patch"], told["delete"]) == (409, 409)
    assert told["data"] == {"a": "2"}
    assert told["unguarded"] == {"a": "3"}


def test_bad_objects_and_questions_are_refused_with_the_reason(session: Session) -> None:
    told = session.play("refusals")

    assert told.pop("lenient") is None
    assert {key: (value["code"], value["reason"]) for key, value in told.items()} == {
        "name": (422, "Invalid"),
        "no name": (422, "Invalid"),
        "type": (400, "BadRequest"),
        "namespace": (400, "BadRequest"),
        "version": (400, "BadRequest"),
        "image": (422, "Invalid"),
        "absent": (404, "NotFound"),
        "strict": (400, "BadRequest"),
        "selector": (400, "BadRequest"),
        "field": (400, "BadRequest"),
        "no such kind": (404, "NotFound"),
    }
    assert "metadata.name" in told["name"]["message"]
    assert "spec.containers[0].image: Required value" in told["image"]["message"]
    assert 'secrets "x" not found' in told["absent"]["message"]
    assert 'unknown field "dato"' in told["strict"]["message"]
    assert "field label not supported: spec.color" in told["field"]["message"]


def test_label_selectors(session: Session) -> None:
    expected = {
        "tier=web": ["a"],
        "tier==web": ["a"],
        "tier!=web": ["b", "c"],
        "tier in (web,db)": ["a", "b"],
        "tier notin (web)": ["b", "c"],
        "tier": ["a", "b"],
        "!tier": ["c"],
        "tier=web,env=test": [],
        "env in (live),tier!=db": ["a"],
    }

    assert session.play("label_selectors", selectors=list(expected)) == expected


def test_field_selectors(session: Session) -> None:
    assert session.play("field_selectors") == {
        "metadata.name": ["runs"],
        "status.phase": ["done"],
        "not over": ["runs", "waits"],
        "spec.nodeName": ["done", "runs"],
        "no node": ["waits"],
        "everywhere": ["runs", "waits"],
        "type of a secret": ["auth"],
        "involvedObject.name": ["done"],
        "type": ["Warning"],
    }


def test_a_watch_tells_what_comes_into_and_leaves_its_selector(session: Session) -> None:
    assert session.play("watches_of_selectors") == [
        ["ADDED", "x"],
        ["DELETED", "x"],
        ["ADDED", "last"],
    ]


def test_names_are_made_up_on_request(session: Session) -> None:
    told = session.play("generated_names")

    assert len(set(told["names"])) == 5
    assert all(name.startswith("job-") and len(name) == 9 for name in told["names"])
    assert told["prefix"] == ["job-"]
    assert told["given"] == "given"


def test_dependents_go_with_their_owner_or_are_left(session: Session) -> None:
    assert session.play("owners") == {
        "Background": [],
        "Foreground": [],
        "Orphan": ["orphan-grandchild", "orphan-child"],
        "references": [],
    }


def test_finalizers_hold_what_is_deleted(session: Session) -> None:
    assert session.play("finalizers") == {
        "marked": True,
        "more": 422,
        "left": ["example.org/two"],
        "after": 404,
    }


def test_a_namespace_takes_all_along(session: Session) -> None:
    told = session.play("namespace_deletion")

    assert told["phase"] == "Terminating"
    assert (told["new"]["code"], told["new"]["reason"]) == (403, "Forbidden")
    assert "because it is being terminated" in told["new"]["message"]
    assert told["held"] == ["held"]
    assert "configmaps" in told["left"]["NamespaceContentRemaining"]
    assert "example.org/hold" in told["left"]["NamespaceFinalizersRemaining"]
    assert told["again"] == []


def test_a_pods_events(session: Session) -> None:
    told = session.play("pod_events")

    assert {"Scheduled", "Created", "Started"} <= set(told["reasons"])
    # The machine runs it in place of the image, and says so.
    assert "ImageStandIn" in told["reasons"]
    assert told["types"] == ["Normal", "Warning"]
    assert told["kinds"] == ["Pod"]
    assert told["sources"] == ["default-scheduler", "kubelet"]
    assert told["messages"]


def test_a_list_in_pages_is_one_state_of_the_world(session: Session) -> None:
    assert session.play("paging") == {
        "pages": [
            ["n0", "n1", "n2", "n3"],
            ["n4", "n5", "n6", "n7"],
            ["n8", "n9"],
        ],
        "remaining": 6,
        "garbage": 400,
    }
