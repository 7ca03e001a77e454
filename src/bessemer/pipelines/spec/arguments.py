"""A run's arguments against what the pipeline declares. Strict: nothing is converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bessemer.base.errors import BessemerError
from bessemer.pipelines import types
from bessemer.pipelines.spec.model import ParameterDef, Spec


class InvalidArguments(BessemerError):
    """A run's parameters don't fit its pipeline."""


def check_arguments(spec: Spec, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the defaults of those not given; an optional one may stay absent.

    Raises:
        InvalidArguments: one is unknown, missing or mistyped; the text names it.
    """
    declared = spec.root.parameters
    if unknown := sorted(set(parameters) - set(declared)):
        raise InvalidArguments(
            f"parameter(s) provided are not required by pipeline: {', '.join(unknown)}; "
            f"it takes {', '.join(sorted(declared)) or 'none'}"
        )
    if needed := sorted(name for name, d in spec.root.artifacts.items() if not d.optional):
        raise InvalidArguments(
            f"the pipeline needs input artifacts {', '.join(needed)}, which a run can't be given; "
            "use dsl.importer instead"
        )
    result = {}
    for name, definition in declared.items():
        value = parameters.get(name)
        if value is not None:
            result[name] = _check(name, value, definition)
        elif definition.has_default:
            result[name] = definition.default
        elif not definition.optional:
            raise InvalidArguments(
                f"parameter {name} is not optional, yet has neither default value nor user "
                "provided value"
            )
    return result


def _check(name: str, value: Any, definition: ParameterDef) -> Any:
    try:
        value = types.check(name, value, definition.type)
    except types.MistypedValue as error:
        raise InvalidArguments(str(error)) from None
    if definition.literals and value not in definition.literals:
        raise InvalidArguments(
            f"parameter {name!r} must be one of {list(definition.literals)}, "
            f"but got {types.shorten(value)}"
        )
    return value
