"""Every field of a pod has its effect, needs none, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.cluster.admission import podfields
from bessemer.cluster.admission.podfields import DECISIONS, Treatment
from bessemer.kinds import schemas


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"containers": [{"name": "m", "image": "i", **(container or {})}], **spec}


def told(spec: dict[str, Any]) -> dict[str, str]:
    return {cause.field: cause.message for cause in podfields.refusals(spec, "spec")}


@pytest.mark.parametrize("type_", sorted(DECISIONS))
def test_every_field_of_the_schema_is_decided(type_: str) -> None:
    assert set(DECISIONS[type_]) == set(schemas.fields(type_))


def test_what_is_inside_an_honoured_field_is_decided_too() -> None:
    for type_, fields in DECISIONS.items():
        for name, decision in fields.items():
            below = podfields.inner(schemas.fields(type_)[name])
            if below and decision.treatment is Treatment.HONOURED:
                assert below in DECISIONS, f"{type_}.{name}"


@pytest.mark.parametrize("treatment", list(Treatment))
def test_each_decision_has_its_reason(treatment: Treatment) -> None:
    found = [
        (type_, name)
        for type_, fields in DECISIONS.items()
        for name, decision in fields.items()
        if decision.treatment is treatment and not decision.why
    ]
    assert found == []


REFUSED = [
    (pod(securityContext={"runAsUser": 0}), "spec.securityContext.runAsUser"),
    (pod(securityContext={"sysctls": [{"name": "a", "value": "b"}]}),
     "spec.securityContext.sysctls"),
    (pod(securityContext={"seccompProfile": {"type": "Unconfined"}}),
     "spec.securityContext.seccompProfile.type"),
    (pod(dnsPolicy="None"), "spec.dnsPolicy"),
    (pod(dnsConfig={"nameservers": ["1.1.1.1"]}), "spec.dnsConfig"),
    (pod(os={"name": "windows"}), "spec.os"),
    (pod(priorityClassName="high"), "spec.priorityClassName"),
    (pod(subdomain="s"), "spec.subdomain"),
    (pod(topologySpreadConstraints=[
        {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]),
     "spec.topologySpreadConstraints"),
    (pod(affinity={"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k"}]}}),
     "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"),
    (pod({"stdin": True}), "spec.containers[0].stdin"),
    (pod({"tty": True}), "spec.containers[0].tty"),
    (pod({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}), "spec.containers[0].lifecycle"),
    (pod({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}),
     "spec.containers[0].securityContext.capabilities.add"),
    (pod({"securityContext": {"seccompProfile": {"type": "Localhost"}}}),
     "spec.containers[0].securityContext.seccompProfile.type"),
    (pod({"securityContext": {"allowPrivilegeEscalation": True}}),
     "spec.containers[0].securityContext.allowPrivilegeEscalation"),
    (pod({"ports": [{"containerPort": 1}, {"containerPort": 2, "hostPort": 3}]}),
     "spec.containers[0].ports[1].hostPort"),
    (pod({"env": [{"name": "a", "valueFrom": {"fileKeyRef": {"key": "k"}}}]}),
     "spec.containers[0].env[0].valueFrom.fileKeyRef"),
    (pod({"volumeMounts": [
        {"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]}),
     "spec.containers[0].volumeMounts[0].mountPropagation"),
    (pod(volumes=[{"name": "v", "projected": {"sources": [
        {"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]),
     "spec.volumes[0].projected.sources[0].serviceAccountToken.audience"),
    (pod(volumes=[{"name": "v", "csi": {"driver": "d"}}]), "spec.volumes[0].csi"),
    ({**pod(), "initContainers": [{"name": "i", "tty": True}]}, "spec.initContainers[0].tty"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "field"), REFUSED, ids=[field for _, field in REFUSED])
def test_what_is_not_done_is_refused_by_name_with_a_cure(spec: dict[str, Any], field: str) -> None:
    found = told(spec)
    assert list(found) == [field]
    assert any(cure in found[field] for cure in ("; use ", "; remove it", "; put ", "; give "))


def test_a_usual_restricted_pod_passes() -> None:
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    ports = [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}
    spread = [
        {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"},
        {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
    ]
    spec = pod(
        {
            "securityContext": context, "ports": ports, "imagePullPolicy": "Never",
            "stdin": False, "tty": False,
        },
        securityContext={"fsGroup": 100, "supplementalGroups": [1], "runAsNonRoot": True},
        affinity={"nodeAffinity": preferred, "podAntiAffinity": preferred},
        hostNetwork=True, hostPID=False, dnsPolicy="ClusterFirst", priority=0,
        os={"name": "linux"}, volumes=[shm], topologySpreadConstraints=spread,
        imagePullSecrets=[{"name": "s"}], hostAliases=[{"ip": "127.0.0.1", "hostnames": ["a"]}],
        tolerations=[{"operator": "Exists", "tolerationSeconds": 300}],
        overhead={}, dnsConfig={}, subdomain="",
    )  # fmt: skip
    assert told(spec) == {}
