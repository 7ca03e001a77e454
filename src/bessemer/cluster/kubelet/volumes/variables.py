"""A container's environment variables, and $(VAR) in its command. Pure.

Source: k8s.io/kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables),
third_party/forked/golang/expansion, pkg/fieldpath, pkg/api/v1/resource.

What they come to is bounded: a variable may refer to the one before it twice, and so on, and a
thousand may take the same great key.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from bessemer.cluster.kubelet.errors import StartFailure, config_error
from bessemer.kinds import meta, quantity
from bessemer.kinds.kind import Object

# The objects that a pod refers to, all of its own namespace: (kind, name) -> object, None absent.
Referred = Mapping[tuple[str, str], Object | None]
# Characters of a container's variables (with their names) and command together. The kernel takes
# 6 MiB at most of what is executed; a warm start, which executes nothing, may have more.
LIMIT = 8 * 1024 * 1024
_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.+)'\]")


@dataclass(frozen=True)
class NodeFacts:
    """What the machine knows of a pod's place, for fieldRef and resourceFieldRef."""

    node_name: str
    host_ip: str
    pod_ip: str
    allocatable: Mapping[str, str]


def resolve(
    pod: Object, spec: Object, facts: NodeFacts, referred: Referred, base: Mapping[str, str]
) -> dict[str, str]:
    """The container's variables: the base ones, envFrom in order, env in order.

    Raises:
        StartFailure: a ConfigMap, Secret or key that is not optional does not exist, or all of
            them are more than LIMIT.
    """
    room = Room()
    env: dict[str, str] = {}

    def take(found: Mapping[str, str]) -> None:
        for name, value in found.items():
            room.take(len(name) + len(value) + 2, f"variable {name}")
        env.update(found)

    take(base)
    for source in spec.get("envFrom") or ():
        take(_from_source(pod, source, referred))
    for variable in spec.get("env") or ():
        name = variable["name"]
        if "valueFrom" in variable:
            value = _value_from(pod, spec, variable["valueFrom"], facts, referred)
            if value is None:
                continue
        else:
            value = expand(variable.get("value") or "", env, f"variable {name}", room.left)
        take({name: value})
    return env


class Room:
    """What is left of the LIMIT of one container's variables and command."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        taken = sum(len(name) + len(value) + 2 for name, value in (env or {}).items())
        self.left = LIMIT - taken

    def take(self, size: int, what: str) -> None:
        """Take that many characters of it.

        Raises:
            StartFailure: there are not so many left.
        """
        if size > self.left:
            raise _too_large(what, size)
        self.left -= size


def _too_large(what: str, size: int) -> StartFailure:
    return config_error(
        f"{what} has {size} characters, and a container's variables and command may have {LIMIT} "
        "together: refer to less in it, or mount it as a file"
    )


def service_links(services: Iterable[Object]) -> dict[str, str]:
    """Where the namespace's Services are, as variables (``enableServiceLinks``).

    Source: k8s.io/kubernetes pkg/kubelet/envvars.
    """
    env: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports") or ()
        if not address or address == "None":
            continue
        name = _variable_name(meta.name(service))
        for number, port in enumerate(ports):
            protocol = port.get("protocol") or "TCP"
            url = f"{protocol.lower()}://{address}:{port['port']}"
            if number == 0:
                env |= {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(port["port"])}
                env[f"{name}_PORT"] = url
            if port.get("name"):
                env[f"{name}_SERVICE_PORT_{_variable_name(port['name'])}"] = str(port["port"])
            link = f"{name}_PORT_{port['port']}_{protocol}"
            env |= {link: url, f"{link}_PROTO": protocol.lower()}
            env |= {f"{link}_PORT": str(port["port"]), f"{link}_ADDR": address}
    return env


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")


def expand(text: str, values: Mapping[str, str], what: str = "the text", most: int = LIMIT) -> str:
    """Replace $(NAME) by its value; unknown names stay as written, $$ is one dollar.

    Raises:
        StartFailure: ``what`` would have more than ``most`` characters; it is not built then.
    """
    parts: list[str] = []
    at = 0
    last = text.rfind(")")  # past it no look for one: each would read the whole rest
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        parts.append(text[at:dollar])
        following, at = text[dollar + 1], dollar + 2
        end = text.find(")", at) if following == "(" and at <= last else -1
        if following == "$":
            parts.append("$")
        elif end >= 0:
            name = text[at:end]
            parts.append(values.get(name, f"$({name})"))
            at = end + 1
        else:
            parts.append("$" + following)
    parts.append(text[at:])
    size = sum(map(len, parts))
    if size > most:
        raise _too_large(what, size)
    return "".join(parts)


def data_of(kind: str, obj: Object) -> dict[str, bytes]:
    """The values of a Secret or ConfigMap, decoded."""
    keys = [key for field in _FIELDS[kind] for key in obj.get(field) or ()]
    return {key: value_of(kind, obj, key) for key in keys}


_FIELDS = {"Secret": ("data",), "ConfigMap": ("data", "binaryData")}


def value_of(kind: str, obj: Object, key: str) -> bytes:
    """One value of them alone: others may be many, and asked for one by one.

    Raises:
        KeyError: there is none of that name.
    """
    if kind == "Secret":
        return base64.b64decode(obj["data"][key])
    if key in (obj.get("binaryData") or {}):
        return base64.b64decode(obj["binaryData"][key])
    text: str = (obj.get("data") or {})[key]
    return text.encode()


def _from_source(pod: Object, source: Object, referred: Referred) -> dict[str, str]:
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if reference := source.get(field):
            obj = _find(kind, reference, referred)
            if obj is None:
                return {}
            prefix = source.get("prefix") or ""
            values = data_of(kind, obj)
            return {prefix + key: value.decode(errors="replace") for key, value in values.items()}
    return {}


def _find(kind: str, reference: Object, referred: Referred) -> Object | None:
    obj = referred.get((kind, reference["name"]))
    if obj is None and not reference.get("optional"):
        raise config_error(f'{kind.lower()} "{reference["name"]}" not found')
    return obj


def _value_from(
    pod: Object, spec: Object, source: Object, facts: NodeFacts, referred: Referred
) -> str | None:
    if reference := source.get("fieldRef"):
        return field(pod, reference["fieldPath"], facts)
    if reference := source.get("resourceFieldRef"):
        return resource_field(pod, spec, reference, facts)
    for name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if reference := source.get(name):
            return _key(pod, kind, reference, referred)
    raise config_error(f"valueFrom needs one of its known sources, got {sorted(source)}")


def _key(pod: Object, kind: str, reference: Object, referred: Referred) -> str | None:
    obj = _find(kind, reference, referred)
    if obj is None:
        return None
    if any(reference["key"] in (obj.get(field) or ()) for field in _FIELDS[kind]):
        return value_of(kind, obj, reference["key"]).decode(errors="replace")
    if reference.get("optional"):
        return None
    where = f"{meta.namespace(pod)}/{reference['name']}"
    raise config_error(f"couldn't find key {reference['key']} in {kind} {where}")


def field(pod: Object, path: str, facts: NodeFacts) -> str:
    """A field of the pod as fieldRef gives it.

    Raises:
        StartFailure: the path is not one that upstream offers.
    """
    match = _SUBSCRIPT.fullmatch(path)
    if match:
        return str(meta.dig(pod, match[1], {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = meta.dig(pod, path) or {}
        return "\n".join(f'{key}="{_quote(values[key])}"' for key in sorted(values))
    own = {
        "metadata.name": meta.name(pod),
        "metadata.namespace": meta.namespace(pod),
        "metadata.uid": meta.uid(pod),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path not in own:
        raise config_error(f"fieldRef knows {', '.join(own)}, got {path!r}")
    return str(own[path])


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(pod: Object, spec: Object, reference: Object, facts: NodeFacts) -> str:
    """A request or limit as resourceFieldRef gives it; without a limit, what the node has.

    Raises:
        StartFailure: the container or the resource is not there.
    """
    name = reference.get("containerName")
    if name:
        every = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
        found = [each for each in every if each["name"] == name]
        if not found:
            raise config_error(f"resourceFieldRef names a container of the pod, got {name!r}")
        spec = found[0]
    side, _, resource = reference["resource"].partition(".")
    resources = spec.get("resources") or {}
    text = (resources.get(side) or {}).get(resource)
    if text is None:
        text = facts.allocatable.get(resource, "0") if side == "limits" else "0"
    divisor = quantity.parse(str(reference.get("divisor") or "1"))
    divisor = divisor or quantity.parse("1")
    return str(math.ceil(quantity.parse(str(text)) / divisor))


def references(pod: Object) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets (kind, name) that the pod's variables and volumes refer to."""
    found: set[tuple[str, str]] = set()
    for spec in [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]:
        for source in spec.get("envFrom") or ():
            _note(found, source.get("configMapRef"), source.get("secretRef"))
        for variable in spec.get("env") or ():
            source = variable.get("valueFrom") or {}
            _note(found, source.get("configMapKeyRef"), source.get("secretKeyRef"))
    for volume in pod["spec"].get("volumes") or ():
        _note(found, volume.get("configMap"), None)
        if secret := volume.get("secret"):
            found.add(("Secret", secret["secretName"]))
        for source in (volume.get("projected") or {}).get("sources") or ():
            _note(found, source.get("configMap"), source.get("secret"))
    return found


def _note(found: set[tuple[str, str]], config_map: object, secret: object) -> None:
    for kind, reference in (("ConfigMap", config_map), ("Secret", secret)):
        if reference:
            found.add((kind, cast("dict[str, str]", reference)["name"]))
