"""When two tasks are equal: the fingerprint by which earlier outputs are taken again. Pure.

Source: backend/src/v2/cacheutils: inputs, output types, image and command count; env does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bessemer.pipelines.records import Values
from bessemer.pipelines.spec.model import Component, Container, TaskSpec


def fingerprint(
    task: TaskSpec,
    component: Component,
    given: Values,
    extra: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """A hash that is equal for tasks that would produce the same; custom keys beat all.

    ``extra`` are the inputs that only placeholders see: an image, say, may be one of them.
    """
    if task.cache_key:
        return _hash(f"{component.name}\0{task.cache_key}")
    body = component.body
    assert isinstance(body, Container), "only containers are cached"
    key = {
        "parameters": {**extra, **given.parameters},
        "artifacts": {name: list(ids) for name, ids in given.artifacts.items()},
        "outputParameters": {n: d.type.value for n, d in component.output_parameters.items()},
        "outputArtifacts": {n: [d.type, d.version] for n, d in component.output_artifacts.items()},
        "image": body.image,
        "command": [*body.command, *body.args],
        "claims": sorted(str(mount.get("name")) for mount in settings.get("pvcMount", ())),
    }
    return _hash(json.dumps(key, sort_keys=True, separators=(",", ":")))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
