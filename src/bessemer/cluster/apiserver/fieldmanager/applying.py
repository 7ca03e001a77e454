"""Server-side apply: one manager's statement, merged into the object that is there. Pure.

Source: sigs.k8s.io/structured-merge-diff merge/update.go, k8s.io/apimachinery
pkg/util/managedfields/internal.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from bessemer.cluster.apiserver.fieldmanager import (
    fieldsets,
    lastapplied,
    mergetypes,
    objects,
    tracking,
)
from bessemer.cluster.apiserver.fieldmanager.entries import (
    APPLY,
    UPDATE,
    Entries,
    Owner,
    Write,
    arrange,
    cap,
    fields_of,
    make,
    owner,
)
from bessemer.cluster.apiserver.fieldmanager.fieldsets import FieldSet
from bessemer.cluster.apiserver.fieldmanager.mergetypes import MergeType, Shape
from bessemer.kinds import schemas
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.rules import MOST_CAUSES
from bessemer.kinds.schemas import Fault
from bessemer.kube.errors import BadRequest, Conflict

# Of a refusal's text: so many fields, and the managers that own them.
_MOST_LINES = 2 * MOST_CAUSES


class Applied(NamedTuple):
    """What an apply makes of an object."""

    object: Object  # merged, before defaults and rules; without owners
    entries: Entries


def read(kind: Kind, stated: Object) -> Object:
    """The statement, checked as far as a partial object can be; changed in place.

    Raises:
        BadRequest: it is of another kind, has owners, unknown fields or values of other types, or
            a list whose elements can't be told apart.
    """
    if stated.get("apiVersion") != kind.api_version or stated.get("kind") != kind.kind:
        group, _, version = str(stated.get("apiVersion") or "").rpartition("/")
        name = f"{group}/{version}, Kind={stated.get('kind') or ''}"
        raise BadRequest(
            f"invalid object type: {name}; write apiVersion: {kind.api_version} and "
            f"kind: {kind.kind}"
        )
    metadata = stated.get("metadata")
    if metadata is None:
        metadata = stated["metadata"] = {}
    if not isinstance(metadata, dict):
        raise BadRequest(f"metadata must be an object, but got {type(metadata).__name__}")
    if metadata.pop("managedFields", None) is not None:
        raise BadRequest("metadata.managedFields must be nil")
    _check_structure(kind, stated)
    _check_lists(kind, mergetypes.of(kind), stated)
    return stated


def _name(kind: Kind, stated: Object) -> str:
    metadata = stated["metadata"]
    place = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
    return f"({place}; {kind.api_version}, Kind={kind.kind})"


def _refuse(kind: Kind, stated: Object, why: str) -> BadRequest:
    return BadRequest(f"failed to create typed patch object {_name(kind, stated)}: {why}")


def _check_structure(kind: Kind, stated: Object) -> None:
    if kind.schema is not None:
        found = schemas.checker(kind.schema)(stated)
    else:
        found = schemas.checker("meta.v1.ObjectMeta")(stated["metadata"])
        for finding in found or ():
            finding.steps.append("metadata")
    for finding in found or ():
        if finding.fault is Fault.UNKNOWN:
            raise _refuse(kind, stated, f".{finding.path}: field not declared in schema")
        if finding.fault is not Fault.MISSING:
            why = finding.message.replace("{path}", finding.path)
            raise _refuse(kind, stated, f".{finding.path}: {why}")


class _Place(NamedTuple):
    """Where the walk is; its path is made only where it is told, for keys may be long."""

    outer: _Place | None
    step: str

    def tell(self) -> str:
        """``.spec.containers``."""
        place: _Place | None = self
        steps: list[str] = []
        while place is not None:
            steps.append(fieldsets.render(place.step))
            place = place.outer
        return "".join(reversed(steps))


def _check_lists(kind: Kind, type_: MergeType, stated: Object) -> None:
    waiting: list[tuple[MergeType, object, _Place | None]] = [(type_, stated, None)]
    while waiting:
        found, value, place = waiting.pop()
        if isinstance(value, dict) and found.shape is Shape.MAP:
            waiting += [
                (found.of_field(name), inner, _Place(place, "f:" + name))
                for name, inner in value.items()
                if isinstance(inner, dict | list)
            ]
        elif isinstance(value, list) and found.shape in (Shape.SET, Shape.KEYED):
            if why := _find_fault(found, value):
                raise _refuse(kind, stated, f"{place.tell() if place else ''}: {why}")
            element = found.element or mergetypes.WHOLE
            if element.shape is not Shape.WHOLE:
                waiting += [(element, item, _Place(place, found.step(item))) for item in value]


def _find_fault(type_: MergeType, items: list[object]) -> str:
    seen = set()
    for index, item in enumerate(items):
        if missing := type_.misses_key(item):
            return (
                f"element {index}: associative list with keys has an element that omits key field "
                f'"{missing}" (and doesn\'t have default value)'
            )
        step = type_.step(item)
        if step in seen:
            return f"duplicate entries for key {fieldsets.render(step)}"
        seen.add(step)
    return ""


def apply(
    kind: Kind, live: tracking.Owned | None, stated: Object, write: Write, *, force: bool
) -> Applied:
    """The live object and its owners after the apply; of a new object where there is none.

    Args:
        kind: its kind.
        live: it as it is stored; None where there is none.
        stated: as ``read`` gave it.
        write: who applies, and what part.
        force: whether it takes over what others own.

    Raises:
        Conflict: it would change fields that others own, and is not forced.
    """
    before, held = live or tracking.Owned({}, ())
    type_ = mergetypes.of(kind)
    wanted = _touched(kind, stated, write.subresource)
    untouched = tracking.untouched(kind, write.subresource)
    claimed = fieldsets.without(objects.stated_fields(type_, wanted), untouched)
    fields = tracking.strip(claimed)
    if live is not None and fields and not held:
        held = _found_there(kind, before, write)
    mine = Owner(write.manager, APPLY, "", write.subresource)
    by_owner = {owner(entry): entry for entry in held}
    had = by_owner.pop(mine, None)
    merged = objects.merge(type_, before, wanted)
    if had is not None and (last := fields_of(had)):
        claims = [claimed, *map(fields_of, by_owner.values())]
        # Merged once more, for an empty list is stated too, though nobody can own it.
        merged = objects.merge(type_, _prune(type_, merged, last, claims), wanted)
    changed, gone = objects.compare(type_, before, merged)
    conflicts = {
        each: common
        for each, entry in by_owner.items()
        if (common := fieldsets.intersection(fields_of(entry), changed))
    }
    if conflicts and not force:
        _settle(kind, before, write, conflicts)
    lost = fieldsets.union(changed, gone)
    entries = [
        left
        for entry in by_owner.values()
        for left in tracking.keep(entry, fieldsets.difference(fields_of(entry), lost))
    ]
    if fields:
        entries.append(make(kind, write, APPLY, fields))
    if write.manager == lastapplied.KUBECTL:
        merged = lastapplied.remember(merged, stated)
    return Applied(merged, cap(arrange(entries)))


def _found_there(kind: Kind, live: Object, write: Write) -> Entries:
    """The owner of an object that nobody has applied yet."""
    found = Write(tracking.BEFORE_FIRST_APPLY, write.now)
    return tracking.create(kind, live, tracking.fields_sent(kind, live), found)


def _touched(kind: Kind, stated: Object, subresource: str) -> Object:
    """The part of the statement that a write to the object or its subresource can change."""
    if "status" not in kind.subresources or subresource == "scale":
        return stated
    if subresource != "status":
        return {key: value for key, value in stated.items() if key != "status"}
    names = ("name", "namespace", "uid", "resourceVersion")
    found = stated["metadata"]
    metadata = {name: found[name] for name in names if name in found}
    part = {"status": stated["status"]} if "status" in stated else {}
    return {
        "apiVersion": stated["apiVersion"],
        "kind": stated["kind"],
        "metadata": metadata,
    } | part


def _prune(type_: MergeType, merged: Object, last: FieldSet, claims: Sequence[FieldSet]) -> Object:
    """The merged object without what its applier stated last time, and nobody states now.

    The first of the claims is the applier's own.
    """
    if not fieldsets.difference(last, claims[0]):
        return merged  # the applier gives nothing up
    last = objects.with_holders(type_, last)
    whole = _all_of(type_, merged)
    kept = _all_of(type_, objects.remove(type_, merged, last))
    claimed = objects.with_holders(type_, fieldsets.union_all(claims))
    unclaimed = fieldsets.difference(whole, fieldsets.union(kept, claimed))
    kept = _all_of(type_, objects.remove(type_, merged, unclaimed))
    dropped = fieldsets.intersection(fieldsets.difference(whole, kept), last)
    return objects.remove(type_, merged, dropped)


def _all_of(type_: MergeType, obj: Object) -> FieldSet:
    return objects.with_holders(type_, objects.stated_fields(type_, obj))


def _settle(kind: Kind, live: Object, write: Write, conflicts: Mapping[Owner, FieldSet]) -> None:
    """Let kubectl take over what its client-side apply stated. Raises Conflict for the others."""
    if write.manager == lastapplied.KUBECTL:
        allowed = lastapplied.undisputed(kind, live)
        conflicts = {
            each: left
            for each, fields in conflicts.items()
            if (left := fieldsets.difference(fields, allowed))
        }
    if conflicts:
        raise refusal(conflicts)


def refusal(conflicts: Mapping[Owner, FieldSet]) -> Conflict:
    """Upstream's words for what others own."""
    number = sum(map(fieldsets.count, conflicts.values()))
    told = {
        _tell(each): list(itertools.islice(fieldsets.paths(fields), MOST_CAUSES))
        for each, fields in (
            (owner, conflicts[owner]) for owner in sorted(conflicts)[:MOST_CAUSES]
        )
    }
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, paths in told.items()
        for path in paths
    ][:MOST_CAUSES]
    if number == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [
            line
            for who, paths in told.items()
            for line in (f"conflicts with {who}:", *(f"- {path}" for path in paths))
        ]
        if len(lines) > _MOST_LINES:
            lines = [*lines[:_MOST_LINES], "and more"]
        text = f"{number} conflicts: " + "\n".join(lines)
    return Conflict(f"Apply failed with {text}", {"causes": causes})


def _tell(each: Owner) -> str:
    text = _quote(each.manager)
    if each.subresource:
        text += f" with subresource {_quote(each.subresource)}"
    return f"{text} using {each.api_version}" if each.operation == UPDATE else text


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()
