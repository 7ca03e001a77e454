"""The identity of pods: their service account, and its token, CA and namespace as files.

Source: plugin/pkg/admission/serviceaccount.
"""

from __future__ import annotations

from bessemer.base.ids import make_suffix
from bessemer.cluster.admission.lookup import Lookup
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT, TOKEN_VOLUME_PREFIX
from bessemer.kube.access import User
from bessemer.kube.errors import Forbidden

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607  # an hour and a little, as upstream asks for


def admit_create(kind: Kind, obj: Object, user: User, lookup: Lookup) -> None:
    """Give a pod its account and the files of its identity; refuse the machine's own paths."""
    if kind is not POD:
        return
    spec = obj["spec"]
    namespace = obj["metadata"]["namespace"]
    _refuse_host_paths(obj, user)
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = lookup(SERVICE_ACCOUNT, namespace, name)
    if account is None:
        raise _forbidden(
            obj,
            f"error looking up service account {namespace}/{name}: "
            f'serviceaccount "{name}" not found',
        )
    if "imagePullSecrets" not in spec and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(entry) for entry in account["imagePullSecrets"]]
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.get("automountServiceAccountToken", True)
    if wanted:
        _mount_token(spec)


def _mount_token(spec: Object) -> None:
    volumes = spec.get("volumes") or []
    existing = [
        volume["name"]
        for volume in volumes
        if volume.get("name", "").startswith(TOKEN_VOLUME_PREFIX)
    ]
    name = existing[0] if existing else TOKEN_VOLUME_PREFIX + make_suffix()
    used = False
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue  # the user brought another one
        mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
        container["volumeMounts"] = [*mounts, mount]
        used = True
    if used and not existing:
        spec["volumes"] = [*volumes, _token_volume(name)]


def _token_volume(name: str) -> Object:
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    return {
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {"downwardAPI": {"items": [namespace]}},
            ],
        },
    }


def _refuse_host_paths(obj: Object, user: User) -> None:
    names = [v.get("name", "") for v in obj["spec"].get("volumes") or () if "hostPath" in v]
    if not names:
        return
    namespace = obj["metadata"]["namespace"]
    trusted = (
        "system:masters" in user.groups or f"system:serviceaccounts:{namespace}" in user.groups
    )
    if namespace == SYSTEM_NAMESPACE and trusted:
        return
    raise _forbidden(
        obj,
        f"volume {names[0]!r} is a hostPath: pods outside {SYSTEM_NAMESPACE} see no folder of the "
        "machine; use a persistentVolumeClaim or an emptyDir",
    )


def _forbidden(obj: Object, why: str) -> Forbidden:
    name = obj["metadata"].get("name") or obj["metadata"].get("generateName", "")
    return Forbidden(f'pods "{name}" is forbidden: {why}', {"name": name, "kind": "pods"})
