"""The EndpointSlices that a Service should have. Pure.

Only pods that take requests now are listed: ready and not ending (with
``publishNotReadyAddresses``, every pod that has an address). Pods that resolve the ports
differently get a slice of their own. Source: k8s.io/endpointslice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from bessemer.base.ids import hash_name
from bessemer.control import pods as podrules
from bessemer.kinds import meta
from bessemer.kinds.endpointslice import ENDPOINT_SLICE, SERVICE_NAME
from bessemer.kinds.kind import Object

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"


def find_selector(service: Object) -> dict[str, str]:
    """The labels of the Service's pods; empty where it has none, or is another's name only."""
    if meta.dig(service, "spec.type") == "ExternalName":
        return {}
    return meta.dig(service, "spec.selector") or {}


def is_selected(service: Object, pod: Object) -> bool:
    """Whether the Service's selector picks the pod; no selector picks nothing."""
    selector = find_selector(service)
    return bool(selector) and selector.items() <= meta.labels(pod).items()


def slices(service: Object, pods: Iterable[Object]) -> list[Object]:
    """The slices, one a set of port numbers, in a stable order."""
    everyone = bool(meta.dig(service, "spec.publishNotReadyAddresses"))
    groups: dict[str, list[Object]] = {}
    for pod in pods:
        if _serves(pod, everyone=everyone):
            ports = json.dumps(_ports(service, pod), sort_keys=True)
            groups.setdefault(ports, []).append(pod)
    if not groups:  # one empty slice says that the Service is known
        groups[json.dumps(_ports(service, None), sort_keys=True)] = []
    return [_slice(service, json.loads(ports), groups[ports]) for ports in sorted(groups)]


def _serves(pod: Object, *, everyone: bool) -> bool:
    if not meta.dig(pod, "status.podIP") or podrules.is_finished(pod):
        return False
    return everyone or (podrules.is_ready(pod) and not meta.is_deleting(pod))


def _slice(service: Object, ports: list[Object], pods: list[Object]) -> Object:
    labels = {**meta.labels(service), SERVICE_NAME: meta.name(service), MANAGED_BY: MANAGER}
    number = hash_name(meta.uid(service), json.dumps(ports, sort_keys=True), length=5)
    return meta.new(
        ENDPOINT_SLICE,
        f"{meta.name(service)}-{number}",
        meta.namespace(service),
        labels=labels,
        owners=[meta.owner_reference(service)],
        addressType="IPv4",
        endpoints=[_endpoint(service, pod) for pod in sorted(pods, key=meta.name)],
        ports=ports,
    )


def _endpoint(service: Object, pod: Object) -> Object:
    # All that are listed count as ready: see _serves.
    conditions = {
        "ready": True,
        "serving": podrules.is_ready(pod),
        "terminating": meta.is_deleting(pod),
    }
    endpoint: Object = {
        "addresses": [meta.dig(pod, "status.podIP")],
        "conditions": conditions,
        "nodeName": meta.dig(pod, "spec.nodeName"),
        "targetRef": {
            "kind": "Pod",
            "namespace": meta.namespace(pod),
            "name": meta.name(pod),
            "uid": meta.uid(pod),
        },
    }
    hostname = meta.dig(pod, "spec.hostname")
    if hostname and meta.dig(pod, "spec.subdomain") == meta.name(service):
        endpoint["hostname"] = hostname
    return endpoint


def _ports(service: Object, pod: Object | None) -> list[Object]:
    ports = []
    for port in meta.dig(service, "spec.ports") or ():
        number = _target(port, pod)
        if number is None:
            continue
        entry: Object = {
            "name": port.get("name", ""),
            "protocol": port.get("protocol", "TCP"),
            "port": number,
        }
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def _target(port: Object, pod: Object | None) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    if pod is None:
        return None
    wanted = (target, port.get("protocol", "TCP"))
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*spec["containers"], *sidecars):
        for declared in container.get("ports") or ():
            if (declared.get("name"), declared.get("protocol", "TCP")) == wanted:
                return int(declared["containerPort"])
    return None
