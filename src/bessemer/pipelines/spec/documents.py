"""From text or JSON to a Spec: which documents there are, and which of them is the IR."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from bessemer.pipelines.spec.model import InvalidSpec, Spec
from bessemer.pipelines.spec.parse import parse

# The C loader is some ten times faster; it is not on every machine.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Lists, mappings and what is in them, as they are read; no compiled pipeline comes near.
MAX_VALUES = 250_000
_CURE = "compile the pipeline with kfp.compiler.Compiler and submit its file unchanged"


def load(document: str | bytes | Mapping[str, Any]) -> Spec:
    """Read a compiled pipeline: YAML or JSON text (one IR, at most one PlatformSpec), or its JSON.

    A mapping may be the IR itself, or ``{"pipeline_spec": IR, "platform_spec": PlatformSpec}``.

    Raises:
        InvalidSpec: it is no pipeline that we can run; the text says what is wrong with it.
    """
    if isinstance(document, Mapping):
        ir, platform = _split_mapping(document)
    else:
        ir, platform = _split_text(document)
    _check_count(ir, platform)
    return parse(ir, platform)


def _check_count(*documents: Mapping[str, Any]) -> None:
    """Refuse what would keep its readers busy; what an alias stands for counts each time."""
    pending: list[Any] = list(documents)
    seen = 0
    while pending:
        value = pending.pop()
        children = value.values() if isinstance(value, Mapping) else value
        if not isinstance(value, Mapping | list):
            continue
        seen += len(value)
        if seen > MAX_VALUES:
            raise InvalidSpec(
                f"a pipeline may have {MAX_VALUES} values, but this one has more; {_CURE}"
            )
        pending.extend(children)


def _split_mapping(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    for outer, platform in (("pipeline_spec", "platform_spec"), ("pipelineSpec", "platformSpec")):
        if outer in document:
            return (
                _as_mapping(document[outer], outer),
                _as_mapping(document.get(platform) or {}, platform),
            )
    return document, {}


def _split_text(text: str | bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if (found := _read_json(text)) is not None:
        return _split_mapping(found)
    try:
        documents = [part for part in yaml.load_all(text, Loader=_LOADER) if part is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(
            f"the pipeline spec is not valid YAML or JSON: {error}; {_CURE}"
        ) from None
    irs: list[Mapping[str, Any]] = []
    platforms: list[Mapping[str, Any]] = []
    for part in documents:
        mapping = _as_mapping(part, "each document")
        (platforms if "platforms" in mapping else irs).append(mapping)
    if len(irs) != 1:
        raise InvalidSpec(
            f"the file must hold exactly one pipeline spec, but got {len(irs)}; {_CURE}"
        )
    if len(platforms) > 1:
        raise InvalidSpec(
            f"the file may hold at most one platform spec, but got {len(platforms)}; {_CURE}"
        )
    if "pipeline_spec" in irs[0] or "pipelineSpec" in irs[0]:
        return _split_mapping(irs[0])
    return irs[0], platforms[0] if platforms else {}


def _read_json(text: str | bytes) -> Mapping[str, Any] | None:
    """JSON's one object, if it is that: YAML refuses its surrogate pairs, and its tabs."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None


def _as_mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSpec(
            f"the pipeline spec must be a mapping, but {what} is {type(value).__name__}; {_CURE}"
        )
    return value
