"""What a pod's spec gets where it says nothing. Source: pkg/apis/core/v1/defaults.go."""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.kinds.kind import Object

#: Where a container leaves word of why it ended.
TERMINATION_LOG = "/dev/termination-log"
_MODE = 0o644
_PROBE = (
    ("timeoutSeconds", 1),
    ("periodSeconds", 10),
    ("successThreshold", 1),
    ("failureThreshold", 3),
)
_FILES = ("secret", "configMap", "downwardAPI", "projected")
_SOURCES_BESIDE_NAME = 1
_TOKEN_SECONDS = 3600


def fill(spec: Object) -> None:
    """Fill a pod's or a template's spec in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers(spec):
        _fill_container(container)
    for volume in spec.get("volumes") or ():
        _fill_volume(volume)


def containers(spec: Object) -> Iterator[Object]:
    """Init containers, then containers."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _fill_container(container: Object) -> None:
    container.setdefault("terminationMessagePath", TERMINATION_LOG)
    container.setdefault("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = _pull_policy(container.get("image", ""))
    _fill_requests(container.setdefault("resources", {}))
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        if reference := (variable.get("valueFrom") or {}).get("fieldRef"):
            reference.setdefault("apiVersion", "v1")
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if probe := container.get(name):
            _fill_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _fill_handler(hook)


def _fill_requests(resources: Object) -> None:
    if limits := resources.get("limits"):
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _pull_policy(image: str) -> str:
    tail = image.rpartition("/")[2]
    _, colon, tag = tail.partition(":")
    return "Always" if "@" not in tail and (not colon or tag == "latest") else "IfNotPresent"


def _fill_probe(probe: Object) -> None:
    for name, value in _PROBE:
        probe.setdefault(name, value)
    _fill_handler(probe)


def _fill_handler(handler: Object) -> None:
    if get := handler.get("httpGet"):
        get.setdefault("path", "/")
        get.setdefault("scheme", "HTTP")
    if call := handler.get("grpc"):
        call.setdefault("service", "")


def _fill_volume(volume: Object) -> None:
    if len(volume) == _SOURCES_BESIDE_NAME:
        volume["emptyDir"] = {}
    for name in _FILES:
        if name in volume:
            volume[name].setdefault("defaultMode", _MODE)
    for source in (volume.get("projected") or {}).get("sources") or ():
        if token := source.get("serviceAccountToken"):
            token.setdefault("expirationSeconds", _TOKEN_SECONDS)
        _fill_field_references(source.get("downwardAPI"))
    _fill_field_references(volume.get("downwardAPI"))
    if path := volume.get("hostPath"):
        path.setdefault("type", "")


def _fill_field_references(source: Object | None) -> None:
    for item in (source or {}).get("items") or ():
        if reference := item.get("fieldRef"):
            reference.setdefault("apiVersion", "v1")


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort. Source: pkg/apis/core/v1/helper/qos."""
    requests: dict[str, str] = {}
    is_guaranteed = True
    for container in containers(spec):
        resources = container.get("resources") or {}
        limits, wanted = resources.get("limits") or {}, resources.get("requests") or {}
        requests |= {name: wanted[name] for name in ("cpu", "memory") if name in wanted}
        if any(name not in limits or limits[name] != wanted.get(name) for name in _COMPUTE):
            is_guaranteed = False
    if not requests:
        return "BestEffort"
    return "Guaranteed" if is_guaranteed else "Burstable"


_COMPUTE = ("cpu", "memory")
