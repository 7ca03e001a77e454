"""Structure: types, unknown fields, required fields, by the compiled schemas.

What to do about unknown fields is the request's choice (``fieldValidation``); it reaches us by
a context variable, because it travels beside every verb and means nothing to the machine.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

from bessemer.kinds import schemas
from bessemer.kinds.kind import Cause, Kind, Object
from bessemer.kinds.schemas import Fault, Finding
from bessemer.kube.errors import BadRequest, invalid


class FieldValidation(StrEnum):
    """What happens to a request with unknown fields."""

    STRICT = "Strict"  # refused
    WARN = "Warn"  # dropped, with a warning
    IGNORE = "Ignore"  # dropped


@dataclass
class Strictness:
    """A request's wish, and the warnings to answer it with."""

    mode: FieldValidation = FieldValidation.STRICT
    warnings: list[str] = field(default_factory=list)


# As many as upstream's decoder tells.
_MOST_TOLD = 100
# In-process callers are our own controllers: a field that nobody knows is their bug.
_OURS = Strictness()
STRICTNESS: ContextVar[Strictness] = ContextVar("STRICTNESS", default=_OURS)


def check(kind: Kind, obj: Object) -> None:
    """Normalise the object in place; raise what is wrong with its structure.

    Raises:
        BadRequest: a value of another type, or an unknown field where the request is strict.
        Invalid: required fields are missing.
    """
    found = _find(kind, obj)
    if not found:
        return
    _refuse_malformed(kind, found)
    _handle_unknown(kind, [finding for finding in found if finding.fault is Fault.UNKNOWN])
    missing = [finding for finding in found if finding.fault is Fault.MISSING]
    # What controllers report is theirs to complete; users don't write it.
    causes = [
        Cause(finding.path, finding.message, "FieldValueRequired")
        for finding in missing
        if finding.steps[-1] != "status"
    ]
    if causes:
        raise invalid(kind, str(obj.get("metadata", {}).get("name", "")), causes)


def prune(kind: Kind, obj: Object) -> None:
    """Take out what a learned kind doesn't know, as the request wants that to be treated.

    Raises:
        BadRequest: an unknown field, where the request is strict.
    """
    if kind.prune is None:
        return
    unknown = kind.prune(obj)
    strictness = STRICTNESS.get()
    if not unknown or strictness.mode is FieldValidation.IGNORE:
        return
    texts = [f'unknown field "{path}"' for path in unknown[:_MOST_TOLD]]
    if strictness.mode is FieldValidation.STRICT and strictness is not _OURS:
        raise BadRequest(_cannot_handle(kind, "strict decoding error: " + ", ".join(texts)))
    strictness.warnings.extend(texts if strictness is not _OURS else ())


def _find(kind: Kind, obj: Object) -> list[Finding] | None:
    if kind.schema is not None:
        if obj.get("spec") is None and "spec" in schemas.fields(kind.schema):
            obj["spec"] = {}  # as Go's zero value: what is required in it is then missed by name
        return schemas.checker(kind.schema)(obj)
    found = schemas.checker("meta.v1.ObjectMeta")(obj.get("metadata"))
    for finding in found or ():
        finding.steps.append("metadata")
    return found


def _refuse_malformed(kind: Kind, found: list[Finding]) -> None:
    for finding in found:
        if finding.fault in (Fault.MISMATCH, Fault.MALFORMED):
            names = ".".join(step for step in reversed(finding.steps) if isinstance(step, str))
            why = finding.message.replace("{path}", names)
            raise BadRequest(_cannot_handle(kind, why))


def _handle_unknown(kind: Kind, unknown: list[Finding]) -> None:
    if not unknown:
        return
    strictness = STRICTNESS.get()
    texts = [f'unknown field "{finding.path}"' for finding in unknown[:_MOST_TOLD]]
    if strictness.mode is FieldValidation.STRICT:
        raise BadRequest(_cannot_handle(kind, "strict decoding error: " + ", ".join(texts)))
    if strictness.mode is FieldValidation.WARN:
        strictness.warnings.extend(texts)


def _cannot_handle(kind: Kind, why: str) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'
