"""What becomes of each field of a pod here: it has its effect, needs none, or is refused by name.

One decision a field with its reason; a unit test holds the table against the schemas, so that a
field of a new version is decided, not overlooked. Rules about values (a port is a number) stand
in ``kinds``' ``podrules`` and ``containerrules``; what is meant by each field, at
kubernetes.io/docs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bessemer.kinds import meta, rules, schemas
from bessemer.kinds.catalog import TEMPLATED
from bessemer.kinds.kind import Cause, Kind, Object
from bessemer.kinds.pod import POD


class Treatment(StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"  # it has upstream's effect
    NO_OP = "no-op"  # what it asks for is so anyway, or upstream too would do nothing on one node
    REFUSED = "refused"  # it would change what the pod is, and no part of us does it


@dataclass(frozen=True)
class Decision:
    """One field's treatment.

    Attributes:
        why: for a refused one also the cure.
        passes: of a refused one the values that change nothing, from the value and the object
            that it stands in; absent and empty values pass anyway.
    """

    treatment: Treatment
    why: str
    passes: Callable[[Any, Object], bool] = lambda _value, _owner: False


Fields = Mapping[str, Decision]


def _honoured(why: str, *names: str) -> Fields:
    return dict.fromkeys(names, Decision(Treatment.HONOURED, why))


def _no_op(why: str, *names: str) -> Fields:
    return dict.fromkeys(names, Decision(Treatment.NO_OP, why))


def _refused(name: str, why: str, *harmless: Any) -> Fields:
    return {name: Decision(Treatment.REFUSED, why, lambda value, _owner: value in harmless)}


def _refused_unless(
    name: str, why: str, passes: Callable[[Any, Object], bool]
) -> Mapping[str, Decision]:
    return {name: Decision(Treatment.REFUSED, why, passes)}


def _spreads_anyway(constraints: Any, _owner: Object) -> bool:
    """On the one node the skew over host names is 1 whatever the number of pods."""
    return all(
        each.get("whenUnsatisfiable") == "ScheduleAnyway"
        or (each.get("topologyKey") == "kubernetes.io/hostname" and each.get("minDomains", 1) == 1)
        for each in constraints
    )


_OWNER = "a container's one user is the person who started Bessemer"
_RIGHTS = "a container never holds more rights than its owner"
_ALPHA = "it is not done here; remove it"

_POD_SPEC: Fields = {
    **_honoured("the node agent and the controllers do it",
                "activeDeadlineSeconds", "automountServiceAccountToken", "containers",
                "enableServiceLinks", "hostAliases", "hostname", "initContainers",
                "readinessGates", "restartPolicy", "securityContext", "serviceAccount",
                "serviceAccountName", "terminationGracePeriodSeconds", "volumes"),
    **_honoured("the scheduler does it",
                "affinity", "nodeName", "nodeSelector", "priority", "tolerations"),
    **_honoured("another name waits for that scheduler, as upstream", "schedulerName"),
    **_no_op("every pod is on the machine's network, at addresses of its own", "hostNetwork"),
    **_no_op("a sandboxed container is in a user namespace of its own anyway", "hostUsers"),
    **_no_op("no image is pulled from a registry", "imagePullSecrets"),
    **_refused("dnsPolicy", "names are the machine's resolver's and those of Services; use "
               "ClusterFirst", "ClusterFirst", "ClusterFirstWithHostNet", "Default"),
    **_refused("dnsConfig", "names are the machine's resolver's and those of Services; remove it"),
    **_refused("ephemeralContainers", "they can't be set here; use the pod's logs"),
    **_refused("evictionResponders", _ALPHA),
    **_refused("hostIPC", "a pod never sees the machine's IPC; remove it"),
    **_refused("hostPID", "a pod always has its own process table; remove it"),
    **_refused("hostnameOverride", "use hostname"),
    **_refused("os", "programs here are the machine's own; remove it", {"name": "linux"}),
    **_refused("overhead", "it is set by runtime classes, of which there are none; remove it"),
    **_refused("preemptionPolicy", "no pod is ended for another; remove it",
               "PreemptLowerPriority", "Never"),
    **_refused("priorityClassName", "there are no priority classes; remove it"),
    **_refused("resourceClaims", "there are no dynamic resources here; use resources.limits"),
    **_refused("resources", "limits of a whole pod are not enforced; set each container's "
               "resources"),
    **_refused("runtimeClassName", "there is one runtime; remove it"),
    **_refused("schedulingGates", "pods are placed as they come; create it when it may start"),
    **_refused("schedulingGroup", "pods are placed one by one; remove it"),
    **_refused("setHostnameAsFQDN", "a host name has no domain here; remove it"),
    **_refused("shareProcessNamespace", "each container has its own processes; remove it"),
    **_refused("subdomain", "single pods have no names in the cluster's domain; use a Service"),
    **_refused_unless("topologySpreadConstraints", "there is one node; use "
                      "whenUnsatisfiable: ScheduleAnyway", _spreads_anyway),
}  # fmt: skip

_CONTAINER: Fields = {
    **_honoured("the node agent does it",
                "args", "command", "env", "envFrom", "image", "livenessProbe", "name", "ports",
                "readinessProbe", "resources", "securityContext", "startupProbe",
                "terminationMessagePath", "terminationMessagePolicy", "volumeMounts",
                "workingDir"),
    **_honoured("Always makes an init container a sidecar; others are refused by containerrules",
                "restartPolicy"),
    **_no_op("no image is pulled from a registry: an environment is built once and kept",
             "imagePullPolicy"),
    **_no_op("resources of a running pod never change", "resizePolicy"),
    **_refused("lifecycle", "hooks are not run; put them in the command"),
    **_refused("restartPolicyRules", "use the pod's restartPolicy"),
    **_refused("stdin", "nothing can be attached to a container; give it its input by a volume"),
    **_refused("stdinOnce", "nothing can be attached to a container; remove it"),
    **_refused("tty", "nothing can be attached to a container; remove it"),
    **_refused("volumeDevices", "there are no block devices; use volumeMounts"),
}  # fmt: skip

_BOTH_CONTEXTS: Fields = {
    **_honoured("as root it is refused at the start, as upstream", "runAsNonRoot"),
    **_honoured("its types are decided one by one", "appArmorProfile", "seccompProfile"),
    **_no_op("no SELinux label is set by anyone here", "seLinuxOptions"),
    **_no_op("upstream ignores it where there is no Windows", "windowsOptions"),
    **_refused("runAsUser", f"{_OWNER}; remove it"),
    **_refused("runAsGroup", f"{_OWNER}; remove it"),
}
_CONTEXTS: Mapping[str, Fields] = {
    "core.v1.SecurityContext": {
        **_BOTH_CONTEXTS,
        **_honoured("its parts are decided one by one", "capabilities"),
        **_honoured("the container's root, /tmp and home are read-only", "readOnlyRootFilesystem"),
        **_refused("allowPrivilegeEscalation", f"{_RIGHTS}; remove it"),
        **_refused("privileged", f"{_RIGHTS}; remove it"),
        **_refused("procMount", f"{_RIGHTS}; remove it", "Default"),
    },
    "core.v1.PodSecurityContext": {
        **_BOTH_CONTEXTS,
        **_no_op(f"volumes are all open to it: {_OWNER}",
                 "fsGroup", "fsGroupChangePolicy", "supplementalGroups",
                 "supplementalGroupsPolicy"),
        **_no_op("no SELinux label is set by anyone here", "seLinuxChangePolicy"),
        **_refused("sysctls", "the kernel's settings are the machine's; remove it"),
    },
    "core.v1.Capabilities": {
        **_no_op("none is held anyway", "drop"),
        **_refused("add", f"{_RIGHTS}; remove it"),
    },
    "core.v1.SeccompProfile": {
        **_refused("type", "every container has the runtime's default profile and no other; use "
                   "RuntimeDefault", "RuntimeDefault"),
        **_refused("localhostProfile", "there are no profiles on this machine; remove it"),
    },
    "core.v1.AppArmorProfile": {
        **_refused("type", "there are no profiles on this machine; use RuntimeDefault",
                   "RuntimeDefault", "Unconfined"),
        **_refused("localhostProfile", "there are no profiles on this machine; remove it"),
    },
}  # fmt: skip

_PLACED = "the scheduler does it"
_PLACEMENT: Mapping[str, Fields] = {
    "core.v1.Affinity": _honoured(_PLACED, "nodeAffinity", "podAffinity", "podAntiAffinity"),
    "core.v1.NodeAffinity": {
        **_honoured(_PLACED, "requiredDuringSchedulingIgnoredDuringExecution"),
        **_no_op("there is one node to prefer", "preferredDuringSchedulingIgnoredDuringExecution"),
    },
    **{
        f"core.v1.Pod{name}Affinity": {
            **_no_op("there is one node to prefer",
                     "preferredDuringSchedulingIgnoredDuringExecution"),
            **_refused("requiredDuringSchedulingIgnoredDuringExecution",
                       "there is one node for all pods; use "
                       "preferredDuringSchedulingIgnoredDuringExecution"),
        }
        for name in ("", "Anti")
    },
    "core.v1.NodeSelector": _honoured(_PLACED, "nodeSelectorTerms"),
    "core.v1.NodeSelectorTerm": _honoured(_PLACED, "matchExpressions", "matchFields"),
    "core.v1.NodeSelectorRequirement": _honoured(_PLACED, "key", "operator", "values"),
    "core.v1.Toleration": {
        **_honoured(_PLACED, "effect", "key", "operator", "value"),
        **_no_op("no pod is evicted", "tolerationSeconds"),
    },
}  # fmt: skip

_USES = "the node agent does it"
_USER = {**_refused("user", f"{_OWNER}; remove it")}
_DEFAULT_USER = {**_refused("defaultUser", f"{_OWNER}; remove it")}
_PARTS: Mapping[str, Fields] = {
    "core.v1.ContainerPort": {
        **_honoured(_USES, "containerPort", "name", "protocol"),
        **_refused_unless("hostPort", "a pod's ports are the machine's as they are; use "
                          "the number of containerPort",
                          lambda value, owner: value == owner.get("containerPort")),
        **_refused("hostIP", "a program listens where it chooses; remove it", "0.0.0.0"),
    },
    "core.v1.EnvVar": _honoured(_USES, "name", "value", "valueFrom"),
    "core.v1.EnvVarSource": {
        **_honoured(_USES, "configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef"),
        **_refused("fileKeyRef", "variables are not read from volumes; use configMapKeyRef"),
    },
    "core.v1.EnvFromSource": _honoured(_USES, "configMapRef", "prefix", "secretRef"),
    "core.v1.ConfigMapEnvSource": _honoured(_USES, "name", "optional"),
    "core.v1.SecretEnvSource": _honoured(_USES, "name", "optional"),
    "core.v1.ConfigMapKeySelector": _honoured(_USES, "key", "name", "optional"),
    "core.v1.SecretKeySelector": _honoured(_USES, "key", "name", "optional"),
    "core.v1.ObjectFieldSelector": _honoured(_USES, "apiVersion", "fieldPath"),
    "core.v1.ResourceFieldSelector": _honoured(_USES, "containerName", "divisor", "resource"),
    "core.v1.ResourceRequirements": {
        **_honoured("held, or told by the condition bessemer.dev/LimitsHeld", "limits"),
        **_honoured(_PLACED, "requests"),
        **_refused("claims", "there are no dynamic resources here; use limits"),
    },
    "core.v1.Probe": _honoured(
        _USES, "exec", "failureThreshold", "grpc", "httpGet", "initialDelaySeconds",
        "periodSeconds", "successThreshold", "tcpSocket", "terminationGracePeriodSeconds",
        "timeoutSeconds",
    ),
    "core.v1.ExecAction": _honoured(_USES, "command"),
    "core.v1.GRPCAction": {**_honoured(_USES, "port", "service"), **_refused("mode", _ALPHA)},
    "core.v1.HTTPGetAction": {
        **_honoured(_USES, "host", "httpHeaders", "path", "port", "scheme"),
        **_refused("protocol", _ALPHA),
    },
    "core.v1.HTTPHeader": _honoured(_USES, "name", "value"),
    "core.v1.TCPSocketAction": _honoured(_USES, "host", "port"),
    "core.v1.HostAlias": _honoured(_USES, "hostnames", "ip"),
    "core.v1.PodReadinessGate": _honoured(_USES, "conditionType"),
    "core.v1.VolumeMount": {
        **_honoured(_USES, "mountPath", "name", "readOnly", "subPath", "subPathExpr"),
        **_no_op("what is read-only is so with all beneath it", "recursiveReadOnly"),
        **_refused("bindMountOptions", _ALPHA),
        **_refused("mountPropagation", "mounts are not passed on between pods; remove it",
                   "None"),
    },
}  # fmt: skip

_VOLUME_KINDS = ("configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim",
                 "projected", "secret")  # fmt: skip
_PROJECTION_KINDS = ("configMap", "downwardAPI", "secret", "serviceAccountToken")
_OTHER_VOLUMES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral", "fc",
    "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs",
    "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos",
    "vsphereVolume",
)  # fmt: skip
_VOLUMES: Mapping[str, Fields] = {
    "core.v1.Volume": {
        **_honoured(_USES, "name", *_VOLUME_KINDS),
        **{
            name: Decision(
                Treatment.REFUSED,
                f"volumes of type {name} are not supported by this cluster; use one of "
                + ", ".join(_VOLUME_KINDS),
            )
            for name in _OTHER_VOLUMES
        },
    },
    "core.v1.EmptyDirVolumeSource": {
        **_no_op("it is a folder on the disk: as large and as lasting, only slower", "medium"),
        **_honoured("the pod is evicted when it has more there", "sizeLimit"),
        **_refused("mode", "the folder is open to all of the pod; remove it"),
    },
    "core.v1.ConfigMapVolumeSource": {
        **_honoured(_USES, "defaultMode", "items", "name", "optional"), **_DEFAULT_USER,
    },
    "core.v1.SecretVolumeSource": {
        **_honoured(_USES, "defaultMode", "items", "optional", "secretName"), **_DEFAULT_USER,
    },
    "core.v1.DownwardAPIVolumeSource": {
        **_honoured(_USES, "defaultMode", "items"), **_DEFAULT_USER,
    },
    "core.v1.ProjectedVolumeSource": {
        **_honoured(_USES, "defaultMode", "sources"), **_DEFAULT_USER,
    },
    "core.v1.PersistentVolumeClaimVolumeSource": _honoured(_USES, "claimName", "readOnly"),
    "core.v1.HostPathVolumeSource": _honoured("for the system's own pods", "path", "type"),
    "core.v1.KeyToPath": {**_honoured(_USES, "key", "mode", "path"), **_USER},
    "core.v1.DownwardAPIVolumeFile": {
        **_honoured(_USES, "fieldRef", "mode", "path", "resourceFieldRef"), **_USER,
    },
    "core.v1.VolumeProjection": {
        **_honoured(_USES, *_PROJECTION_KINDS),
        **{
            name: Decision(
                Treatment.REFUSED,
                f"projections of type {name} are not supported by this cluster; use one of "
                + ", ".join(_PROJECTION_KINDS),
            )
            for name in ("clusterTrustBundle", "podCertificate")
        },
    },
    "core.v1.ConfigMapProjection": _honoured(_USES, "items", "name", "optional"),
    "core.v1.SecretProjection": _honoured(_USES, "items", "name", "optional"),
    "core.v1.DownwardAPIProjection": _honoured(_USES, "items"),
    "core.v1.ServiceAccountTokenProjection": {
        **_honoured(_USES, "expirationSeconds", "path"),
        **_refused("audience", "tokens are for this cluster's API alone; remove it"),
        **_USER,
    },
}  # fmt: skip

#: Type of the schemas -> its fields.
DECISIONS: Mapping[str, Fields] = {
    "core.v1.PodSpec": _POD_SPEC,
    "core.v1.Container": _CONTAINER,
    **_CONTEXTS,
    **_PLACEMENT,
    **_PARTS,
    **_VOLUMES,
}
_WORDED = ("core.v1.Volume", "core.v1.VolumeProjection")  # their reasons are whole sentences


def check(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    """The refused fields of a pod, or of the template of a kind that has one."""
    if kind is POD:
        is_same = old is not None and new["spec"] == old["spec"]
        return [] if is_same else refusals(new["spec"], "spec")
    if kind in TEMPLATED:
        return refusals(meta.dig(new, "spec.template.spec") or {}, "spec.template.spec")
    return []


def refusals(spec: Object, field: str) -> list[Cause]:
    """The fields of a pod's spec that are refused; ``field`` is where it stands."""
    return [
        rules.forbidden(path, why if type_ in _WORDED else f"not supported by this cluster: {why}")
        for path, type_, why in _walk(spec, "core.v1.PodSpec", field)
    ]


def inner(described: schemas.Described) -> str:
    """The type that a described field holds, itself or in a list; "" for plain values."""
    word = described.get("list", "") if isinstance(described, dict) else described
    return word.removeprefix("@") if isinstance(word, str) and word.startswith("@") else ""


def _walk(owner: Object, type_: str, path: str) -> Iterator[tuple[str, str, str]]:
    described = schemas.fields(type_)
    for name, value in owner.items():
        decision = DECISIONS[type_].get(name)
        if decision is None or _is_empty(value):
            continue
        place = f"{path}.{name}"
        if decision.treatment is Treatment.REFUSED:
            if not decision.passes(value, owner):
                yield place, type_, decision.why
        elif (below := inner(described[name])) in DECISIONS:
            if isinstance(value, list):
                for index, each in enumerate(value):
                    yield from _walk(each, below, f"{place}[{index}]")
            else:
                yield from _walk(value, below, place)


def _is_empty(value: Any) -> bool:
    """Whether it says nothing; the number 0 does say something."""
    return value is None or value is False or value in ("", [], {})
