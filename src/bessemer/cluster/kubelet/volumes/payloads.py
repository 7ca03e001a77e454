"""What files a configMap, secret, downwardAPI or projected volume holds. Pure.

Source: k8s.io/kubernetes pkg/volume/{configmap,secret,downwardapi,projected}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bessemer.cluster.kubelet.errors import mount_error
from bessemer.cluster.kubelet.volumes import variables
from bessemer.cluster.kubelet.volumes.variables import NodeFacts, Referred
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

DEFAULT_MODE = 0o644


class File(NamedTuple):
    """A file of a volume."""

    data: bytes
    mode: int


Files = dict[str, File]
KINDS = ("configMap", "secret", "downwardAPI", "projected")
#: Those that upstream keeps in memory; ConfigMaps may lie on the disk.
IN_MEMORY = ("secret", "downwardAPI", "projected")


class Sources(NamedTuple):
    """All that a volume's content comes from."""

    pod: Object
    facts: NodeFacts
    referred: Referred
    tokens: Mapping[str, str]  # token_key(source) -> token


def token_key(source: Object) -> str:
    """How a serviceAccountToken source is told from others of its pod."""
    return f"{source.get('audience', '')}/{source.get('expirationSeconds', 3600)}"


def token_sources(pod: Object) -> list[Object]:
    """The serviceAccountToken sources of a pod's projected volumes."""
    return [
        source["serviceAccountToken"]
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if "serviceAccountToken" in source
    ]


def files(volume: Object, sources: Sources) -> Files:
    """The files of one such volume, path -> content.

    Raises:
        StartFailure: what it refers to does not exist and is not optional.
    """
    name = volume["name"]
    if spec := volume.get("configMap"):
        return _keyed(name, "ConfigMap", spec["name"], spec, sources)
    if spec := volume.get("secret"):
        return _keyed(name, "Secret", spec["secretName"], spec, sources)
    if spec := volume.get("downwardAPI"):
        return _downward(spec, spec.get("defaultMode", DEFAULT_MODE), sources)
    result: Files = {}
    spec = volume["projected"]
    mode = spec.get("defaultMode", DEFAULT_MODE)
    for source in spec.get("sources") or ():
        result.update(_projected(name, source, mode, sources))
    return result


def _projected(name: str, source: Object, mode: int, sources: Sources) -> Files:
    for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if spec := source.get(field):
            return _keyed(name, kind, spec["name"], {"defaultMode": mode, **spec}, sources)
    if spec := source.get("downwardAPI"):
        return _downward(spec, mode, sources)
    if spec := source.get("serviceAccountToken"):
        return {spec["path"]: File(sources.tokens[token_key(spec)].encode(), 0o600)}
    raise mount_error(name, f"a projected source is not one of the known ones: {sorted(source)}")


def _keyed(name: str, kind: str, target: str, spec: Object, sources: Sources) -> Files:
    obj = sources.referred.get((kind, target))
    if obj is None:
        if spec.get("optional"):
            return {}
        raise mount_error(name, f'{kind.lower()} "{target}" not found')
    values = variables.data_of(kind, obj)
    mode = spec.get("defaultMode", DEFAULT_MODE)
    if not spec.get("items"):
        return {key: File(value, mode) for key, value in values.items()}
    result: Files = {}
    for item in spec["items"]:
        if item["key"] in values:
            result[item["path"]] = File(values[item["key"]], item.get("mode", mode))
        elif not spec.get("optional"):
            where = f"{meta.namespace(sources.pod)}/{target}"
            raise mount_error(name, f"references non-existent {kind} key: {item['key']} ({where})")
    return result


def _downward(spec: Object, mode: int, sources: Sources) -> Files:
    result: Files = {}
    for item in spec.get("items") or ():
        if reference := item.get("fieldRef"):
            text = variables.field(sources.pod, reference["fieldPath"], sources.facts)
        else:
            reference = item["resourceFieldRef"]
            text = variables.resource_field(sources.pod, {}, reference, sources.facts)
        result[item["path"]] = File(text.encode(), item.get("mode", mode))
    return result
