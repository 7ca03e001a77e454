"""The objects of a revision and of its InferenceService's routes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.kinds import meta, modelserverimage
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.inferenceservice import POD_FIELDS
from bessemer.kinds.kind import Object
from bessemer.kinds.service import SERVICE
from bessemer.kinds.servingruntime import POD_FIELDS as RUNTIME_POD_FIELDS
from bessemer.serving.storage import Location

# Source: kserve pkg/constants.
ISVC_LABEL = "serving.kserve.io/inferenceservice"
REVISION_LABEL = "serving.bessemer.dev/revision"
DIGEST = "serving.bessemer.dev/digest"
NUMBER = "serving.bessemer.dev/revision-number"
RUNTIME = "serving.bessemer.dev/runtime"
IDLE_SINCE = "serving.bessemer.dev/idle-since"

SERVICE_PORT = 80
SERVER_PORT = 8080
_GRACE_SECONDS = 30
_MODEL_VOLUME = "model"
# To ask a model twice does no harm; 503 is what a server says that did not ask it.
_RETRY = {"attempts": 2, "codes": [503]}
# Changes of these alone make no new revision.
_NO_REVISION = frozenset(
    {"canaryTrafficPercent", "minReplicas", "maxReplicas", "timeout", "containerConcurrency"}
)
# Small: a machine for one person has room for several models. Limits are the user's to set.
_REQUESTS = {"requests": {"cpu": "50m", "memory": "192Mi"}}


@dataclass(frozen=True)
class Address:
    """Where the gateway answers."""

    url: str  # "http://127.0.0.1:8082"
    domain: str  # of Host routing: name-namespace.domain

    def of(self, isvc: Object) -> str:
        """The InferenceService's address by path."""
        return f"{self.url}{path_of(isvc)}"


def path_of(isvc: Object) -> str:
    """The path before the model server's own: ``/serving/namespace/name``."""
    return f"/serving/{meta.namespace(isvc)}/{meta.name(isvc)}"


def revision_name(isvc: Object, number: int) -> str:
    """``iris-predictor-00001``."""
    return f"{meta.name(isvc)}-predictor-{number:05d}"


def digest_of(isvc: Object) -> str:
    """Of all whose change makes a new revision: of the predictor, and what pods get of its own."""
    predictor = {
        key: value for key, value in isvc["spec"]["predictor"].items() if key not in _NO_REVISION
    }
    handed_down = {"labels": meta.labels(isvc), "annotations": _annotations(isvc)}
    predictor |= {f"metadata.{key}": value for key, value in handed_down.items() if value}
    text = json.dumps(predictor, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_deployment(
    isvc: Object, number: int, container: Object, location: Location, runtime: Object
) -> Object:
    """A revision's Deployment; what the predictor says of its pods goes before the runtime's."""
    predictor, own = isvc["spec"]["predictor"], runtime["spec"]
    name = revision_name(isvc, number)
    labels = {**meta.labels(isvc), **(predictor.get("labels") or {}), **_labels(isvc, name)}
    annotations = {**_annotations(isvc), **(predictor.get("annotations") or {})}
    pod: dict[str, Any] = {
        # A model needs no right to the API, so it gets no token, unless it is given an account.
        "automountServiceAccountToken": bool(predictor.get("serviceAccountName")),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        **{key: own[key] for key in RUNTIME_POD_FIELDS if own.get(key) is not None},
        **{key: predictor[key] for key in POD_FIELDS if predictor.get(key) is not None},
        "containers": [_finish(container, location)],
    }
    claim = {"claimName": location.claim, "readOnly": True}
    pod["volumes"] = [
        *(own.get("volumes") or ()),
        *(predictor.get("volumes") or ()),
        {"name": _MODEL_VOLUME, "persistentVolumeClaim": claim},
    ]
    template = {
        "metadata": {
            "labels": {**(own.get("labels") or {}), **labels},
            "annotations": {**(own.get("annotations") or {}), **annotations},
        },
        "spec": pod,
    }
    return meta.new(
        DEPLOYMENT,
        name,
        meta.namespace(isvc),
        labels=labels,
        annotations={
            **annotations,
            DIGEST: digest_of(isvc),
            NUMBER: str(number),
            RUNTIME: meta.name(runtime),
        },
        owners=[meta.owner_reference(isvc)],
        spec={
            "replicas": max(1, predictor.get("minReplicas") or 1),
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {REVISION_LABEL: name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": template,
        },
    )


def _annotations(isvc: Object) -> dict[str, str]:
    """Those that its Deployments and pods get: the others configure the InferenceService itself.

    Source: kserve pkg/constants, ServiceAnnotationDisallowedList.
    """
    return {
        key: value
        for key, value in meta.annotations(isvc).items()
        if not key.startswith(_OWN_ANNOTATIONS)
    }


_OWN_ANNOTATIONS = (
    "autoscaling.knative.dev/",
    "internal.serving.kserve.io/",
    "kubectl.kubernetes.io/",
    "serving.kserve.io/",
)


def _make_probe(container: Object) -> Object:
    """Whether the server answers, whatever its model is called (``--model_name``).

    Of a server of another make, its port: KServe's default.
    """
    if modelserverimage.is_one(container["image"]):
        return {"httpGet": {"path": "/v2/health/ready", "port": SERVER_PORT}}
    return {"tcpSocket": {"port": SERVER_PORT}}


def _finish(container: Object, location: Location) -> Object:
    mounts = [*container.get("volumeMounts", [])]
    mounts.append({"name": _MODEL_VOLUME, "mountPath": location.mount_path, "readOnly": True})
    host = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return {
        "resources": _REQUESTS,
        "readinessProbe": {
            **_make_probe(container),
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        **container,
        "env": [host, *container.get("env", [])],
        "ports": [{"name": "http1", "containerPort": SERVER_PORT, "protocol": "TCP"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def make_service(isvc: Object, revision: str) -> Object:
    """The Service of a revision of that name."""
    return meta.new(
        SERVICE,
        revision,
        meta.namespace(isvc),
        labels=_labels(isvc, revision),
        owners=[meta.owner_reference(isvc)],
        spec={
            # As KServe's: the gateway goes to the pods themselves, so no address is needed.
            "clusterIP": "None",
            "selector": {REVISION_LABEL: revision},
            "ports": [
                {
                    "name": "http",
                    "port": SERVICE_PORT,
                    "targetPort": SERVER_PORT,
                    "protocol": "TCP",
                }
            ],
        },
    )


def entry_name(isvc: Object) -> str:
    """Of the Service by which pods reach the predictor: ``iris-predictor``, as KServe's."""
    return f"{meta.name(isvc)}-predictor"


def make_entry(isvc: Object, revision: str) -> Object:
    """That Service, leading to the pods of a revision.

    Port 80 is KServe's; where no unprivileged program may open that, the server's own port works.
    """
    return meta.new(
        SERVICE,
        entry_name(isvc),
        meta.namespace(isvc),
        labels={ISVC_LABEL: meta.name(isvc), "component": "predictor"},
        owners=[meta.owner_reference(isvc)],
        spec={
            "selector": {REVISION_LABEL: revision},
            "ports": [
                {"name": name, "port": port, "targetPort": SERVER_PORT, "protocol": "TCP"}
                for name, port in (("http", SERVICE_PORT), ("http1", SERVER_PORT))
            ],
        },
    )


def _labels(isvc: Object, revision: str) -> dict[str, str]:
    return {
        ISVC_LABEL: meta.name(isvc),
        "component": "predictor",
        REVISION_LABEL: revision,
    }


def route_names(isvc: Object) -> tuple[str, str]:
    """Of the route by path and the one by host."""
    return meta.name(isvc), f"{meta.name(isvc)}-host"


def make_routes(isvc: Object, weights: Mapping[str, int], address: Address) -> list[Object]:
    """By path for every host, and by host for every path."""
    name, namespace = meta.name(isvc), meta.namespace(isvc)
    backends = [
        {"kind": "Service", "name": revision, "port": SERVICE_PORT, "weight": weight}
        for revision, weight in sorted(weights.items())
    ]
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
    }
    shared: dict[str, Any] = {"backendRefs": backends, "retry": _RETRY}
    if (seconds := isvc["spec"]["predictor"].get("timeout")) is not None:
        shared["timeouts"] = {"request": f"{seconds}s"}
    by_path = {
        "matches": [{"path": {"type": "PathPrefix", "value": path_of(isvc)}}],
        "filters": [rewrite],
        **shared,
    }
    by_host = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], **shared}
    domain = address.domain
    hosts = [f"{name}-{namespace}.{domain}", f"{name}.{namespace}.{domain}"]
    path_name, host_name = route_names(isvc)
    return [
        _route(isvc, path_name, {"rules": [by_path]}),
        _route(isvc, host_name, {"hostnames": hosts, "rules": [by_host]}),
    ]


def _route(isvc: Object, name: str, spec: Object) -> Object:
    return meta.new(
        HTTP_ROUTE,
        name,
        meta.namespace(isvc),
        labels={ISVC_LABEL: meta.name(isvc)},
        owners=[meta.owner_reference(isvc)],
        spec=spec,
    )
