"""What a container must fulfil. Source: pkg/apis/core/validation/validation.go."""

from __future__ import annotations

from collections.abc import Collection

from bessemer.kinds import quantity, rules
from bessemer.kinds.kind import Cause, Object

_PULL = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_STANDARD = ("cpu", "memory", "ephemeral-storage")
_MOST = 256  # containers of a pod, the init ones among them
_PROBE_NUMBERS = (
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
    "failureThreshold",
)  # fmt: skip


def check_all(spec: Object, field: str, volumes: Collection[str]) -> list[Cause]:
    """The rules that a spec's containers break."""
    count = sum(len(spec.get(part) or ()) for part in ("initContainers", "containers"))
    if count > _MOST:
        # Each is a process here; and upstream's nodes have ends of their own.
        return [rules.too_many(f"{field}.containers", count, _MOST)]
    causes: list[Cause] = []
    seen: set[str] = set()
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            path = f"{field}.{part}[{index}]"
            name = container.get("name", "")
            if name in seen:
                causes.append(rules.duplicate(f"{path}.name", name))
            seen.add(name)
            causes += _check(container, path, volumes)
            is_init = part == "initContainers"
            causes += _check_probes(container, path, is_init=is_init)
            causes += _check_restart(container.get("restartPolicy"), path, is_init=is_init)
    return causes


def _check(container: Object, path: str, volumes: Collection[str]) -> list[Cause]:
    causes: list[Cause] = []
    if name := container.get("name"):
        causes += rules.label(f"{path}.name", name)
    image = container.get("image", "")
    if not image:
        causes.append(rules.required(f"{path}.image"))
    elif image != image.strip():
        text = "must not have leading or trailing whitespace"
        causes.append(rules.bad(f"{path}.image", image, text))
    causes += rules.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL)
    policy = container.get("terminationMessagePolicy")
    causes += rules.one_of(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    causes += _check_ports(container.get("ports") or (), f"{path}.ports")
    causes += _check_env(container, path)
    causes += _check_mounts(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes)
    causes += _check_resources(container.get("resources") or {}, f"{path}.resources")
    return causes


def _check_ports(ports: Collection[Object], path: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        inner = f"{path}[{index}]"
        if name := port.get("name"):
            causes += rules.port_name(f"{inner}.name", name)
            if name in seen:
                causes.append(rules.duplicate(f"{inner}.name", name))
            seen.add(name)
        causes += rules.port_number(f"{inner}.containerPort", port.get("containerPort"))
        if port.get("hostPort"):
            causes += rules.port_number(f"{inner}.hostPort", port["hostPort"])
        causes += rules.one_of(f"{inner}.protocol", port.get("protocol"), rules.PROTOCOLS)
    return causes


def _check_env(container: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, variable in enumerate(container.get("env") or ()):
        inner = f"{path}.env[{index}]"
        causes += rules.env_name(f"{inner}.name", variable["name"]) if variable.get("name") else []
        source = variable.get("valueFrom")
        if source is None:
            continue
        given = [key for key in _SOURCES if key in source]
        if not given:
            text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
            causes.append(rules.bad(f"{inner}.valueFrom", "", text + "`secretKeyRef`"))
        elif variable.get("value"):
            text = "may not be specified when `value` is not empty"
            causes.append(rules.bad(f"{inner}.valueFrom", "", text))
        elif len(given) > 1:
            text = "may not have more than one field specified at a time"
            causes.append(rules.bad(f"{inner}.valueFrom", "", text))
    for index, source in enumerate(container.get("envFrom") or ()):
        if ("configMapRef" in source) == ("secretRef" in source):
            text = "must specify one of: `configMapRef` or `secretRef`"
            causes.append(rules.bad(f"{path}.envFrom[{index}]", "", text))
    return causes


def _check_mounts(mounts: Collection[Object], path: str, volumes: Collection[str]) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        inner = f"{path}[{index}]"
        name, place = mount.get("name", ""), mount.get("mountPath", "")
        if name and name not in volumes:
            causes.append(rules.unknown(f"{inner}.name", name))
        if place in seen:
            causes.append(rules.bad(f"{inner}.mountPath", place, "must be unique"))
        seen.add(place)
        sub = mount.get("subPath", "")
        if sub.startswith("/"):
            causes.append(rules.bad(f"{inner}.subPath", sub, "must be a relative path"))
        elif ".." in sub.split("/"):
            causes.append(rules.bad(f"{inner}.subPath", sub, "must not contain '..'"))
        if sub and mount.get("subPathExpr"):
            text = "subPathExpr and subPath are mutually exclusive"
            causes.append(rules.bad(f"{inner}.subPathExpr", mount["subPathExpr"], text))
    return causes


def _check_resources(resources: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            inner = f"{path}.{part}[{name}]"
            if name not in _STANDARD and "/" not in name and not name.startswith("hugepages-"):
                text = "must be a standard resource for containers"
                causes.append(rules.bad(f"{path}.{part}[{name}]", name, text))
            if quantity.parse(amount) < 0:
                text = "must be greater than or equal to 0"
                causes.append(rules.bad(inner, amount, text))
    for name, amount in requests.items():
        limit = limits.get(name)
        if (
            limit is not None
            and amount != limit
            and quantity.parse(amount) > quantity.parse(limit)
        ):
            text = f"must be less than or equal to {name} limit of {limit}"
            causes.append(rules.bad(f"{path}.requests", amount, text))
    return causes


def _check_probes(container: Object, path: str, *, is_init: bool) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        inner = f"{path}.{name}"
        if is_init and container.get("restartPolicy") != "Always":
            text = "may not be set for init containers without restartPolicy=Always"
            causes.append(rules.forbidden(inner, text))
        causes += _check_handler(probe, inner)
        for key in _PROBE_NUMBERS:
            causes += rules.not_negative(f"{inner}.{key}", probe.get(key))
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            text = "must be 1"
            causes.append(rules.bad(f"{inner}.successThreshold", probe["successThreshold"], text))
    return causes


def _check_restart(policy: str | None, path: str, *, is_init: bool) -> list[Cause]:
    if not policy or (is_init and policy == "Always"):
        return []
    what = "only Always, of init containers, is" if is_init else "only init containers have one"
    text = f"not supported by this cluster: {what}; use the pod's restartPolicy"
    return [rules.forbidden(f"{path}.restartPolicy", text)]


def _check_handler(probe: Object, path: str) -> list[Cause]:
    given = [key for key in _HANDLERS if key in probe]
    if not given:
        return [rules.required(path, "must specify a handler type")]
    causes = [
        rules.forbidden(f"{path}.{key}", "may not specify more than 1 handler type")
        for key in given[1:]
    ]
    handler = probe[given[0]]
    port = handler.get("port")
    if isinstance(port, int):
        causes += rules.port_number(f"{path}.{given[0]}.port", port)
    elif isinstance(port, str):
        causes += rules.port_name(f"{path}.{given[0]}.port", port)
    return causes
