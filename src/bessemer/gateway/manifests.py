"""The objects that Envoy runs from: a Secret, a ConfigMap, a Deployment. Pure."""

from __future__ import annotations

import base64
import hashlib
import json

from bessemer.gateway.bootstrap import GatewayOptions, make_bootstrap
from bessemer.gateway.plan import READY_PATH
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.secret import SECRET

DEPLOYMENT_NAME = "gateway"
BOOTSTRAP_SECRET = "envoy-bootstrap"
XDS_CONFIG_MAP = "envoy-xds"
_LABELS = {"app.kubernetes.io/name": "gateway"}
_DIGEST = "bessemer.dev/gateway-digest"
IMAGE = "bessemer/envoy:1.40"


def make_secret(settings: GatewayOptions) -> Object:
    """The bootstrap; a Secret, for it holds the admin token."""
    text = base64.b64encode(make_bootstrap(settings).encode()).decode()
    return meta.new(
        SECRET,
        BOOTSTRAP_SECRET,
        SYSTEM_NAMESPACE,
        labels=_LABELS,
        type="Opaque",
        data={"envoy.json": text},
    )


def make_config_map(files: dict[str, str]) -> Object:
    """The ConfigMap with the files that Envoy follows."""
    return meta.new(CONFIG_MAP, XDS_CONFIG_MAP, SYSTEM_NAMESPACE, labels=_LABELS, data=files)


def make_deployment(settings: GatewayOptions) -> Object:
    """The Deployment that runs Envoy."""
    folders = settings.folders
    container = {
        "name": "envoy",
        "image": IMAGE,
        "command": ["envoy"],
        "workingDir": folders.home,
        "args": [
            "--config-path",
            f"{folders.told(folders.bootstrap)}/envoy.json",
            "--concurrency",
            "1",
            # Its shared memory is one a machine; two homes would meet in it.
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ],
        "readinessProbe": {
            "httpGet": {"host": settings.host, "port": settings.port, "path": READY_PATH},
            "periodSeconds": 1,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [
            {"name": "bootstrap", "mountPath": folders.bootstrap, "readOnly": True},
            {"name": "xds", "mountPath": folders.xds, "readOnly": True},
            {"name": "run", "mountPath": folders.run},
        ],
    }
    pod = {
        "containers": [container],
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 5,
        # A full disk is no reason to have no gateway, which needs next to nothing of it.
        "tolerations": [
            {
                "key": "node.kubernetes.io/disk-pressure",
                "operator": "Exists",
                "effect": "NoSchedule",
            }
        ],
        "volumes": [
            {"name": "bootstrap", "secret": {"secretName": BOOTSTRAP_SECRET}},
            {"name": "xds", "configMap": {"name": XDS_CONFIG_MAP}},
            {"name": "run", "emptyDir": {}},
        ],
    }
    # Of all that a running Envoy began with: its file is read once, and another version of this
    # program may ask for another image.
    text = json.dumps([make_bootstrap(settings), pod], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return meta.new(
        DEPLOYMENT,
        DEPLOYMENT_NAME,
        SYSTEM_NAMESPACE,
        labels=_LABELS,
        spec={
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": _LABELS},
            # The port is one: the old Envoy goes before the new one comes.
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": _LABELS, "annotations": {_DIGEST: digest}},
                "spec": pod,
            },
        },
    )


def digest_of(deployment: Object) -> str:
    """Of the bootstrap and the pod that a Deployment was made for."""
    annotations = meta.dig(deployment, "spec.template.metadata.annotations") or {}
    return str(annotations.get(_DIGEST, ""))
